package verdict

import (
	"math"
	"time"
)

const (
	// Fewer blocks prove nothing by themselves.
	minBlocks = 6
	// mostUnsteady bounds how much a restless service delays a fail: a
	// candidate that is plainly broken must still be found.
	mostUnsteady = 30.0
	// usualWander is by how much of itself the share of a service of which
	// nothing is known is taken to wander, over usualBlock.
	usualWander = 0.2
	usualBlock  = 10 * time.Minute
	// unseen is how much more a service is taken to wander than its blocks
	// show: few blocks show little of what is slower than they are long.
	unseen = 1.5
)

// rhythms are the lengths over which stable's scatter is looked at.
func rhythms() []time.Duration {
	return []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute, usualBlock, 20 * time.Minute}
}

// scattering is how stable's count scatters over blocks of one length.
type scattering struct {
	length   time.Duration
	squares  float64 // of the distances from what is expected
	variance float64 // that independent requests have, much as many as went wrong
	blocks   float64
}

// unsteadiness is how many times more the evidence scatters than that of
// independent requests would, 1..mostUnsteady, as far as stable's own share of
// m over time tells. Evidence is divided by it (its logarithm): what stable
// does by itself is no proof against the candidate. Only stable is asked, so
// that a candidate's own restlessness is no excuse. history holds stable's
// samples in order of time.
//
// An e-value above 1 to the power of 1/unsteadiness is smaller than it was, so
// that this can only make a fail rarer.
func unsteadiness(m Metric, history []Sample, runs []run) float64 {
	like, span := exposed(runs, history)
	most := 1.0
	for _, length := range rhythms() {
		if s := scatter(m, history, length); s.variance > 0 {
			// A young rollout has met a part of a block only, though a part wanders
			// up to twice as much as the whole.
			met := min(1, 2*span.Seconds()/length.Seconds())
			most = max(most, 1+s.beyond()*like*met)
		}
	}
	return min(most, mostUnsteady)
}

// exposed compares the traffic that the evidence rests on with that of
// stable's history, and tells how long it was gathered. A share that wanders
// makes counts scatter the more, the
// larger they are; of two that are compared the smaller decides, so their
// harmonic mean stands for both. A recorded share does not wander.
func exposed(runs []run, history []Sample) (like float64, span time.Duration) {
	var compared, requests float64
	var measured time.Duration
	for _, r := range runs {
		c, s := float64(r.candidate.Requests), float64(r.stable.Requests)
		switch {
		case r.weight == 1000:
			compared += c
		case c+s > 0:
			compared += 2 * c * s / (c + s)
		}
		for _, c := range r.cells {
			span += c.span
		}
	}
	for _, s := range history {
		requests += float64(s.Requests)
		measured += s.To.Sub(s.From)
	}
	if requests == 0 || span == 0 {
		return 0, span
	}
	return compared / span.Seconds() / (requests / measured.Seconds()), span
}

// beyond is by how many times itself the variance of independent requests is
// exceeded. What is usual and what the blocks show are weighed by their
// precision; four standard errors count in full.
func (s scattering) beyond() float64 {
	mean := s.variance / s.blocks
	usual := usualWander * usualWander * mean * min(1, usualBlock.Seconds()/s.length.Seconds())
	free := s.blocks - 1 // their mean is their own
	if free < 1 {
		return usual
	}
	excess := s.squares/s.variance*s.blocks/free - 1
	shown := unseen * max(0, excess)
	if s.blocks >= minBlocks && excess > 4*math.Sqrt(2/free+1/s.variance) {
		return shown
	}
	noise := (2*(1+usual)*(1+usual) + (1+usual)/mean) / free
	weight := usual * usual / (usual*usual + noise)
	return usual + weight*(shown-usual)
}

// scatter looks at samples in order of time.
func scatter(m Metric, samples []Sample, length time.Duration) scattering {
	var all Counts
	for _, s := range samples {
		if s.To.Sub(s.From) > length {
			return scattering{}
		}
		all = all.plus(s)
	}
	p := share(all.of(m), all.Requests)
	if p == 0 {
		return scattering{}
	}
	out := scattering{length: length}
	start := samples[0].From
	for len(samples) > 0 {
		at := samples[0].From.Sub(start) / length
		var block Counts
		for len(samples) > 0 && samples[0].From.Sub(start)/length == at {
			block = block.plus(samples[0])
			samples = samples[1:]
		}
		if block.Requests == 0 {
			continue
		}
		d := float64(block.of(m)) - p*float64(block.Requests)
		out.squares += d * d
		out.variance += p * (1 - p) * float64(block.Requests)
		out.blocks++
	}
	return out
}
