package kubernetes

// A Deployment is rolled by its own controller, which is given no more room than
// for the next step. The brake is minReadySeconds: new pods never count as
// available by the time that is set while they are rolled, so that the
// controller takes no old one away for them. How far it goes is then a matter
// of numbers, and not of who is faster:
//
//	old pods that stay = replicas - maxUnavailable
//	pods in all        = replicas + maxSurge
//
// So there is never more than one new pod that nobody has let in yet, and pausing
// the Deployment, which it is between two steps, is never too late.

// brake is the minReadySeconds of a Deployment while it is rolled: a year.
const brake = 365 * 24 * 60 * 60

// goal is what a roll leads to.
type goal struct {
	// pods of the revision are to serve, of so many that it has when all do.
	pods, of int
	// former is how many pods the other revision had.
	former int
	// back is set for the way back: nothing is let in, all come up at once.
	back bool
}

// counts are what a move goes by.
type counts struct {
	replicas int // the Deployment's
	others   int // pods wanted of the revision that is replaced
	wanted   int // pods wanted of the one that replaces it
	spoilt   int // pods wanted of a third one, which came to nothing
	ready    int // of these
	admitted int // of these
	leaving  bool
}

// pace is how a Deployment's controller may act.
type pace string

const (
	// braked: as far as surge and unavailable let it, and no further.
	braked pace = "braked"
	// quick: every pod of the template at once; others go as these are available.
	quick pace = "quick"
	// own: as whoever made the Deployment has set it.
	own pace = "own"
)

// setting is what a move writes to a Deployment, besides the template.
type setting struct {
	pace                         pace
	replicas, surge, unavailable int
	paused                       bool
}

// next gives what the Deployment is to be set to, and whether the goal is
// reached once it is.
func (g goal) next(c counts) (s setting, reached bool) {
	switch {
	case c.others == 0: // nothing is replaced, or it is gone
		return setting{pace: own, replicas: g.of}, c.wanted == g.of && c.admitted == g.of && c.replicas == g.of && !c.leaving
	case g.back:
		return setting{pace: quick, replicas: c.replicas, surge: max(g.of, 1)}, false
	case c.admitted >= g.of && c.others <= g.of:
		if c.replicas == g.of {
			return setting{pace: own, replicas: g.of}, false
		}
		return c.hold(c.others, c.wanted, g.of), false
	case c.admitted >= g.pods && c.wanted <= g.pods && c.others <= keep(g.former, c.admitted, g.of):
		return c.hold(c.others, c.wanted, c.replicas), true
	}
	stay := min(c.others, max(keep(g.former, c.admitted, g.of), c.others-max(c.wanted, 1)))
	return c.hold(stay, max(c.wanted, min(c.admitted+1, g.pods)), c.replicas), false
}

// hold is the setting under which so many others stay beside so many new ones.
// Where the number of replicas does not allow of it, that number is changed
// first, in a way that changes no pod. Once they are so many the Deployment is
// paused: people see it, and nobody's undo or restart is in the way. It must not
// be before: a paused controller divides pods that are too many or too few as
// it likes.
func (c counts) hold(others, wanted, replicas int) setting {
	r := between(max(others, wanted), replicas, others+wanted)
	if r != c.replicas {
		others, wanted = c.others, c.wanted
		r = between(max(others, wanted), r, others+wanted)
	}
	return setting{
		pace: braked, replicas: r, surge: others + wanted - r, unavailable: r - others,
		paused: c.others == others && c.wanted == wanted && c.spoilt == 0,
	}
}

func between(least, n, most int) int { return min(max(least, n), most) }

// keep is how many of so many pods stay once n of others have replaced their
// part: rounded up, so that there are never fewer than the smaller of the two
// revisions has.
func keep(pods, n, of int) int {
	n = min(n, of)
	return (pods*(of-n) + of - 1) / of
}
