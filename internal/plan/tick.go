package plan

import (
	"fmt"

	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// decideTick looks once. It takes back what went bad between two approvals and
// names the phase that is due; it never raises a weight.
func decideTick(in Input) Decision {
	s := in.State
	if s == nil || s.Stage == rollout.StageSettled {
		if in.WentBack {
			return wentBack(in)
		}
		return end(rollout.Done, "no rollout is under way", "due: "+NextOf(in).Asked)
	}
	w := in.weight()
	if w > 0 {
		if d, ok := unhealthy(in); ok {
			return d
		}
		if failed(*s) { // a rolling update that was left so
			return left(in, s.Judged.Reason)
		}
		if in.Judgement == nil {
			return do(Watch{Until: in.Now()})
		}
		judged := ruling(in)
		if in.Judgement.Verdict == verdict.Fail {
			return fault(in, in.Judgement.Reason, &judged)
		}
		if in.Judgement.Verdict == verdict.Pass && !passed(*s, w) && !failed(*s) {
			return do(Rule{judged})
		}
	}
	if s.Stage != rollout.StageLive && in.Now().Sub(s.Worked) > in.Config.AbandonAfter {
		reason := fmt.Sprintf("abandoned: nothing happened since %s", clock(s.Worked))
		return back(in, rollout.GoingBack{Reason: reason, From: w, Decided: in.Now()}, nil)
	}
	next := NextOf(in)
	return end(rollout.Done, fmt.Sprintf("candidate %s at %s, nothing wrong seen", s.Opening.Candidate, w), "due: "+next.Asked)
}
