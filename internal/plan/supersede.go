package plan

import (
	"fmt"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// superseding reports whether another rollout is to end before the one asked
// for begins, also when it has just ended by our hand.
func (in Input) superseding() bool {
	s := in.State
	if !in.Request.Supersede || s == nil || in.Fresh || in.Spec.Revision.ID == "" {
		return false
	}
	return s.Opening.Candidate != in.Spec.Revision
}

// supersede takes the next step to the end of the open rollout: one that has
// passed at 100 percent is settled, every other goes back.
func supersede(in Input) Decision {
	for _, p := range in.Successor {
		if !p.Met {
			return end(p.Else, p.Text, p.How)
		}
	}
	s := in.State
	if s.Stage == rollout.StageSettled {
		return do(Succeed{Reason: Superseded(*s, in.Spec.Revision)})
	}
	if Settles(*s) {
		return settleOn(in)
	}
	return back(in, rollout.GoingBack{
		Reason: "superseded by " + in.Spec.Revision.ID, From: in.weight(), Decided: in.Now(),
	}, nil)
}

// Settles reports whether a rollout that is superseded stays released.
func Settles(s rollout.State) bool { return s.Stage == rollout.StageLive && passed(s, rollout.Full) }

// Superseded says what becomes of an open rollout when by supersedes it, and
// what way back is given up.
func Superseded(s rollout.State, by rollout.Revision) string {
	old, stable := s.Opening.Candidate, s.Opening.Stable
	switch {
	case s.WentBack || s.Stage != rollout.StageSettled && !Settles(s):
		return fmt.Sprintf("rollout %s is superseded by %s: %s is taken back, %s is what serves", s.Rollout, by, old, stable)
	default:
		return fmt.Sprintf("rollout %s is superseded by %s: %s is settled, and the way back to %s is given up", s.Rollout, by, old, stable)
	}
}
