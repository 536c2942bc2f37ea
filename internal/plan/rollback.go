package plan

import (
	"fmt"
	"strings"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// decideRollback goes by what is stamped on the platform alone: the record is
// completed where there is one, and never asked for leave.
func decideRollback(in Input) Decision {
	m := in.Seen.Mark
	if m == nil {
		return end(rollout.Refused, "the platform carries no mark of gapless: nothing is known to go back to",
			"a first gapless deploy stamps it")
	}
	if d, ok := unfinishedBack(in); ok {
		return d
	}
	if m.Candidate.Zero() && in.Request.Schema == rollout.RevertSchema {
		return decideRevert(in)
	}
	if m.Candidate.Zero() {
		hint := "to go back to an older revision, deploy it"
		if len(Revertible(in)) > 0 {
			hint = "the schema serves old and new alike, for a mended revision; gapless rollback --schema revert takes its change back, too"
		}
		return end(rollout.Done, "no candidate stands, "+m.Stable.String()+" is stable", hint)
	}
	reason := in.Request.Reason
	if reason == "" {
		reason = "asked for"
	}
	return back(in, rollout.GoingBack{Reason: reason, From: in.Seen.Split.Of(m.CandidateSide), Decided: in.Now()}, nil)
}

// MovesBack reports whether a step is on the way to give traffic back to
// stable.
func MovesBack(s Step) bool {
	switch s.(type) {
	case GoBack, Refill:
		return true
	}
	return false
}

// unfinishedBack goes on with a way back that was begun, by whichever phase.
func unfinishedBack(in Input) (Decision, bool) {
	m := in.Seen.Mark
	if m == nil {
		return Decision{}, false
	}
	if m.Back != nil {
		return back(in, *m.Back, nil), true
	}
	open := in.State != nil && in.State.Stage != rollout.StageSettled
	if open && m.Candidate.Zero() && m.Rollout == in.State.Rollout {
		return do(Acknowledge{rollout.RolledBack{
			From: in.State.Weight, Reason: "done without the record", Decided: in.Now(),
			InForce: in.Seen.SplitSince, Epoch: m.Epoch, Found: true,
		}}), true
	}
	return Decision{}, false
}

// back takes the next step on the way to stable: traffic first, then what is
// left of the candidate.
func back(in Input, b rollout.GoingBack, judged *rollout.Judged) Decision {
	m := in.Seen.Mark
	served := in.Seen.Split.Of(m.CandidateSide)
	if m.Stable.Zero() && served > 0 {
		return end(rollout.NeedsPerson, "revision "+m.Candidate.String()+" is the first release, there is nothing to go back to",
			"settle on it by running its gapless deploy again, then release a mended revision")
	}
	if d, weak := weakened(in); weak && served > 0 && m.Strategy != rollout.Rolling {
		return d
	}
	recorded := in.State == nil || in.State.Stage == rollout.StageSettled || in.State.Rollout != m.Rollout
	if m.Back == nil || served > 0 || !recorded {
		return do(GoBack{Back: b, Judged: judged})
	}
	return do(Remove{Side: m.CandidateSide, Revision: m.Candidate, Back: true})
}

// weakened holds where stable is not whole: it is brought back to its full
// strength first, for a while. What is there then takes the traffic; where
// nothing is, a person is needed.
func weakened(in Input) (Decision, bool) {
	m := in.Seen.Mark
	stable := in.Seen.Sides[m.StableSide]
	there := stable.Revision == m.Stable && !stable.Draining
	if there && stable.Ready > 0 && stable.Ready >= stable.Desired {
		return Decision{}, false
	}
	if !in.Refilled {
		return do(Refill{Side: m.StableSide, Stable: m.Stable}), true
	}
	if there && stable.Ready > 0 {
		return Decision{}, false
	}
	return end(rollout.NeedsPerson,
		fmt.Sprintf("stable %s has %d instances ready on side %s: it cannot take the traffic back%s",
			m.Stable, stable.Ready, m.StableSide, firstProblem(stable.Instances)),
		"mend what keeps it from starting, then run gapless rollback again"), true
}

// wentBack ends a phase whose rollout is back at stable.
func wentBack(in Input) Decision {
	s := in.State
	hint := "mend it and release it as a new revision"
	if len(in.Changes) > 0 {
		hint += "; the schema serves both forms meanwhile"
	}
	// What failed names its candidate itself.
	reason := strings.TrimPrefix(s.BackReason, fmt.Sprintf("candidate %s: ", s.Opening.Candidate))
	return end(rollout.Stopped, fmt.Sprintf("candidate %s was taken back: %s", s.Opening.Candidate, reason), hint)
}
