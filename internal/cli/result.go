package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/report"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// result writes how a phase ended: the rollout's page, and for an end that is
// not done the fault with what is served and what to do.
func (env *environment) result(res phase.Result) error {
	var page *report.Page
	switch {
	case res.State != nil:
		v := viewOf(res)
		v.RunURL = env.runURL()
		p := report.Rollout(v)
		page = &p
	case res.Unrecorded != nil && seen(res) != nil: // what is in force is known all the same
		p := report.Status(report.StatusView{
			View: report.View{Seen: seen(res), Now: res.Seen.At, RunURL: env.runURL()}, Lost: res.Unrecorded.Error(),
		})
		page = &p
	}
	var err error
	switch {
	case env.commands.Format == "json":
		err = env.json(resultOf(res))
	case page != nil:
		err = env.page(*page, nil)
	}
	if res.Outcome != rollout.Done {
		env.out.say(report.Fault(report.FaultView{
			Phase: res.Phase, What: res.Reason, Seen: seen(res), Schema: schemaOf(res), Hint: res.Hint,
		}))
	}
	if err = errors.Join(err, env.handOn(resultOf(res), page)); err != nil {
		return &untoldError{res, err}
	}
	return nil
}

// handOn tells the workflow, where the command is a step of one.
func (env *environment) handOn(r result, p *report.Page) error {
	if env.job == nil {
		return nil
	}
	return env.job.finish(r, p)
}

// seen is nil where the platform was not looked at.
func seen(res phase.Result) *rollout.Observation {
	if res.Seen.At.IsZero() {
		return nil
	}
	return &res.Seen
}

// schemaOf says what became of the schema, where a phase was about it.
func schemaOf(res phase.Result) string {
	if !slices.Contains([]rollout.Phase{rollout.Expand, rollout.Contract, rollout.Restore, rollout.Rollback}, res.Phase) {
		return ""
	}
	if res.Phase == rollout.Rollback && (res.State == nil || len(res.State.Changes) == 0) {
		return ""
	}
	if res.State == nil || len(res.State.Changes) == 0 {
		return "schema unchanged"
	}
	for _, id := range slices.Sorted(maps.Keys(res.State.Changes)) {
		switch st := res.State.Changes[id].State; st {
		case rollout.Expanded:
			return fmt.Sprintf("change %s is %s, the schema serves old and new alike", id, st)
		case rollout.Expanding, rollout.Reverting:
			return fmt.Sprintf("change %s is %s, the schema serves the old form", id, st)
		case rollout.Hidden, rollout.Restoring, rollout.Contracting, rollout.Contracted:
			return fmt.Sprintf("change %s is %s, the schema serves the new form", id, st)
		case rollout.Absent:
		}
	}
	return "schema unchanged"
}

// runURL is the page of the workflow's run; empty outside of one.
func (env *environment) runURL() string {
	if env.job == nil {
		return ""
	}
	return env.job.RunURL()
}

func viewOf(res phase.Result) report.View {
	return report.View{
		Record: res.Record, State: *res.State, Seen: seen(res), Now: res.Seen.At, Next: nextOf(res.Next, res.GateDigest),
	}
}

func nextOf(n plan.Next, gateDigest string) *report.Next {
	if !n.Due() {
		return nil
	}
	return &report.Next{Phase: n.Phase, Command: n.Command(), Asked: n.Asked, Gate: n.Gate, GateDigest: gateDigest}
}

// resultVersion is the form of the JSON result.
const resultVersion = 1

// result is the machine's form of how a phase ended.
type result struct {
	Version int             `json:"version"`
	Service string          `json:"service,omitempty"`
	Rollout string          `json:"rollout,omitempty"`
	Phase   rollout.Phase   `json:"phase"`
	Outcome rollout.Outcome `json:"outcome"`
	Reason  string          `json:"reason,omitempty"`
	Hint    string          `json:"hint,omitempty"`
	State   rollout.Stage   `json:"state,omitempty"`
	Serving []rollout.Share `json:"serving"`
	Weight  rollout.Weight  `json:"weight"`
	Verdict string          `json:"verdict,omitempty"`
	WayBack rollout.WayBack `json:"way_back,omitempty"`
	// Next is what is typed for the phase that is due, NextPhase and NextTo its
	// parts; WaitingFor is empty where it may run at once.
	Next       string         `json:"next,omitempty"`
	NextPhase  rollout.Phase  `json:"next_phase,omitempty"`
	NextTo     rollout.Weight `json:"next_to,omitempty"`
	WaitingFor string         `json:"waiting_for,omitempty"`
	Head       rollout.Head   `json:"head"`
	PlanDigest string         `json:"plan_digest,omitempty"`
	GateDigest string         `json:"gate_digest,omitempty"`
	Warnings   []string       `json:"warnings,omitempty"`
}

func resultOf(res phase.Result) result {
	r := result{
		Version: resultVersion, Phase: res.Phase, Outcome: res.Outcome, Reason: res.Reason, Hint: res.Hint,
		Serving: res.Seen.Serving(), Next: res.Next.Command(), NextPhase: res.Next.Phase, NextTo: res.Next.To, WaitingFor: res.Next.Waits, GateDigest: res.GateDigest, Warnings: res.Warnings,
	}
	if s := res.State; s != nil {
		r.Service, r.Rollout, r.State, r.Weight, r.Head = s.Service, s.Rollout, s.Stage, s.Weight, s.Head
		r.WayBack, _ = s.WayBack()
		r.PlanDigest = s.Opening.PlanDigest
		if s.Judged != nil {
			r.Verdict = s.Judged.Verdict
		}
	}
	return r
}

// json writes a value on one line, masked as everything is.
func (env *environment) json(value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return env.out.print(string(data) + "\n")
}

// page writes a page in the form asked for; value is its JSON form.
func (env *environment) page(p report.Page, value any) error {
	switch env.commands.Format {
	case "json":
		return env.json(value)
	case "markdown":
		return env.out.print(p.Markdown())
	}
	return env.out.print(p.Terminal(env.out.width(), env.out.color()))
}

func (env *environment) standing(st phase.Status) error {
	v := statusView(st)
	v.RunURL = env.runURL()
	page := report.Status(v)
	return errors.Join(env.page(page, resultOf(st.Result)), env.handOn(resultOf(st.Result), &page))
}

func statusView(st phase.Status) report.StatusView {
	v := report.StatusView{Drift: st.Drift, View: report.View{Record: st.Record, Seen: seen(st.Result), Now: st.Seen.At}}
	if st.State != nil {
		v.View = viewOf(st.Result)
	}
	if st.Cause != nil {
		v.Lost = st.Cause.Error()
	}
	v.Has = st.Has
	if st.Unseen != nil {
		v.Unseen = st.Unseen.Error()
	}
	return v
}

// can writes the preconditions: what is met as it is needed, what is not as it
// was observed.
func (env *environment) can(p rollout.Phase, able phase.Ability) error {
	pres := able.Preconditions
	r := result{Version: resultVersion, Service: env.service, Phase: p, Outcome: rollout.Done, GateDigest: able.GateDigest}
	needs := make([]report.Precondition, len(pres))
	for i, pre := range pres {
		needs[i] = report.Precondition{Text: pre.Text, Met: pre.Met, How: pre.How}
		if pre.Met {
			needs[i].Text = pre.Need
		} else if r.Outcome == rollout.Done {
			r.Outcome, r.Reason, r.Hint, r.WaitingFor = pre.Else, pre.Text, pre.How, pre.Text
		}
	}
	page := report.Can(env.service, p, needs, able.GateDigest)
	return errors.Join(env.page(page, needs), env.handOn(r, &page))
}
