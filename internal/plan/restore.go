package plan

import (
	"fmt"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// decideRestore brings the old form of one change back, from where contract hid
// it or out of the archive. Its contract is owed again then.
func decideRestore(in Input) Decision {
	c := *in.Known
	done := in.State.Changes[c.ID]
	steps := restoreSteps(in, c)
	if len(steps) == 0 {
		return end(rollout.Done, fmt.Sprintf("change %s is expanded: the schema serves old and new alike", c.ID), "")
	}
	for i, st := range steps {
		if _, ok := done.Steps[st.ID]; ok && done.State == rollout.Restoring {
			continue
		}
		after := rollout.Restoring
		if i == len(steps)-1 {
			after = rollout.Expanded
		}
		return do(Migrate{Change: c, Step: st, Before: rollout.Restoring, State: after, New: !in.holds(c.ID)})
	}
	return end(rollout.Done, fmt.Sprintf("change %s is expanded: the schema serves old and new alike", c.ID), "")
}

// restoreSteps are those that lead back from where the change is; none where it
// is back.
func restoreSteps(in Input, c change.Change) []change.Step {
	done := in.State.Changes[c.ID]
	_, begun := done.Steps[string(change.Return)]
	switch st := in.changeState(c.ID); {
	case done.State == rollout.Restoring && begun, st == rollout.Contracted, st == rollout.Restoring && in.Facts[c.ID].State == st:
		return change.RestoreSteps(c)
	case st == rollout.Hidden, done.State == rollout.Restoring:
		return change.UnhideSteps(c)
	}
	return nil
}

// holds reports whether the record has the change among those whose contract is
// or may be owed.
func (in Input) holds(id string) bool {
	has := func(changes []change.Change) bool {
		for _, c := range changes {
			if c.ID == id {
				return true
			}
		}
		return false
	}
	return has(in.Owed) || !in.State.WentBack && has(in.Changes)
}

// restorable holds where there is an old form to bring back, and nobody else is
// about to change the schema.
func restorable(in Input) []Precondition {
	ps := recorded(in, "the schema stays as it is until that is over")
	if in.State == nil {
		return ps
	}
	id := in.Request.Change
	st := in.changeState(id)
	known := in.Known != nil
	where := Precondition{Need: "the old form of change " + id + " is hidden or archived", Else: rollout.Refused, How: "gapless status shows where each change stands"}
	switch {
	case !known:
		where.Text, where.How = fmt.Sprintf("the database knows no change %q of service %s", id, in.Config.Service), "name it as its file is named, without the extension"
	case st == rollout.Contracting || in.State.ChangeOf(id) == rollout.Contracting:
		where.Text, where.How = fmt.Sprintf("the contract of change %s was begun and has not ended: it only goes forward", id), "run gapless contract to its end, then restore"
	case st == rollout.Hidden, st == rollout.Contracted, st == rollout.Restoring, st == rollout.Expanded:
		where.Met = true
	default:
		where.Text = fmt.Sprintf("change %s is %s: it has nothing to bring back", id, st)
	}
	return append(ps, where)
}
