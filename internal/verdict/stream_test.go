package verdict

import (
	"math"
	"math/rand/v2"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// A world is a service to simulate, sample by sample. In each minute requests
// go wrong with a share that wanders around its mean: a log-normal AR(1)
// process with one step a minute, whose autocorrelation is that from minute to
// minute. Either both revisions have the same wander, since they serve the
// same users from the same database at the same time, or each its own.
type world struct {
	perMinute   float64 // public requests of both revisions together
	weights     []step  // what the candidate gets of them; the last lasts for ever
	stable      float64 // mean error share
	times       float64 // the candidate's, as a multiple of it; 1 is identical
	spread      float64 // coefficient of variation of a minute's share
	correlation float64 // autocorrelation from minute to minute
	shared      bool    // both wander alike
	bursts      burstiness
	recorded    int // minutes of stable's past that the judge is given
	sample      int // seconds that a sample lasts; a divisor of 60
}

// step is a weight of a canary, in tenths of a percent, and how long it lasts.
type step struct{ weight, minutes int }

// burstiness is how often all goes wrong for a while.
type burstiness struct {
	length int     // in seconds; 0 is none
	hourly float64 // how many an hour
	share  float64 // of the requests that go wrong in it
	shared bool    // both revisions at the same time; else each has its own
}

// even is one weight all the time.
func even(weight int) []step { return []step{{weight, math.MaxInt}} }

// weight is the candidate's in a minute of the rollout, and in which minute it
// came into force.
func (w world) weight(minute int) (weight, since int) {
	for _, s := range w.weights[:len(w.weights)-1] {
		if minute < since+s.minutes {
			return s.weight, since
		}
		since += s.minutes
	}
	return w.weights[len(w.weights)-1].weight, since
}

// wander is one AR(1) process and the bursts beside it.
type wander struct {
	rng   *rand.Rand
	state float64
	left  int // seconds of the burst
}

func newWander(rng *rand.Rand) *wander { return &wander{rng: rng, state: rng.NormFloat64()} }

// factor is what a minute's share is multiplied by.
func (a *wander) factor(spread, correlation float64) float64 {
	sigma := math.Sqrt(math.Log1p(spread * spread))
	f := math.Exp(sigma*a.state - sigma*sigma/2)
	a.state = correlation*a.state + math.Sqrt(1-correlation*correlation)*a.rng.NormFloat64()
	return f
}

// bursting tells for each second of a minute whether it lies in a burst.
func (a *wander) bursting(b burstiness) (out [60]bool) {
	if b.length == 0 {
		return out
	}
	for i := range out {
		if a.left == 0 && a.rng.Float64() < b.hourly/3600 {
			a.left = b.length
		}
		if a.left > 0 {
			a.left--
			out[i] = true
		}
	}
	return out
}

// stream plays a world.
type stream struct {
	world
	rng               *rand.Rand
	stable, candidate *wander
}

func (w world) stream(seed uint64) *stream {
	rng := rand.New(rand.NewPCG(seed, 1))
	return &stream{world: w, rng: rng, stable: newWander(rng), candidate: newWander(rng)}
}

// minute is what both revisions do in one minute of the rollout. Before the
// first, the candidate does nothing.
func (s *stream) minute(at int) (of, ofCandidate []Sample) {
	factor, bursts := s.stable.factor(s.spread, s.correlation), s.stable.bursting(s.bursts)
	factors, burstsOf := factor, bursts
	if own := s.candidate.factor(s.spread, s.correlation); !s.shared {
		factors = own
	}
	if own := s.candidate.bursting(s.bursts); !s.bursts.shared {
		burstsOf = own
	}
	weight := 0
	if at >= 0 {
		weight, _ = s.weight(at)
	}
	part := float64(weight) / 1000
	of = s.side(stable, at, weight, s.perMinute*(1-part), s.world.stable*factor, bursts)
	if weight > 0 {
		ofCandidate = s.side(candidate, at, weight, s.perMinute*part, s.world.stable*s.times*factors, burstsOf)
	}
	return of, ofCandidate
}

func (s *stream) side(revision string, at, weight int, perMinute, share float64, bursts [60]bool) []Sample {
	n := 60 / s.sample
	out := make([]Sample, n)
	from := start.Add(time.Duration(at) * time.Minute)
	length := time.Duration(s.sample) * time.Second
	for i := range out {
		burst := 0
		for _, b := range bursts[i*s.sample : (i+1)*s.sample] {
			if b {
				burst++
			}
		}
		p := share + (max(share, s.bursts.share)-share)*float64(burst)/float64(s.sample)
		p = min(p, 1)
		bad, good := s.poisson(perMinute/float64(n)*p), s.poisson(perMinute/float64(n)*(1-p))
		out[i] = Sample{
			Revision: revision, From: from.Add(time.Duration(i) * length), To: from.Add(time.Duration(i+1) * length),
			Weight: weight, Requests: bad + good, Errors: bad,
		}
	}
	return out
}

// poisson draws a number of requests; those that go wrong and the others are
// independent of one another.
func (s *stream) poisson(mean float64) int64 {
	if mean > 8 {
		return int64(distuv.Poisson{Lambda: mean, Src: s.rng}.Rand())
	}
	if mean <= 0 {
		return 0
	}
	n, limit := int64(0), math.Exp(-mean)
	for p := s.rng.Float64(); p > limit; p *= s.rng.Float64() {
		n++
	}
	return n
}
