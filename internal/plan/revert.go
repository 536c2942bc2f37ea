package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// again is how the way back of the schema goes on.
const again = "gapless rollback --schema revert"

// decideRevert takes back what expand made, the last change first, once the
// candidate is gone. What keeps it from that is told beside the way back of the
// traffic, which is in force by then.
func decideRevert(in Input) Decision {
	s, stable := in.State, in.Seen.Mark.Stable
	if s == nil {
		return unreverted(in, "the record, which tells what to take back, cannot be read",
			"run "+again+" once the record can be read; gapless status says why it cannot")
	}
	changes := Revertible(in)
	switch {
	case len(changes) == 0 && s.Stage == rollout.StageSettled && !s.WentBack && len(in.Changes) > 0:
		return end(rollout.Refused, fmt.Sprintf("rollout %s was released: %s uses the new form", s.Rollout, stable),
			"what a released change leaves is removed by gapless contract; to go back to an older revision, deploy it")
	case len(changes) == 0 && in.Survey != nil:
		gone := takenBack(in)
		return end(rollout.Done, fmt.Sprintf("%s: the schema is as it was; what the new form held is archived in the schema gapless",
			count(len(gone), "change is taken back", "changes are taken back")), "")
	case len(changes) == 0:
		return end(rollout.Done, "no schema change is left to take back, "+stable.String()+" is stable", "")
	case in.Survey == nil:
		return do(Look{changes})
	case in.Survey.Problem != "":
		return unreverted(in, in.Survey.Problem, in.Survey.Hint)
	}
	if p := consumers(in); !p.Met {
		return unreverted(in, p.Text+", which may use the new form", "stop them, then run "+again)
	}
	for _, c := range slices.Backward(changes) {
		if d, ok := revert(in, c); ok {
			return d
		}
	}
	return end(rollout.Done, "nothing of the rollout's changes is in the schema, "+stable.String()+" is stable", "")
}

// takenBack are the changes that the record knows to be taken back.
func takenBack(in Input) []string {
	var ids []string
	for id, p := range in.State.Changes {
		if p.State == rollout.Absent {
			ids = append(ids, id)
		}
	}
	return ids
}

// Revertible lists the changes of rollouts that went back and that the record
// does not know to be taken back, in the order of the config.
func Revertible(in Input) []change.Change {
	s := in.State
	if s == nil || in.Fresh {
		return nil
	}
	all := slices.Clone(in.Left)
	if s.WentBack {
		all = append(all, in.Changes...)
	}
	return slices.DeleteFunc(all, func(c change.Change) bool {
		p, known := s.Changes[c.ID]
		return known && p.State == rollout.Absent
	})
}

// revert takes the next step back of one change; none is left where it gives
// false.
func revert(in Input, c change.Change) (Decision, bool) {
	done, known := in.State.Changes[c.ID]
	facts := in.Facts[c.ID]
	switch st := in.changeState(c.ID); st {
	case rollout.Absent:
		if !known {
			return Decision{}, false
		}
	case rollout.Expanding, rollout.Expanded, rollout.Reverting:
	default:
		return unreverted(in, fmt.Sprintf("change %s is %s, only what expand made is taken back", c.ID, st), "gapless restore "+c.ID+" comes first"), true
	}
	if facts.Digest != "" && facts.Digest != c.Digest {
		return unreverted(in, fmt.Sprintf("change %s was begun in the database with another file than the record's", c.ID), "gapless status shows both"), true
	}
	if used := others(facts.Claims, in.Config.Service); len(used) > 0 {
		return unreverted(in, fmt.Sprintf("change %s: %s", c.ID, claimed(used)), "release those services without it first, then run "+again), true
	}
	steps := change.RevertSteps(c)
	for i, st := range steps {
		if _, ok := done.Steps[st.ID]; ok && done.State == rollout.Reverting {
			continue
		}
		after := rollout.Reverting
		if i == len(steps)-1 {
			after = rollout.Absent
		}
		return do(Migrate{Change: c, Step: st, Before: rollout.Reverting, State: after}), true
	}
	return Decision{}, false
}

// unreverted ends a way back whose traffic is back and whose schema is not.
func unreverted(in Input, why, hint string) Decision {
	return end(rollout.Stopped, in.Seen.Mark.Stable.String()+" serves; the schema is not taken back: "+why, hint)
}

// others are the claims of services other than this one.
func others(claims []change.Claim, service string) []change.Claim {
	return slices.DeleteFunc(slices.Clone(claims), func(c change.Claim) bool { return c.Service == service })
}

// claimed says who uses what, and since when.
func claimed(claims []change.Claim) string {
	said := make([]string, len(claims))
	for i, c := range claims {
		said[i] = fmt.Sprintf("service %s uses %s since %s", c.Service, change.Columned(c.Columns, c.Table), clock(c.Since))
	}
	return strings.Join(said, "; ")
}
