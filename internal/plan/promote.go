package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// decidePromote raises the weight step by step up to the goal. Each weight
// must pass the judge before the next one.
func decidePromote(in Input) Decision {
	s := in.State
	if s.Stage == rollout.StageSettled {
		return wentBack(in)
	}
	side := s.Opening.Side
	if p, ok := s.Pending.(*rollout.Shifting); ok {
		return do(Shift{Side: side, From: p.From, To: p.To, Reason: p.Reason})
	}
	w := in.weight()
	if w > 0 && !passed(*s, w) {
		return judge(in)
	}
	goal := Goal(in)
	if w >= goal {
		return end(rollout.Done, fmt.Sprintf("candidate %s takes %s of the traffic", s.Opening.Candidate, w), "")
	}
	if d, ok := verifyChanges(in); ok {
		return d
	}
	next := nextStep(in.steps(), w)
	if d, small := tooSmall(in, next); small {
		return d
	}
	return do(Shift{Side: side, From: w, To: next})
}

// tooSmall waits, for as long as a step may take, until the candidate has
// instances enough for weight w.
func tooSmall(in Input, w rollout.Weight) (Decision, bool) {
	cand, side := in.candidate()
	st, need := in.Seen.Sides[side], needed(in, w)
	ready := st.Ready
	if st.Ready >= st.Desired { // a shift brings those that it was scaled down by
		ready = max(ready, st.Whole)
	}
	if ready >= need {
		return Decision{}, false
	}
	if until := in.State.Since.Add(in.Config.Strategy.Watching().BakeLimit); in.Now().Before(until) && in.weight() > 0 {
		return do(Watch{Until: until}), true
	}
	return end(rollout.Stopped, fmt.Sprintf("%d instances of candidate %s are ready, %s of the traffic needs %d%s",
		ready, cand, w, need, firstProblem(in.Seen.Sides[side].Instances)),
		"see why with gapless status, then promote again"), true
}

// needed is how many instances must be ready to take a weight: as large a part
// of those configured, whatever the platform has made of their number since.
func needed(in Input, w rollout.Weight) int {
	of := in.State.Opening.Spec.Instances
	return max(1, (of*int(w)+int(rollout.Full)-1)/int(rollout.Full))
}

// Goal is the weight that promote is to reach: what was asked for, or what an
// unfinished promote was begun with, or the next step.
func Goal(in Input) rollout.Weight {
	s := in.State
	switch {
	case in.Request.To != 0:
		return in.Request.To
	case s.Begun != nil && s.BegunPhase == rollout.Promote && s.Begun.To != 0:
		return s.Begun.To
	case s.Weight > 0 && !passed(*s, s.Weight):
		return s.Weight
	}
	return nextStep(in.steps(), s.Weight)
}

// judge acts on the verdict at the weight in force, or asks for a look.
func judge(in Input) Decision {
	s, w := in.State, in.weight()
	if d, ok := unhealthy(in); ok {
		return d
	}
	if failed(*s) { // a rolling update that was left so
		return left(in, s.Judged.Reason)
	}
	if in.Judgement == nil {
		return do(Watch{Until: watchUntil(in)})
	}
	judged := ruling(in)
	switch in.Judgement.Verdict {
	case verdict.Fail:
		return fault(in, in.Judgement.Reason, &judged)
	case verdict.Pass:
		return whole(in, judged)
	case verdict.Inconclusive:
	}
	if in.Now().Before(s.Since.Add(in.Config.Strategy.Watching().BakeLimit)) {
		return do(Watch{Until: watchUntil(in)})
	}
	if s.Judged == nil {
		return do(Rule{judged})
	}
	hint := fmt.Sprintf("let it run and %s again, accept it by name with --accept, or gapless rollback", s.Opening.Strategy.Goes())
	if in.Judgement.Control == verdict.Absent && w == rollout.Full { // more time shows nothing of stable
		hint = fmt.Sprintf("accept it by name with gapless %s --accept, or gapless rollback", s.Opening.Strategy.Goes())
	}
	return end(rollout.Waiting, fmt.Sprintf("the verdict at %s is inconclusive: %s", w, in.Judgement.Reason), hint)
}

// whole writes a pass down once every instance that the candidate should have
// is ready; it is a fault where that does not come about.
func whole(in Input, judged rollout.Judged) Decision {
	cand, side := in.candidate()
	st := in.Seen.Sides[side]
	if st.Ready >= st.Desired {
		return do(Rule{judged})
	}
	if in.Now().Before(in.State.Since.Add(in.Config.Strategy.Watching().BakeLimit)) {
		return do(Watch{Until: watchUntil(in)})
	}
	return fault(in, fmt.Sprintf("%d of %d instances of candidate %s are ready%s", st.Ready, st.Desired, cand, firstProblem(st.Instances)), nil)
}

// crashes is how often a candidate's instances may end by themselves while it
// is on trial: once may be the machine's doing.
const crashes = 1

// unhealthy is a fault at once: no candidate instance is left to serve, or
// they end again and again before the weight has its verdict.
func unhealthy(in Input) (Decision, bool) {
	cand, side := in.candidate()
	st := in.Seen.Sides[side]
	restarts, last := 0, ""
	for _, i := range st.Instances {
		restarts += i.Restarts
		if i.Ended != "" {
			last = ": " + i.Ended
		}
	}
	switch {
	case st.Ready == 0:
		return fault(in, fmt.Sprintf("0 of %d instances of candidate %s are ready%s", st.Desired, cand, firstProblem(st.Instances)), nil), true
	case restarts > crashes && !passed(*in.State, in.State.Weight):
		return fault(in, fmt.Sprintf("instances of candidate %s ended by themselves %d times%s", cand, restarts, last), nil), true
	}
	return Decision{}, false
}

// firstProblem says why an instance is not ready, where one tells.
func firstProblem(instances []rollout.Instance) string {
	for _, i := range instances {
		if i.Problem != "" {
			return ": " + i.Problem
		}
	}
	return ""
}

// watchUntil is when the next decision is due at the latest.
func watchUntil(in Input) time.Time {
	watching := in.Config.Strategy.Watching()
	baked := in.State.Since.Add(watching.Bake)
	if in.Now().Before(baked) {
		return baked
	}
	return in.State.Since.Add(watching.BakeLimit)
}

func ruling(in Input) rollout.Judged {
	j := in.Judgement
	raw, err := json.Marshal(j)
	if err != nil { // numbers that JSON has no form for
		raw = []byte("{}")
	}
	return rollout.Judged{
		Weight: in.weight(), Since: in.State.Since, Verdict: string(j.Verdict), Reason: j.Reason, Judgement: raw,
	}
}

// passed reports whether weight w has its verdict.
func passed(s rollout.State, w rollout.Weight) bool {
	if s.Weight != w {
		return false
	}
	return s.Accepted || s.Judged != nil && s.Judged.Weight == w && s.Judged.Verdict == string(verdict.Pass)
}

// failed reports whether the verdict at the weight in force is a fail.
func failed(s rollout.State) bool {
	return s.Judged != nil && s.Judged.Weight == s.Weight && s.Judged.Verdict == string(verdict.Fail)
}

func (in Input) steps() []rollout.Weight {
	return in.Config.Strategy.Weights(in.State.Opening.Spec.Instances)
}

func nextStep(steps []rollout.Weight, w rollout.Weight) rollout.Weight {
	for _, s := range steps {
		if s > w {
			return s
		}
	}
	return rollout.Full
}

func contains(steps []rollout.Weight, w rollout.Weight) bool { return slices.Contains(steps, w) }

func join(steps []rollout.Weight) string {
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = s.String()
	}
	return strings.Join(names, ", ")
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
