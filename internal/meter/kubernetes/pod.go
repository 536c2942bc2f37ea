package kubernetes

import "time"

// usage is what a source tells of a pod: either a rate over a window or a
// counter.
type usage struct {
	at     time.Time
	memory int64 // bytes that cannot be given back; 0 is unknown
	// cores were used, on average, over the window before at.
	cores  float64
	window time.Duration
	// spent is the CPU time since the pod began; negative is unknown.
	spent time.Duration
}

// pod is what is known of one.
type pod struct {
	usage
	// cores were used from then until at, where that was measured.
	from     time.Time
	measured bool
	renewed  bool // since the look before
}

// then is the pod after one more look. A source that has not looked anew since
// changes nothing; a counter that fell began anew.
func (p pod) then(u usage) pod {
	switch {
	case !p.at.IsZero() && !u.at.After(p.at):
		p.renewed = false
		return p
	case u.window > 0:
		return pod{usage: u, from: u.at.Add(-u.window), measured: true, renewed: true}
	case p.at.IsZero() || p.spent < 0 || u.spent < p.spent:
		return pod{usage: u, from: u.at, renewed: true}
	}
	u.cores = (u.spent - p.spent).Seconds() / u.at.Sub(p.at).Seconds()
	return pod{usage: u, from: p.at, measured: true, renewed: true}
}
