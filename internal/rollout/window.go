package rollout

import "time"

// Passage is a time during which the candidate's weight stayed the same: from
// Since until the next one begins.
type Passage struct {
	Since  time.Time
	Weight Weight
}

// Window is the time that a meter is asked about, with what it needs to know to
// tell the revisions apart: not every meter divides the traffic itself.
type Window struct {
	// Since begins it; it ends now.
	Since time.Time
	// Seen is the platform as it is now: which side holds which revision, and
	// how traffic is divided.
	Seen Observation
	// Passed are the weights that the candidate has had, the oldest first. Before
	// the first it had none.
	Passed []Passage
}

// WeightAt is the candidate's weight at one moment.
func (w Window) WeightAt(at time.Time) Weight {
	var weight Weight
	for _, p := range w.Passed {
		if p.Since.After(at) {
			break
		}
		weight = p.Weight
	}
	return weight
}
