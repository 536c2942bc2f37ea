package plan

import (
	"fmt"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// doneBefore ends a phase that is run again after the rollout has gone on: all
// jobs of a workflow may be run again, and each finds its work done.
func doneBefore(in Input) (Decision, bool) {
	s := in.State
	if in.Fresh {
		return stableAlready(in)
	}
	if s == nil || in.superseding() || Drift(s, in.Seen) != "" {
		return Decision{}, false
	}
	cand := s.Opening.Candidate
	same := in.Spec.Revision.ID == cand.ID && (in.Meant || in.Unchanged)
	settled := s.Stage == rollout.StageSettled && !s.WentBack
	switch p := in.Request.Phase; {
	case p == rollout.Expand && same && !settled && s.Stage != rollout.StageOpen:
		return end(rollout.Done, "the schema was made ready before candidate "+cand.String()+" was started", ""), true
	case p == rollout.Deploy && same && !in.rolling() && !in.firstRelease() && (s.Stage == rollout.StageExposed || s.Stage == rollout.StageLive):
		return end(rollout.Done, fmt.Sprintf("candidate %s stands on side %s and takes %s of the traffic", cand, s.Opening.Side, s.Weight), ""), true
	case p == rollout.Promote && in.Meant && settled:
		return end(rollout.Done, "revision "+cand.String()+" is stable", ""), true
	}
	return Decision{}, false
}
