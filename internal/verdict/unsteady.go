package verdict

import (
	"math"
	"time"
)

const (
	// A longer time than the longest block is needed to see a slower rhythm.
	minBlocks = 6
	// mostUnsteady bounds how much a restless service delays a fail: a
	// candidate that is plainly broken must still be found.
	mostUnsteady = 30.0
)

// rhythms are the lengths over which stable's scatter is looked at.
func rhythms() []time.Duration {
	return []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute}
}

// unsteadiness is how many times more stable's own share of m scatters over
// time than independent requests would, 1..mostUnsteady. Evidence is divided
// by it (its logarithm): what stable does by itself is no proof against the
// candidate. Only stable is asked, so that a candidate's own restlessness is
// no excuse, and each window has a mean of its own.
//
// An e-value above 1 to the power of 1/unsteadiness is smaller than it was, so
// that this can only make a fail rarer.
func unsteadiness(m Metric, windows ...[]Sample) float64 {
	most := 1.0
	for _, length := range rhythms() {
		var squares, expected, n, free float64
		for _, w := range windows {
			s, e, k := scatter(m, w, length)
			if k > 1 {
				squares, expected, n, free = squares+s, expected+e, n+k, free+k-1
			}
		}
		if free < minBlocks-1 || expected == 0 {
			continue
		}
		// Three standard errors, the second term being that of small counts.
		factor := squares / expected * n / free
		if factor > 1+3*math.Sqrt(2/free+1/expected) {
			most = max(most, factor)
		}
	}
	return min(most, mostUnsteady)
}

// scatter sums, over blocks of the given length, the squared distance of the
// count from its expectation and the variance that independent requests have.
// samples are in order of time.
func scatter(m Metric, samples []Sample, length time.Duration) (squares, variance, n float64) {
	var all Counts
	for _, s := range samples {
		if s.To.Sub(s.From) > length {
			return 0, 0, 0
		}
		all = all.plus(s)
	}
	p := share(all.of(m), all.Requests)
	if p == 0 {
		return 0, 0, 0
	}
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
		squares += d * d
		variance += p * (1 - p) * float64(block.Requests)
		n++
	}
	return squares, variance, n
}
