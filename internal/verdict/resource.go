package verdict

import (
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	// steadyBlock is long enough for the saw-teeth of a garbage collector.
	steadyBlock = 10 * time.Second
	// likeLoad is how many times more requests an instance of one revision may
	// serve than one of the other for their CPU time to be comparable: what an
	// idle process costs would be blamed on its few requests.
	likeLoad = 2.0
)

// use is what one revision took in one block.
type use struct {
	requests  int64
	cpu, span time.Duration
	memory    int64
	instances int64
	read      int64 // samples that told the memory
	samples   int64
}

func (u *use) add(s Sample) {
	if s.HasCPU && s.CPU >= 0 {
		u.requests += s.Requests
		u.cpu += s.CPU
		u.span += s.To.Sub(s.From)
	}
	if s.Memory > 0 {
		u.memory += s.Memory
		u.read++
	}
	u.instances += int64(s.Instances)
	u.samples++
}

// perRequest is CPU seconds, memoryMean bytes an instance; 0 is unknown.
func (u use) perRequest() float64 {
	if u.requests == 0 {
		return 0
	}
	return u.cpu.Seconds() / float64(u.requests)
}

func (u use) memoryMean() float64 { return share(u.memory, u.read) }

// load is the requests a second of one instance.
func (u use) load() float64 {
	if u.instances == 0 || u.span == 0 {
		return 0
	}
	return float64(u.requests) / u.span.Seconds() / share(u.instances, u.samples)
}

// pair is a block in which both were measured.
type pair struct{ stable, candidate float64 }

// pairs lists the blocks in which m can be compared.
func pairs(m Metric, q Question, runs []run) []pair {
	var recorded use
	for _, s := range q.Baseline {
		if s.Revision == q.Stable && sensible(s) {
			recorded.add(whole(s))
		}
	}
	var out []pair
	for _, r := range runs {
		for _, b := range r.blocks(q.Candidate) {
			if r.weight == 1000 {
				b.stable = recorded
			}
			p := pair{b.stable.memoryMean(), b.candidate.memoryMean()}
			if m == CPU {
				p = pair{b.stable.perRequest(), b.candidate.perRequest()}
				if a, b := b.stable.load(), b.candidate.load(); a == 0 || b == 0 || max(a/b, b/a) > likeLoad {
					continue
				}
			}
			if p.stable > 0 && p.candidate > 0 {
				out = append(out, p)
			}
		}
	}
	return out
}

type block struct{ stable, candidate use }

func (r run) blocks(candidate string) []block {
	var out []block
	at := int64(-1)
	start := r.samples[0].From
	for _, s := range r.samples {
		if i := int64(s.From.Sub(start) / steadyBlock); i != at {
			out, at = append(out, block{}), i
		}
		b := &out[len(out)-1]
		if s.Revision == candidate {
			b.candidate.add(s)
		} else {
			b.stable.add(s)
		}
	}
	return out
}

// judgeResource compares block by block. It bets on the sign: if the usual
// ratio is within the limit, half of the blocks at most lie above it, and what
// the bets win is an e-value; all limits at which they would not have won
// enough make the interval. A finding of this kind never passes.
func judgeResource(m Metric, q Question, runs []run, limit, alpha float64) Finding {
	f := Finding{Metric: m, Verdict: Inconclusive, Threshold: 1 / alpha, UpperBound: 0, Allowed: limit, EValue: 1}
	ps := pairs(m, q, runs)
	if len(ps) == 0 {
		f.Detail = fmt.Sprintf("%s: nothing to compare at like load", m)
		return f
	}
	quotients := make([]float64, len(ps))
	above := 0
	for i, p := range ps {
		f.Stable += p.stable / float64(len(ps))
		f.Candidate += p.candidate / float64(len(ps))
		quotients[i] = p.candidate / p.stable
		if quotients[i] > limit {
			above++
		}
	}
	slices.Sort(quotients)
	n := len(quotients)
	for a := 0; a <= n; a++ {
		if a > 0 && logSigns(a, n-a) >= math.Log(f.Threshold) {
			f.LowerBound = quotients[n-a]
			break
		}
	}
	f.EValue = finite(logSigns(above, n-above))
	middle := quotients[n/2]
	f.Detail = fmt.Sprintf("%s: %.2f times stable's in the usual of %d blocks, limit %.2f", m, middle, n, limit)
	if f.LowerBound > limit {
		f.Verdict = Fail
	}
	return f
}

// logSigns is the logarithm of what bets of a quarter, a half and nine tenths
// of the stake on "above" have made, on average.
func logSigns(above, below int) float64 {
	sum := math.Inf(-1)
	for _, stake := range [...]float64{0.25, 0.5, 0.9} {
		sum = logAdd(sum, float64(above)*math.Log1p(stake)+float64(below)*math.Log1p(-stake)-math.Log(3))
	}
	return sum
}
