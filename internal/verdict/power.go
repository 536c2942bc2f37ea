package verdict

import "time"

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
	Pass         time.Duration // until it has served them; the bake and settling come on top
	Effect       float64       // the error share that Detect is about, 0..1
	Detect       time.Duration // within which such a candidate is failed nine times in ten
}

// Power foretells a step, for plan's estimate: "at 40 requests a minute it
// takes 26 minutes to see 1 %". effect is the candidate's error share to be
// seen, 0..1. A duration of 0 with no traffic means never.
func Power(t Traffic, l Limits, effect float64) Outlook {
	return Outlook{Effect: effect}
}
