package verdict

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// A world is a service to simulate. Each revision's error share wanders on
// its own around its mean: a log-normal AR(1) process, one step a minute, the
// hardest kind for a judge, as nothing the revisions have in common explains
// it. Incidents that both share cancel out.
type world struct {
	perMinute         float64 // requests of each revision at weight 500
	weight            int
	stable, candidate float64 // mean error shares
	spread            float64 // coefficient of variation of the share
	correlation       float64 // from minute to minute
	bursts            float64 // seconds an hour, on each side, in which every request fails
	recorded          int     // minutes of baseline
	second            bool    // samples of a second, not of a minute
}

// side makes one revision's samples.
type side struct {
	world
	rng      *rand.Rand
	revision string
	mean     float64
	rate     float64 // requests a minute
	state    float64
}

func (w world) sides(rng *rand.Rand) (s, c *side) {
	share := float64(w.weight) / 1000
	s = &side{w, rng, stable, w.stable, 2 * w.perMinute * (1 - share), rng.NormFloat64()}
	c = &side{w, rng, candidate, w.candidate, 2 * w.perMinute * share, rng.NormFloat64()}
	return s, c
}

func (s *side) minute(at time.Time) []Sample {
	sigma := math.Sqrt(math.Log1p(s.spread * s.spread))
	p := min(1, s.mean*math.Exp(sigma*s.state-sigma*sigma/2))
	s.state = s.correlation*s.state + math.Sqrt(1-s.correlation*s.correlation)*s.rng.NormFloat64()
	n, length := 1, time.Minute
	if s.second {
		n, length = 60, time.Second
	}
	var out []Sample
	for i := range n {
		from := at.Add(time.Duration(i) * length)
		requests := distuv.Poisson{Lambda: s.rate / float64(n), Src: s.rng}.Rand()
		var bad float64
		if requests > 0 {
			bad = distuv.Binomial{N: requests, P: p, Src: s.rng}.Rand()
		}
		if s.bursts > 0 && s.rng.Float64() < s.bursts/60/float64(n) {
			bad = min(requests, bad+math.Ceil(s.rate/60))
		}
		out = append(out, Sample{Revision: s.revision, From: from, To: from.Add(length), Weight: s.weight, Requests: int64(requests), Errors: int64(bad)})
	}
	return out
}

// failed plays a rollout, looks every minute, and tells the minute of a fail.
func (w world) failed(rng *rand.Rand, minutes int, l Limits) (int, bool) {
	s, c := w.sides(rng)
	q := Question{Limits: l, Stable: stable, Candidate: candidate, Weight: w.weight, Since: start, Bake: 24 * time.Hour}
	for i := -w.recorded; i < 0; i++ {
		q.Baseline = append(q.Baseline, s.minute(start.Add(time.Duration(i)*time.Minute))...)
	}
	for i := range minutes {
		at := start.Add(time.Duration(i) * time.Minute)
		q.Samples = append(append(q.Samples, s.minute(at)...), c.minute(at)...)
		q.Now = at.Add(time.Minute)
		if Judge(q).Verdict == Fail {
			return i + 1, true
		}
	}
	return 0, false
}

func errorsOnly() Limits { return Limits{Errors: &Limit{WorseBy: 0.001, Ratio: 1.25}} }

// failures plays n rollouts and tells the part that failed.
func (w world) failures(n, minutes int, l Limits) float64 {
	failed := 0
	for i := range n {
		if _, bad := w.failed(rand.New(rand.NewPCG(uint64(i), 1)), minutes, l); bad {
			failed++
		}
	}
	return float64(failed) / float64(n)
}

func TestFalseAlarms(t *testing.T) {
	t.Parallel()
	// Of 100, 1 % is 1; more than 5 has a chance of 1 in 1,000.
	for _, c := range []float64{0, 0.8} {
		w := world{perMinute: 100, weight: 500, stable: 0.001, candidate: 0.001, spread: 0.5, correlation: c}
		if p := w.failures(100, 60, errorsOnly()); p > 5./100 {
			t.Errorf("autocorrelation %v: %.1f %% of identical revisions failed", c, 100*p)
		}
	}
	burst := world{perMinute: 1000, weight: 500, stable: 0.001, candidate: 0.001, bursts: 3, second: true}
	if p := burst.failures(20, 15, errorsOnly()); p > 2./20 {
		t.Errorf("bursts of one second: %.1f %% of identical revisions failed", 100*p)
	}
}

func TestDetection(t *testing.T) {
	t.Parallel()
	// Of 200, 98 % is 196; fewer than 189 has a chance of 1 in 1,000.
	w := world{perMinute: 100, weight: 500, stable: 0.001, candidate: 0.01}
	if p := w.failures(200, 30, errorsOnly()); p < 189./200 {
		t.Errorf("0.1 %% -> 1 %%: %.1f %% found in 30 minutes", 100*p)
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

func BenchmarkJudgeFalseAlarm(b *testing.B) {
	for _, w := range []world{
		{perMinute: 100, stable: 0.001, spread: 0.5},
		{perMinute: 1000, stable: 0.001, spread: 0.25},
		{perMinute: 1000, stable: 0.001, spread: 0.5},
		{perMinute: 1000, stable: 0.01, spread: 0.25},
		{perMinute: 1000, stable: 0.01, spread: 0.25, recorded: 120},
	} {
		for _, w.correlation = range []float64{0, 0.5, 0.8} {
			w.weight, w.candidate = 500, w.stable
			b.Run(fmt.Sprintf("errors=%g%%/perminute=%g/spread=%g/recorded=%dm/autocorrelation=%g",
				100*w.stable, w.perMinute, w.spread, w.recorded, w.correlation), func(b *testing.B) {
				b.ReportMetric(100*w.failures(b.N, 60, errorsOnly()), "%failed")
			})
		}
	}
}

func BenchmarkJudgeDetection(b *testing.B) {
	all := limits()
	for _, c := range []struct {
		judged string
		limits Limits
	}{{"errors", errorsOnly()}, {"all", all}} {
		for _, correlation := range []float64{0, 0.5, 0.8} {
			w := world{perMinute: 100, weight: 500, stable: 0.001, candidate: 0.01, correlation: correlation}
			if correlation > 0 {
				w.spread = 0.25
			}
			b.Run(fmt.Sprintf("judged=%s/spread=%g/autocorrelation=%g", c.judged, w.spread, correlation), func(b *testing.B) {
				b.ReportMetric(100*w.failures(b.N, 30, c.limits), "%found")
			})
		}
	}
}

func BenchmarkJudgeWrongPass(b *testing.B) {
	for _, weight := range []int{10, 250, 500} {
		b.Run(fmt.Sprintf("weight=%d", weight), func(b *testing.B) {
			bake := 4 / (0.005) // four times what 1/allowed takes
			b.ReportMetric(100*wronglyPassed(b.N, weight, bake, Limit{WorseBy: 0.005}, 0.001), "%passed")
		})
	}
}
