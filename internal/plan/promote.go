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
	return do(Shift{Side: side, From: w, To: nextStep(in.steps(), w)})
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
	s, w, canary := in.State, in.weight(), in.Config.Strategy.Canary
	if d, ok := unhealthy(in); ok {
		return d
	}
	if in.Judgement == nil {
		return do(Watch{Until: watchUntil(in)})
	}
	judged := ruling(in)
	switch in.Judgement.Verdict {
	case verdict.Fail:
		return back(in, rollout.GoingBack{Reason: in.Judgement.Reason, From: w, Decided: in.Now()}, &judged)
	case verdict.Pass:
		return do(Rule{judged})
	case verdict.Inconclusive:
	}
	if in.Now().Before(s.Since.Add(canary.BakeLimit)) {
		return do(Watch{Until: watchUntil(in)})
	}
	if s.Judged == nil {
		return do(Rule{judged})
	}
	return end(rollout.Waiting, fmt.Sprintf("the verdict at %s is inconclusive: %s", w, in.Judgement.Reason),
		"let it run and promote again, accept it by name with --accept, or gapless rollback")
}

// unhealthy goes back at once when no candidate instance is left to serve.
func unhealthy(in Input) (Decision, bool) {
	cand, side := in.candidate()
	st := in.Seen.Sides[side]
	if st.Ready > 0 {
		return Decision{}, false
	}
	reason := fmt.Sprintf("0 of %d instances of candidate %s are ready%s", st.Desired, cand, firstProblem(st.Instances))
	return back(in, rollout.GoingBack{Reason: reason, From: in.weight(), Decided: in.Now()}, nil), true
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
	canary := in.Config.Strategy.Canary
	baked := in.State.Since.Add(canary.Bake)
	if in.Now().Before(baked) {
		return baked
	}
	return in.State.Since.Add(canary.BakeLimit)
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

func (in Input) steps() []rollout.Weight {
	if c := in.Config.Strategy.Canary; c != nil {
		return c.Steps
	}
	return []rollout.Weight{rollout.Full}
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
