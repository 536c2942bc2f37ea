// Package rollout holds what a release is made of: its vocabulary, what is
// observed on a platform, the mark stamped there, the append-only record, and
// the two state machines, one for the rollout and one for each schema change.
//
// It is pure and knows the standard library only; every other package speaks
// in its words.
package rollout
