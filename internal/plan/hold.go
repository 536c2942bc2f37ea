package plan

import (
	"cmp"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// decideHold keeps the rollout where it is. The head moves by it, so that every
// approval given before is void.
func decideHold(in Input) Decision {
	s := in.State
	if s.Stage == rollout.StageSettled {
		return wentBack(in)
	}
	if s.Held == nil {
		return do(Hold{rollout.Held{Reason: in.Request.Reason}})
	}
	return end(rollout.Done, "rollout "+s.Rollout+" is on hold at "+s.Weight.String(),
		"it goes on when somebody approves what is due, by its digest; tick still takes back what goes bad")
}

// unheld holds unless somebody has put the rollout on hold and nobody has
// approved its next step since.
func unheld(in Input) []Precondition {
	s := in.State
	if s == nil || s.Held == nil || in.Fresh || in.superseding() && !Settles(*s) { // to take back needs no leave
		return nil
	}
	p := Precondition{
		Need: "the rollout is not on hold", Text: onHold(*s),
		Met: in.Gate != nil && in.Gate.Open,
		How: "approve what is due: give the digest that gapless status shows as --expect", Else: rollout.Waiting,
	}
	if in.superseding() { // what is approved is then of the rollout after it
		p.Met, p.How = false, "end it with gapless rollback, or go on with it first"
	}
	return []Precondition{p}
}

func onHold(s rollout.State) string {
	return "rollout " + s.Rollout + " is on hold: " + cmp.Or(s.Held.Reason, "somebody asked for it")
}
