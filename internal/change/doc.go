// Package change describes schema changes: the file a person writes, the steps
// it is carried out in, and what a database reports of it. It does nothing to a
// database itself.
//
// A change has an old form (the columns O) and a new form (the columns N) of
// the same data, and two mappings, f from old to new and g from new to old.
// Expand adds the new form beside the old one and keeps the relation
//
//	R: N is f(O), or O is g(N)
//
// true for every row, whoever writes it. Contract removes the old form.
package change
