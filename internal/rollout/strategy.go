package rollout

import "strings"

// Strategy is how a candidate takes over.
type Strategy string

// The strategies.
const (
	// Canary raises the candidate's share of the traffic step by step.
	Canary Strategy = "canary"
	// BlueGreen moves all traffic at once.
	BlueGreen Strategy = "blue_green"
	// Rolling replaces the instances batch by batch.
	Rolling Strategy = "rolling"
)

// String is the strategy as people write it.
func (s Strategy) String() string { return strings.ReplaceAll(string(s), "_", "-") }

// Exposes reports whether phase p gives the candidate traffic, or more of it,
// where first says that it is the first release. The phase that does is the
// one that gate promote stands before, whatever it is called.
func (s Strategy) Exposes(p Phase, first bool) bool {
	return p == Promote || p == Deploy && (first || s == Rolling)
}

// Goes is the phase that brings the candidate to all of the traffic.
func (s Strategy) Goes() Phase {
	if s == Rolling {
		return Deploy
	}
	return Promote
}
