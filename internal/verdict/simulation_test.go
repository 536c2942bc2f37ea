package verdict

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

func errorsOnly() Limits { return Limits{Errors: &Limit{WorseBy: 0.001, Ratio: 1.25}} }

// Seeds are fixed, so that these tests don't flicker.

func TestFalseAlarms(t *testing.T) {
	t.Parallel()
	// Of 200, 1 % is 2; more than 7 has a chance of 1 in 1,000.
	for name, w := range map[string]world{
		"steady":                         service(1000, 0.001),
		"own wander":                     service(1000, 0.001).wandering(0.25, 0.8, false),
		"own wander of many errors":      service(1000, 0.01).wandering(0.25, 0.8, false),
		"own wander, little traffic":     service(100, 0.001).wandering(0.5, 0.8, false),
		"a shared wander":                service(1000, 0.001).wandering(0.5, 0.8, true),
		"bursts of a second, both":       service(100, 0.001).bursting(burstiness{1, 3, 1, true}),
		"a canary's steps":               service(1000, 0.001).at(2000, canary()...).wandering(0.25, 0.8, false),
		"a canary's steps, without past": service(1000, 0.001).at(2000, canary()...).unknown(),
	} {
		if failed := w.playAll(200, 60, errorsOnly())[0]; len(failed.minutes) > 7 {
			t.Errorf("%s: %.1f %% of identical revisions failed", name, failed.percent())
		}
	}
}

func TestDetection(t *testing.T) {
	t.Parallel()
	// Of 400, 98 % is 392; fewer than 382 has a chance of 1 in 1,000.
	for name, w := range map[string]world{
		"half of 200/min":   service(100, 0.001).worse(10),
		"1 % of 10,000/min": service(100, 0.001).worse(10).at(10000, even(10)...),
	} {
		if found := w.playAll(400, 30, errorsOnly())[0]; len(found.minutes) < 382 {
			t.Errorf("%s: 0.1 %% -> 1 %%: %.1f %% found in 30 minutes", name, found.percent())
		}
	}
}

// TestTheScreenHidesNoFail compares the simulation's short cut with asking the
// judge at every look.
func TestTheScreenHidesNoFail(t *testing.T) {
	t.Parallel()
	w := service(1000, 0.001).at(2000, canary()...).worse(2).wandering(0.5, 0.8, false)
	failed := 0
	for seed := range uint64(60) {
		s := w.stream(seed)
		screened, asked := newJudge(w, errorsOnly(), nil), newJudge(w, errorsOnly(), nil)
		asked.slack = math.Inf(1)
		for at := range 60 {
			of, ofCandidate := s.minute(at)
			a, b := screened.look(of, ofCandidate), asked.look(of, ofCandidate)
			if a != b {
				t.Fatalf("seed %d, minute %d: %v when screened, %v when asked", seed, at+1, a, b)
			}
			if a {
				failed++
				break
			}
		}
	}
	if failed < 10 || failed == 60 {
		t.Errorf("%d of 60 failed, which compares nothing", failed)
	}
}

// TestKayentaKnowsAShift holds the rival to what can be reckoned by hand.
func TestKayentaKnowsAShift(t *testing.T) {
	t.Parallel()
	x, y := []float64{11, 12, 13, 14, 15, 16}, []float64{1, 2, 3, 4, 5, 6}
	if hl := shiftAt(x, y, 0); math.Abs(hl-10) > 0.5 {
		t.Errorf("shift %v, want 10", hl)
	}
	if lower := shiftAt(x, y, 2.326); lower < 5 || lower > 9 {
		t.Errorf("lower end %v, want 5..9", lower)
	}
	if z := statistic(x, y, 0); math.Abs(z-(18-0.5)/math.Sqrt(39)) > 1e-9 {
		t.Errorf("statistic %v", z)
	}
	if z := statistic([]float64{0, 0, 1}, []float64{0, 0, 1}, 0); z != 0 {
		t.Errorf("statistic %v of the same", z)
	}
}

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
