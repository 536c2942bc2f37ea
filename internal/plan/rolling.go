package plan

import (
	"fmt"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// decideRolling replaces the instances batch by batch. Each batch must pass
// the judge before the next one, the last one too.
func decideRolling(in Input) Decision {
	s, of := in.State, in.State.Opening.Spec.Instances
	if p, ok := s.Pending.(*rollout.Replacing); ok {
		return do(Replace{Spec: s.Opening.Spec, Replacing: *p})
	}
	replaced := 0
	if s.Replaced != nil {
		replaced = s.Replaced.To
	}
	switch {
	case replaced > 0 && in.firstRelease():
		return do(Settle{rollout.Settled{Stable: s.Opening.Candidate, Side: s.Opening.Side}})
	case replaced > 0 && !passed(*s, s.Weight):
		return judge(in)
	case replaced == of:
		return end(rollout.Done, fmt.Sprintf("all %s run candidate %s", count(of, "instance", "instances"), s.Opening.Candidate), "")
	}
	if d, ok := verifyChanges(in); ok {
		return d
	}
	next := in.Config.Strategy.Rolling.Next(replaced, of)
	if in.firstRelease() {
		next = of // nothing serves that could go on serving meanwhile
	}
	return do(Replace{Spec: s.Opening.Spec, Replacing: rollout.Replacing{From: replaced, To: next, Of: of}})
}

// fault acts on what the candidate got wrong: it is taken back, unless it is a
// rolling update that is to stop where it is. judged is the verdict that led to
// it, nil where there was none.
func fault(in Input, reason string, judged *rollout.Judged) Decision {
	if !in.rolling() || in.firstRelease() || in.Config.Strategy.Rolling.OnFailure == config.FailureRollback {
		return back(in, rollout.GoingBack{Reason: reason, From: in.weight(), Decided: in.Now()}, judged)
	}
	if judged != nil && !failed(*in.State) {
		return do(Rule{*judged})
	}
	return left(in, reason)
}

// left ends a rolling update that stays where a fault stopped it. A batch that
// never served harms nobody; one that serves and fails needs a person.
func left(in Input, reason string) Decision {
	s, replaced := in.State, 0
	if s.Replaced != nil {
		replaced = s.Replaced.To
	}
	reason = fmt.Sprintf("%d of %s run candidate %s and are left so, as on_failure asks: %s",
		replaced, count(s.Opening.Spec.Instances, "instance", "instances"), s.Opening.Candidate, reason)
	if in.Failed != "" {
		return end(rollout.Stopped, reason,
			"run gapless deploy again once what kept the batch back is mended, or bring stable back with gapless rollback")
	}
	return end(rollout.NeedsPerson, reason, "bring stable back with gapless rollback; nothing else goes on from here")
}
