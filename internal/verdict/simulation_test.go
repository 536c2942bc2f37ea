package verdict

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

func errorsOnly() Limits { return Limits{Errors: &Limit{WorseBy: 0.001, Ratio: 1.25}} }

// wronglyPassed plays rollouts whose candidate's excess is exactly what the
// weight allows, looks every hundredth of the bake from its end to six times
// it, and tells the part that passed.
func wronglyPassed(n, weight int, bake float64, l Limit, base float64) float64 {
	passed := 0
	for i := range n {
		rng := rand.New(rand.NewPCG(uint64(i), 2))
		var c, s arms
		share := float64(weight) / 1000
		p := min(1, base+l.allowed(weight))
		for look := range 501 {
			more := bake / 100
			if look == 0 {
				more = bake
			}
			a, b := draw(rng, more*share, p), draw(rng, more*(1-share), base)
			c.candidate, c.ofCandidate = c.candidate+a[1], c.ofCandidate+a[0]
			s.stable, s.ofStable = s.stable+b[1], s.ofStable+b[0]
			if excessBound(c.candidate, c.ofCandidate, s.stable, s.ofStable) < l.allowed(weight) {
				passed++
				break
			}
		}
	}
	return float64(passed) / float64(n)
}

func draw(rng *rand.Rand, requests, p float64) [2]float64 {
	n := distuv.Poisson{Lambda: requests, Src: rng}.Rand()
	if n == 0 || p == 0 {
		return [2]float64{n, 0}
	}
	return [2]float64{n, distuv.Binomial{N: n, P: p, Src: rng}.Rand()}
}

// However often one looks; see doubt. Of 100, 5 % is 5; more than 13 has a
// chance of 1 in 1,000.
func TestWrongPasses(t *testing.T) {
	t.Parallel()
	for _, base := range []float64{0, 0.01} {
		if p := wronglyPassed(100, 500, 4000, Limit{WorseBy: 0.005}, base); p > 13./100 {
			t.Errorf("base %v: %.1f %% of those at the limit passed", base, 100*p)
		}
	}
}

// The benchmarks play one rollout an iteration: run them with
// -benchtime=10000x for the figures of docs/benchmarks.md.

func BenchmarkJudgeWrongPass(b *testing.B) {
	for _, weight := range []int{10, 250, 500} {
		b.Run(fmt.Sprintf("weight=%d", weight), func(b *testing.B) {
			bake := 4 / (0.005) // four times what 1/allowed takes
			b.ReportMetric(100*wronglyPassed(b.N, weight, bake, Limit{WorseBy: 0.005}, 0.001), "%passed")
		})
	}
}
