// Package grammar reads SQL with PostgreSQL's own grammar (that of version 17):
// statements with their parse trees, the text of their tokens, and the bodies of
// functions. What a name stands for is not known to it: that only a database
// tells.
//
// The grammar takes a second or two to load the first time.
package grammar
