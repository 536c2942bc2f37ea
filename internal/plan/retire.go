package plan

import (
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// decideRetire stops the old revision after one last look at the new one. What
// is left of the schema change becomes a recorded debt.
func decideRetire(in Input) Decision {
	s := in.State
	if s.Stage == rollout.StageSettled {
		if s.WentBack {
			return wentBack(in)
		}
		return end(rollout.Done, "revision "+s.Opening.Candidate.String()+" is stable", "")
	}
	_, there := in.Seen.Sides[s.Opening.Side.Other()]
	if there || in.rolling() {
		if d, ok := unhealthy(in); ok {
			return d
		}
		if in.Judgement == nil {
			return do(Watch{Until: in.Now()})
		}
		if in.Judgement.Verdict == verdict.Fail {
			judged := ruling(in)
			return fault(in, in.Judgement.Reason, &judged)
		}
	}
	return settleOn(in)
}

// settleOn makes the candidate the stable revision, once nothing of the old
// one is left.
func settleOn(in Input) Decision {
	s := in.State
	old := s.Opening.Side.Other()
	if _, there := in.Seen.Sides[old]; there {
		return do(Remove{Side: old, Revision: s.Opening.Stable})
	}
	var owed []string
	for _, c := range append(in.Owed, in.Changes...) {
		if c.Contracts() {
			owed = append(owed, c.ID)
		}
	}
	return do(Settle{rollout.Settled{Stable: s.Opening.Candidate, Side: s.Opening.Side, Owed: owed}})
}
