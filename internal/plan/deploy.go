package plan

import (
	"fmt"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// decideDeploy brings the candidate beside stable: started, smoke-tested and
// warmed up, at weight 0. A first release goes on to all of the traffic.
func decideDeploy(in Input) Decision {
	s := in.State
	if d, ok := afterWayBack(in); ok {
		return d
	}
	if d, ok := begin(in); ok {
		return d
	}
	if d, ok := claim(in); ok {
		return d
	}
	if in.rolling() {
		return decideRolling(in)
	}
	if in.firstRelease() && s.Stage == rollout.StageLive {
		return do(Settle{rollout.Settled{Stable: s.Opening.Candidate, Side: s.Opening.Side}})
	}
	if d, ok := verifyChanges(in); ok {
		return d
	}
	cand, side := in.candidate()
	st, there := in.Seen.Sides[side]
	if there && st.Revision != cand {
		if w := in.Seen.Split.Of(side); w > 0 {
			return end(rollout.NeedsPerson, fmt.Sprintf("side %s serves %s with revision %s, which no record knows", side, w, st.Revision),
				"gapless status shows both; gapless rollback gives all traffic to stable")
		}
		return do(Remove{Side: side, Revision: st.Revision})
	}
	if !there || s.Launched == nil || st.Ready < st.Desired {
		return do(Launch{Side: side, Spec: s.Opening.Spec})
	}
	if s.Checked == nil {
		return do(Check{Side: side})
	}
	if in.firstRelease() {
		return do(Shift{Side: side, From: 0, To: rollout.Full, Reason: "first release"})
	}
	return end(rollout.Done, fmt.Sprintf("candidate %s stands on side %s at 0%%, smoke-tested and warm", cand, side), "")
}

// afterWayBack ends a phase that has finished the way back of its own
// candidate. One that was asked for another revision goes on to that.
func afterWayBack(in Input) (Decision, bool) {
	s := in.State
	if s == nil || s.Stage != rollout.StageSettled || !in.WentBack || in.Fresh {
		return Decision{}, false
	}
	if in.Spec.Revision.ID == s.Opening.Candidate.ID {
		return wentBack(in), true
	}
	return do(Succeed{Reason: fmt.Sprintf("the way back of rollout %s is finished: %s", s.Rollout, s.BackReason)}), true
}

// begin opens a rollout where none is under way. A revision that is stable
// already needs none.
func begin(in Input) (Decision, bool) {
	if s := in.State; s != nil && s.Stage != rollout.StageSettled {
		return Decision{}, false
	}
	if d, ok := stableAlready(in); ok {
		return d, true
	}
	return do(Open{in.Opening}), true
}

func stableAlready(in Input) (Decision, bool) {
	if m := in.Seen.Mark; m != nil && !m.Stable.Zero() && m.Stable == in.Spec.Revision {
		return end(rollout.Done, "revision "+m.Stable.String()+" is stable already", ""), true
	}
	return Decision{}, false
}

// TakesAway reports whether a candidate for which step failed is taken away
// again, or left as a rolling update asks: what the step brought takes no
// traffic yet.
func TakesAway(step Step) bool {
	switch step.(type) {
	case Launch, Check, Replace:
		return true
	}
	return false
}
