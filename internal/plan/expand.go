package plan

import (
	"fmt"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// decideExpand runs each change's steps in their order, then verifies it.
// Steps that are done are not run again; the database holds them idempotent.
func decideExpand(in Input) Decision {
	if d, ok := afterWayBack(in); ok {
		return d
	}
	if len(in.Changes) == 0 {
		return end(rollout.Done, "no schema change is part of this release", "")
	}
	if d, ok := begin(in); ok {
		return d
	}
	for _, c := range in.Changes {
		done := in.State.Changes[c.ID]
		if done.State == rollout.Expanded {
			continue
		}
		steps := change.ExpandSteps(c)
		for i, st := range steps {
			if _, ok := done.Steps[st.ID]; ok {
				continue
			}
			after := rollout.Expanding
			if i == len(steps)-1 {
				after = rollout.Expanded
			}
			return do(Migrate{Change: c, Step: st, Before: rollout.Expanding, State: after})
		}
	}
	if d, ok := claim(in); ok { // which may name what is only there now
		return d
	}
	return end(rollout.Done, fmt.Sprintf("%s expanded: the schema serves old and new alike", count(len(in.Changes), "change is", "changes are")), "")
}

// claim says what the service uses, before anything comes that does.
func claim(in Input) (Decision, bool) {
	if in.Claimed || in.Config.Schema == nil || len(in.Config.Schema.Uses) == 0 {
		return Decision{}, false
	}
	var uses []change.Use
	for _, u := range in.Config.Schema.Uses {
		uses = append(uses, change.Use{Table: u.Table, Columns: u.Columns})
	}
	return do(Claim{uses}), true
}

// verifyChanges asks for one verification of each change in this run of the
// phase and holds where a row fails it.
func verifyChanges(in Input) (Decision, bool) {
	for _, c := range in.Changes {
		if in.changeState(c.ID) != rollout.Expanded {
			continue
		}
		e, ok := in.Verified[c.ID]
		if !ok {
			return do(Verify{Change: c, Scope: change.ScopeRelease}), true
		}
		if d, bad := disagreement(c, e); bad {
			return d, true
		}
	}
	return Decision{}, false
}

func disagreement(c change.Change, e change.Evidence) (Decision, bool) {
	if e.Passed() {
		return Decision{}, false
	}
	wrong := &change.UnverifiedError{Change: c.ID, Evidence: e}
	return end(rollout.Stopped, "change "+c.ID+": verify: "+wrong.Error(), wrong.Hint()), true
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
