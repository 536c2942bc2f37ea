package verdict

import (
	"math"
	"time"
)

// Traffic is what Power foretells from.
type Traffic struct {
	PerMinute float64 // public requests a minute, of both revisions
	Weight    int     // candidate's share, in tenths of a percent
	Errors    float64 // stable's share of errors, 0..1
	Slow      float64 // stable's share of slow requests, 0..1
}

// Outlook is how long a step takes at the traffic seen.
type Outlook struct {
	PassRequests int64         // the candidate must serve to pass, if it is as good as stable
	Pass         time.Duration // until it has served them; bake and settling come on top; 0 is never
	Effect       float64       // the error share that Detect is about, 0..1
	Detect       time.Duration // within which such a candidate is failed nine times in ten; 0 is never
}

// Power foretells a step, for plan's estimate: "at 40 requests a minute it
// takes 26 minutes to see 1 %". effect is the candidate's error share to be
// seen, 0..1. It holds for a service as steady as independent requests are.
func Power(t Traffic, l Limits, effect float64) Outlook {
	o := Outlook{Effect: effect}
	if t.Weight <= 0 {
		return o
	}
	w := min(1, float64(t.Weight)/1000)
	n := 1.0
	if w < 1 {
		n = max(n, float64(l.MinRequests))
		for _, s := range []struct {
			limit *Limit
			base  float64
		}{{l.Errors, t.Errors}, {l.Slow, t.Slow}} {
			if s.limit != nil {
				// A stable side of one "request" stands for its known share.
				a := arms{stable: s.base * 1e-9, ofStable: 1e-9}
				n = max(n, a.needed(s.limit.allowed(t.Weight), w))
			}
		}
	}
	o.PassRequests = int64(math.Ceil(n))
	if t.PerMinute <= 0 {
		return o
	}
	o.Pass = minutes(n / (t.PerMinute * w))
	if l.Errors != nil && l.Errors.reached(effect, t.Errors, 1) {
		o.Detect = detect(t, w, effect, 1/l.alphas()[Errors])
	}
	return o
}

// detect solves growth*t - z*sqrt(scatter*t) = goal for the alternative that
// is soonest, the evidence being a sum over many errors and so about normal.
func detect(t Traffic, w, effect, threshold float64) time.Duration {
	const z = 1.2816 // nine times in ten
	candidate, stable := t.PerMinute*w*effect, t.PerMinute*(1-w)*t.Errors
	soonest := math.Inf(1)
	for _, r := range ratios() {
		goal := math.Log(threshold / (fromStart * r.belief))
		hit, miss := math.Log(r.times)-math.Log1p((r.times-1)*w), math.Log1p((r.times-1)*w)
		growth := candidate*hit - stable*miss
		if w == 1 {
			hit = math.Log(r.times)
			growth = candidate*hit - t.PerMinute*t.Errors*(r.times-1)
		}
		scatter := candidate*hit*hit + stable*miss*miss
		if growth <= 0 {
			continue
		}
		root := (z*math.Sqrt(scatter) + math.Sqrt(z*z*scatter+4*growth*goal)) / (2 * growth)
		bursts := goal / math.Log(maxBurst) * burst.Minutes()
		soonest = min(soonest, max(root*root, bursts))
	}
	return minutes(soonest)
}

// minutes is 0, never, for what would take longer than a century.
func minutes(m float64) time.Duration {
	if math.IsNaN(m) || m > 100*365*24*60 {
		return 0
	}
	return time.Duration(m * float64(time.Minute))
}
