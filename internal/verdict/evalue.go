package verdict

import (
	"math"
	"time"

	"gonum.org/v1/gonum/floats"
)

const (
	// maxBurst is the most that one burst multiplies the evidence by, and
	// again for every minute that its cell lasts (a coarse meter's cell hides
	// many bursts). Cutting a likelihood ratio from above leaves its
	// expectation at most 1, so that the e-value stays one.
	maxBurst = 10.0
	// fromStart is the belief that a bad candidate is bad from its first
	// request. The rest is spread over the later moments, half of it over the
	// first lateness, so that good hours don't shield a candidate that breaks.
	fromStart = 0.9
	lateness  = 10 * time.Minute
)

// alternatives is how many there are.
const alternatives = 4

// ratios are the alternatives: how many times as often as stable's the
// candidate's requests go wrong, each with its part of the belief.
func ratios() [alternatives]struct{ times, belief float64 } {
	return [...]struct{ times, belief float64 }{
		{1.5, 1. / 16}, {2, 2. / 16}, {5, 12. / 16}, {30, 1. / 16},
	}
}

// process is an e-process in the making (Johari, Pekelis, Walsh: always valid
// inference; Lindon et al., arXiv 2205.14762): for each ratio the logarithm of
// the likelihood ratio so far, averaged over the moments at which the
// candidate may have turned bad. An equal candidate's ever reaches x with a
// chance of at most 1/x, however often one looks.
type process struct {
	logs    [alternatives]float64
	elapsed time.Duration
	burst   float64 // logarithm of the most that a burst counts for
}

func newProcess(maxBurst float64) *process {
	p := &process{burst: math.Log(maxBurst)}
	for i := range p.logs {
		p.logs[i] = math.Log(fromStart)
	}
	return p
}

// arisen is the belief that a candidate that turns bad late has done so by d.
func arisen(d time.Duration) float64 {
	return (1 - fromStart) * float64(d) / float64(d+lateness)
}

// wait takes in a time in which nothing went wrong on either side, which is no
// evidence.
func (p *process) wait(span time.Duration) {
	fresh := math.Log(arisen(p.elapsed+span) - arisen(p.elapsed))
	p.elapsed += span
	for i := range p.logs {
		p.logs[i] = logAdd(p.logs[i], fresh)
	}
}

// add takes in one cell, whose log likelihood ratio gain tells for a ratio.
func (p *process) add(span time.Duration, gain func(ratio float64) float64) {
	p.wait(span)
	most := p.burst * (1 + span.Minutes())
	for i, r := range ratios() {
		p.logs[i] += min(gain(r.times), most)
	}
}

// log is the logarithm of the e-value.
func (p *process) log() float64 {
	rest := math.Log(1 - fromStart - arisen(p.elapsed))
	var all [alternatives]float64
	for i, r := range ratios() {
		all[i] = logAdd(p.logs[i], rest) + math.Log(r.belief)
	}
	return floats.LogSumExp(all[:])
}

func logAdd(a, b float64) float64 {
	hi, lo := max(a, b), min(a, b)
	return hi + math.Log1p(math.Exp(lo-hi))
}

// besideGain is the evidence of a cell in which stable served as well. Of all
// that went wrong, an equal candidate has each with chance p, its share of the
// requests observed; one r times worse with chance rp/(rp+1-p). Drawing
// without replacement is less scattered than this, so that high error shares
// only make it more careful.
func besideGain(candidate, both int64, p float64) func(float64) float64 {
	return func(r float64) float64 {
		return float64(candidate)*math.Log(r) - float64(both)*math.Log1p((r-1)*p)
	}
}

// recordedGain is the evidence of a cell in which the candidate served alone:
// bad of its n requests went wrong, where stable's share is at most p0. As
// 1+(r-1)p0 <= exp((r-1)p0), the likelihood ratio's expectation is at most 1.
func recordedGain(bad, n int64, p0 float64) func(float64) float64 {
	return func(r float64) float64 {
		return float64(bad)*math.Log(r) - float64(n)*p0*(r-1)
	}
}

// logEvidence is the log e-value of the whole rollout for m. recorded is an
// upper limit of stable's share, for runs without a control arm; NaN is none.
// A burst multiplies it by most at most.
func logEvidence(runs []run, m Metric, recorded, most float64) float64 {
	p := newProcess(most)
	for _, r := range runs {
		beside := share(r.candidate.Requests, r.candidate.Requests+r.stable.Requests)
		var quiet time.Duration
		for _, c := range r.cells {
			bad := c.candidate.of(m)
			both := bad + c.stable.of(m)
			switch {
			case r.weight < 1000 && both == 0:
				quiet += c.span
			case r.weight < 1000:
				p.wait(quiet)
				quiet = 0
				p.add(c.span, besideGain(bad, both, beside))
			case !math.IsNaN(recorded):
				p.add(c.span, recordedGain(bad, c.candidate.Requests, recorded))
			}
		}
		p.wait(quiet)
	}
	return p.log()
}
