package verdict

import (
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// A rule looks at a rollout every minute and says when it would roll back.
// Rules are made anew for each rollout.
type rule interface {
	// look takes in the minute that just passed; true rolls back.
	look(of, ofCandidate []Sample) bool
}

// asJudge is Judge itself.
type asJudge struct {
	q    Question
	w    world
	seen int // minutes
	// A look that cannot fail is left out: without enough evidence, undivided.
	screen *process
	runs   []run
	slack  float64
}

func newJudge(w world, l Limits, past []Sample) *asJudge {
	return &asJudge{
		q: Question{Limits: l, Stable: stable, Candidate: candidate, Bake: 24 * time.Hour, Baseline: past},
		w: w, screen: newProcess(maxBurst), slack: 2,
	}
}

func (j *asJudge) look(of, ofCandidate []Sample) bool {
	weight, since := j.w.weight(j.seen)
	j.seen++
	j.q.Weight, j.q.Since = weight, start.Add(time.Duration(since)*time.Minute)
	j.q.Now = start.Add(time.Duration(j.seen) * time.Minute)
	j.q.Samples = append(append(j.q.Samples, of...), ofCandidate...)
	return j.mayFail(of, ofCandidate) && Judge(j.q).Verdict == Fail
}

// mayFail is cheap: it says no where Judge surely does not fail, as the
// evidence before it is divided by the unsteadiness is too little, or the
// effect too small. Slack is for the share of the requests, of which Judge
// knows the final one. TestScreen compares.
func (j *asJudge) mayFail(of, ofCandidate []Sample) bool {
	if n := len(j.runs); n == 0 || j.runs[n-1].weight != j.q.Weight {
		j.runs = append(j.runs, run{weight: j.q.Weight})
	}
	r := &j.runs[len(j.runs)-1]
	for i := range of {
		r.stable, r.candidate = r.stable.plus(of[i]), r.candidate.plus(ofCandidate[i])
	}
	beside := share(r.candidate.Requests, r.candidate.Requests+r.stable.Requests)
	for i := range of {
		span := of[i].To.Sub(of[i].From)
		if bad := ofCandidate[i].Errors; bad+of[i].Errors == 0 {
			j.screen.wait(span)
		} else {
			j.screen.add(span, besideGain(bad, bad+of[i].Errors, beside))
		}
	}
	threshold := math.Log(1 / j.q.Limits.alphas()[Errors])
	counts := Judgement{Control: Beside, StableCounts: r.stable, CandidateCounts: r.candidate}
	return j.screen.log() >= threshold-j.slack && j.q.Limits.Errors.worthwhile(Errors, j.runs, counts)
}

// minutely is what the rivals see: a share of errors for each minute in which
// there were requests.
type minutely struct {
	stable, candidate           []float64
	stableCounts, candidateOnes []Counts
}

func (m *minutely) take(of, ofCandidate []Sample) {
	var s, c Counts
	for i := range of {
		s, c = s.plus(of[i]), c.plus(ofCandidate[i])
	}
	if s.Requests > 0 {
		m.stable = append(m.stable, share(s.Errors, s.Requests))
	}
	if c.Requests > 0 {
		m.candidate = append(m.candidate, share(c.Errors, c.Requests))
	}
	m.stableCounts, m.candidateOnes = append(m.stableCounts, s), append(m.candidateOnes, c)
}

// kayenta is what Kayenta's NetflixACAJudge calls High: the Mann-Whitney
// interval of the shift (98 %, R's asymptotic one, with the corrections for
// continuity and ties) lies above a quarter of the Hodges-Lehmann estimate.
// The effect size, mean against mean, must be an increase.
type kayenta struct{ minutely }

const (
	kayentaFraction   = 0.25
	kayentaConfidence = 0.98
	kayentaFirst      = 5 // minutes
	// Many minutes without errors make the shift 0, but for rounding.
	rounding = 1e-9
)

func (k *kayenta) look(of, ofCandidate []Sample) bool {
	k.take(of, ofCandidate)
	if len(k.stable) < kayentaFirst || len(k.candidate) < kayentaFirst || slices.Equal(k.stable, k.candidate) {
		return false
	}
	x, y := slices.Sorted(slices.Values(k.candidate)), slices.Sorted(slices.Values(k.stable))
	if mean(x) <= mean(y) {
		return false
	}
	z := distuv.UnitNormal.Quantile(1 - (1-kayentaConfidence)/2)
	return shiftAt(x, y, z) > kayentaFraction*math.Abs(shiftAt(x, y, 0))+rounding
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// shiftAt finds the shift of x against y, both sorted, at which the Mann-
// Whitney statistic is z standard deviations above its expectation.
func shiftAt(x, y []float64, z float64) float64 {
	lo, hi := x[0]-y[len(y)-1], x[len(x)-1]-y[0]
	if statistic(x, y, lo) <= z {
		return lo
	}
	if statistic(x, y, hi) >= z {
		return hi
	}
	for range 40 {
		if mid := (lo + hi) / 2; statistic(x, y, mid) > z {
			lo = mid
		} else {
			hi = mid
		}
	}
	return (lo + hi) / 2
}

// statistic is that of x less a shift against y, in standard deviations.
func statistic(x, y []float64, shift float64) float64 {
	m, n := float64(len(x)), float64(len(y))
	var wins, ties float64 // pairs that x wins, half of those that are equal
	for i, j := 0, 0; i < len(x) || j < len(y); {
		v := math.Inf(1)
		if i < len(x) {
			v = x[i] - shift
		}
		if j < len(y) {
			v = min(v, y[j])
		}
		below, a, b := float64(j), 0.0, 0.0
		for ; i < len(x) && x[i]-shift == v; i++ {
			a++
		}
		for ; j < len(y) && y[j] == v; j++ {
			b++
		}
		wins += a * (below + b/2)
		t := a + b
		ties += t*t*t - t
	}
	d := wins - m*n/2
	sigma := math.Sqrt(m * n / 12 * (m + n + 1 - ties/((m+n)*(m+n-1))))
	if sigma == 0 {
		return 0
	}
	return (d - math.Copysign(0.5, d)*sign(d)) / sigma
}

// sign is 0 for 0, else 1.
func sign(d float64) float64 {
	if d == 0 {
		return 0
	}
	return 1
}

// threshold is a plain limit on the candidate's error share over the last
// window minutes: an absolute one, or a multiple of stable's.
type threshold struct {
	minutely
	window          int
	share, multiple float64 // 0 is not looked at
}

func (t *threshold) look(of, ofCandidate []Sample) bool {
	t.take(of, ofCandidate)
	first := len(t.stableCounts) - t.window
	if first < 0 {
		return false
	}
	var s, c Counts
	for i := first; i < len(t.stableCounts); i++ {
		s = Counts{s.Requests + t.stableCounts[i].Requests, s.Errors + t.stableCounts[i].Errors, 0}
		c = Counts{c.Requests + t.candidateOnes[i].Requests, c.Errors + t.candidateOnes[i].Errors, 0}
	}
	p := share(c.Errors, c.Requests)
	return t.share > 0 && p > t.share || t.multiple > 0 && p > t.multiple*share(s.Errors, s.Requests)
}
