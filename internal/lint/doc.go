// Package lint tells what SQL would do to a service that runs: whether it breaks
// the running revision, takes a dangerous lock or rewrites a table. It knows the
// text alone and no database: what cannot be known from it needs a person's
// review, and is never called safe.
package lint
