package rollout

import "time"

// Side is one of the two places that hold a revision.
type Side string

// The two sides; the candidate takes the one that stable is not on.
const (
	Blue  Side = "blue"
	Green Side = "green"
)

// Other gives the side across; of no side it is Blue, where a first release
// goes.
func (s Side) Other() Side {
	if s == Blue {
		return Green
	}
	return Blue
}

// Split is how public traffic is divided; the weights add up to Full, or to
// zero where nothing serves yet.
type Split struct {
	Blue  Weight `json:"blue"`
	Green Weight `json:"green"`
}

// SplitTo gives the split in which side has weight w and the other the rest.
func SplitTo(side Side, w Weight) Split {
	if side == Green {
		return Split{Blue: Full - w, Green: w}
	}
	return Split{Blue: w, Green: Full - w}
}

// Of gives the weight of one side.
func (s Split) Of(side Side) Weight {
	switch side {
	case Blue:
		return s.Blue
	case Green:
		return s.Green
	}
	return 0
}

// Zero reports whether no traffic is routed anywhere.
func (s Split) Zero() bool { return s == Split{} }

// Token is a platform's version of all that a compare-and-set guards.
type Token string

// Observation is what was seen on a platform at one moment.
type Observation struct {
	// At is the platform's own time.
	At    time.Time
	Token Token
	// Mark is nil where gapless has stamped nothing.
	Mark  *Mark
	Split Split
	// SplitSince is when the split came into force, in the platform's time.
	SplitSince time.Time
	// Sides holds the sides that exist; an empty side is absent.
	Sides map[Side]SideState
	// Managers names others that manage the same objects.
	Managers []string
}

// SideState is what was seen of one side.
type SideState struct {
	Revision Revision
	Desired  int
	Ready    int
	Draining bool
	// Whole is how many instances it has when it is not scaled to divide the
	// traffic; zero where numbers of instances do not divide it.
	Whole     int
	Instances []Instance
}

// Instance is one running copy of a revision.
type Instance struct {
	Name    string
	Side    Side
	Address string
	Ready   bool
	// Held is set for one that is kept from taking traffic although it may be
	// ready.
	Held bool
	// Restarts counts how often it ended by itself and was started again; Ended
	// says how it did so last.
	Restarts int
	Ended    string
	// Problem says in one line why it is not ready, with its last words.
	Problem string
}

// SideOf finds the side that holds r.
func (o Observation) SideOf(r Revision) (Side, bool) {
	for _, side := range []Side{Blue, Green} {
		if st, ok := o.Sides[side]; ok && st.Revision == r && !st.Draining {
			return side, true
		}
	}
	return "", false
}

// Serving lists what takes public traffic, stable's share first.
func (o Observation) Serving() []Share {
	var shares []Share
	for _, side := range []Side{Blue, Green} {
		w := o.Split.Of(side)
		if w == 0 {
			continue
		}
		shares = append(shares, Share{Revision: o.Sides[side].Revision, Weight: w})
	}
	if len(shares) == 2 && o.Mark != nil && shares[1].Revision == o.Mark.Stable {
		shares[0], shares[1] = shares[1], shares[0]
	}
	return shares
}

// Share is the part of public traffic that one revision takes.
type Share struct {
	Revision Revision `json:"revision"`
	Weight   Weight   `json:"weight"`
}
