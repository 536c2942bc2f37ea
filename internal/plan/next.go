package plan

import (
	"fmt"
	"maps"
	"slices"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Next is what comes after: a phase, and what is asked of whom.
type Next struct {
	Phase rollout.Phase
	// To is the weight that the next promote goes to.
	To    rollout.Weight
	Asked string
	// Gate is the one that the phase stands behind; nil without one.
	Gate *rollout.Gate
	// Waits says what keeps the phase from running now: time, a hold, or its
	// gate; empty where it may run at once.
	Waits string
	// Schema is what a rollback that is due does about the schema; Change names
	// the one that a restore is of.
	Schema rollout.SchemaOnBack
	Change string
}

// nothingDue is asked where a release has come to its end.
const nothingDue = "nothing is due"

// Due reports whether there is anything to do.
func (n Next) Due() bool { return n.Phase != "" && n.Asked != nothingDue }

// Command is the phase with its flags, as it is typed behind "gapless".
func (n Next) Command() string {
	if n.Phase == rollout.Promote && n.To > 0 {
		return fmt.Sprintf("promote --to %g", n.To.Percent())
	}
	if n.Schema == rollout.RevertSchema {
		return string(n.Phase) + " --schema " + string(n.Schema)
	}
	if n.Change != "" {
		return string(n.Phase) + " " + n.Change
	}
	return string(n.Phase)
}

// NextOf names the phase that is due by the record.
func NextOf(in Input) Next {
	s := in.State
	if in.Lost {
		return Next{Phase: rollout.Adopt, Asked: "begin the record anew, by what serves"}
	}
	if in.Unread {
		return Next{}
	}
	if s == nil || in.Fresh {
		return nextOpening(in)
	}
	if _, ok := unfinishedBack(in); ok {
		return Next{Phase: rollout.Rollback, Asked: "finish the way back that was begun"}
	}
	switch s.Stage {
	case rollout.StageOpen:
		return nextOpening(in)
	case rollout.StageRolling:
		return nextReplace(in)
	case rollout.StageStanding, rollout.StageExposed:
		return nextPromote(in)
	case rollout.StageLive:
		switch {
		case passed(*s, rollout.Full):
		case in.rolling():
			return nextReplace(in)
		default:
			return nextPromote(in)
		}
		until := s.LiveSince.Add(in.Config.RollbackWindow)
		asked := "stop the old revision"
		if in.rolling() {
			asked = "settle on the new revision, which gives the way back up"
		}
		return Next{Phase: rollout.Retire, Asked: asked + ", from " + clock(until) + " on"}
	case rollout.StageSettled:
	}
	if next, ok := nextHalfWay(*s); ok {
		return next
	}
	if owing := Owing(in); len(owing) > 0 {
		return Next{Phase: rollout.Contract, Asked: "remove the old form of " + owing[0].ID + " from the schema"}
	}
	return Next{Phase: rollout.Deploy, Asked: nothingDue}
}

// nextHalfWay goes on with a way back in the schema that was begun.
func nextHalfWay(s rollout.State) (Next, bool) {
	for _, id := range slices.Sorted(maps.Keys(s.Changes)) {
		switch s.Changes[id].State {
		case rollout.Reverting:
			return Next{Phase: rollout.Rollback, Schema: rollout.RevertSchema, Asked: "finish taking change " + id + " back"}, true
		case rollout.Restoring:
			return Next{Phase: rollout.Restore, Change: id, Asked: "finish bringing the old form of change " + id + " back"}, true
		default:
		}
	}
	return Next{}, false
}

// nextOpening is expand while a change is not expanded, else deploy.
func nextOpening(in Input) Next {
	for _, c := range in.Changes {
		if in.changeState(c.ID) != rollout.Expanded {
			return Next{Phase: rollout.Expand, Asked: "make the schema serve old and new alike"}
		}
	}
	if in.opening().Strategy == rollout.Rolling {
		return Next{Phase: rollout.Deploy, Asked: "replace the instances, batch by batch"}
	}
	return Next{Phase: rollout.Deploy, Asked: "bring the candidate beside stable"}
}

// nextReplace goes on with a rolling update, or back from where it was left.
func nextReplace(in Input) Next {
	s := in.State
	switch {
	case failed(*s):
		return Next{Phase: rollout.Rollback, Asked: "bring stable back, batch by batch"}
	case !passed(*s, s.Weight):
		return Next{Phase: rollout.Deploy, Asked: "bring the bake at " + s.Weight.String() + " to its verdict"}
	}
	return Next{Phase: rollout.Deploy, Asked: "replace the next instances"}
}

func nextPromote(in Input) Next {
	s := in.State
	to := nextStep(in.steps(), s.Weight)
	if s.Weight > 0 && !passed(*s, s.Weight) {
		to = s.Weight
		return Next{Phase: rollout.Promote, To: to, Asked: "bring the bake at " + to.String() + " to its verdict"}
	}
	return Next{Phase: rollout.Promote, To: to, Asked: "give the candidate " + to.String() + " of the traffic"}
}

// Waiting completes n with the gate that the phase stands behind, and with what
// keeps it from running now.
func (n Next) Waiting(in Input, gate *rollout.Gate) Next {
	n.Gate = gate
	switch s := in.State; {
	case s == nil || in.Fresh:
	case s.Held != nil:
		n.Waits = onHold(*s)
	case n.Phase == rollout.Retire:
		for _, p := range retirable(in) {
			if !p.Met {
				n.Waits = p.Text
				return n
			}
		}
	case n.Phase == rollout.Contract:
		n.Waits = restless(in)
	case n.Phase == rollout.Deploy && s.Stage == rollout.StageSettled:
		n.Waits = nothingDue
	}
	if n.Waits == "" && gate != nil {
		n.Waits = "approval at " + gate.String()
	}
	return n
}

// restless says how long a change that is owed has to be quiet for, by the
// record alone: contract itself asks the database.
func restless(in Input) string {
	for _, c := range Owing(in) {
		if text := hiddenStill(in, c); text != "" {
			return text
		}
		if until := in.State.SettledAt.Add(c.QuietFor); in.Now().Before(until) {
			return "change " + c.ID + ": the old form has to be quiet until " + clock(until) + " at least"
		}
	}
	return ""
}
