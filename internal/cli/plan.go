package cli

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/forge/runner"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/report"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

type planCmd struct {
	revisionFlag
	supersedeFlag
	meantFlags
	rehearseFlags
}

// Run shows what a release would do.
func (c *planCmd) Run(ctx context.Context, env *environment) error {
	if env.job != nil && env.job.ofFork() {
		if c.wanted() {
			return &inputError{
				errors.New("nothing is rehearsed for a pull request from another repository: it is given no access to a database"),
				"plan without --rehearse goes by the files alone",
			}
		}
		return env.planUnseen(c.Revision)
	}
	r, err := env.compose()
	if err != nil {
		return err
	}
	r.work.Revision, r.work.Request.Supersede = c.Revision, c.Supersede
	if r.work, err = c.work(r.work); err != nil {
		return err
	}
	p, err := r.runner.Preview(ctx, r.work)
	if err != nil {
		return &blindError{rollout.Plan, err}
	}
	rehearsals, err := c.rehearse(ctx, env, r, &p)
	if err != nil {
		return err
	}
	for _, pre := range p.Unmet {
		if env.status == exitDone {
			env.status = statusOf(pre.Else)
		}
	}
	v := planView(r.cfg, p)
	showRehearsals(&v, rehearsals)
	if env.job != nil {
		env.job.annotatePlan(env.commands.Config, v, p)
		if !env.job.ofPullRequest() { // there nothing waits in this run
			v.RunURL = env.job.RunURL()
		}
		if err := env.showPlan(ctx, &v); err != nil {
			return err
		}
	}
	return env.preview(v, planned(r.cfg, p))
}

// annotatePlan shows what is to be looked at beside the files that it is about.
func (j *job) annotatePlan(config string, v report.PlanView, p phase.Preview) {
	for _, lint := range v.Lints {
		j.annotate(runner.Annotation{Level: runner.Warning, Title: "gapless plan", Message: lint, File: config, Line: 1})
	}
	files := map[string]string{} // by the id of the change
	for _, f := range p.Opening.Changes {
		files[strings.TrimSuffix(path.Base(f.Name), path.Ext(f.Name))] = filepath.Join(filepath.Dir(config), filepath.FromSlash(f.Name))
	}
	for _, c := range p.Changes {
		for _, warning := range c.Facts.Warnings {
			j.annotate(runner.Annotation{Level: runner.Warning, Title: "gapless plan", Message: warning, File: files[c.Change.ID], Line: 1})
		}
		for _, refusal := range c.Facts.Refusals {
			j.annotate(runner.Annotation{Level: runner.Error, Title: "gapless plan", Message: refusal, File: files[c.Change.ID], Line: 1})
		}
	}
}

// showPlan keeps the plan in a comment of its own, on the pull request that the
// run is about or that brought the commit. After the merge it says whether the
// plan is still the one that was shown before.
func (env *environment) showPlan(ctx context.Context, v *report.PlanView) error {
	to, err := env.job.sticky(env.job.SHA)
	if err != nil || to == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lastWord) // the plan does not wait for its comment
	defer cancel()
	warn := func(text string) { env.out.say("warning: " + text + "\n") }
	if to.number == 0 {
		marker, _, _ := strings.Cut(report.Plan(*v).Markdown(), "\n")
		before, err := to.Shown(ctx, marker)
		if err != nil {
			warn("what was planned on the pull request is not known: " + err.Error())
		}
		v.Shown = report.IntentOf(before)
	}
	shown := newPage(ctx, to, warn)
	shown.set(env.out.mask.apply(report.Plan(*v).Markdown()))
	shown.close(ctx)
	return nil
}

// ofFork reports whether the job runs for a pull request from another
// repository: nothing of ours may be shown to what runs there.
func (j *job) ofFork() bool {
	return j.event.PullRequest != nil && j.event.Comment == nil && j.event.PullRequest.Fork()
}

// planUnseen shows what can be said of a release by its files alone.
func (env *environment) planUnseen(revision string) error {
	cfg, err := config.Load(env.commands.Config)
	if err != nil {
		return err
	}
	files, err := cfg.ReadChanges()
	if err != nil {
		return err
	}
	id, err := rollout.ParseRevisionID(revision)
	if err != nil {
		return &inputError{fmt.Errorf("revision: %w", err), "name what would be released"}
	}
	spec, err := cfg.Spec(id)
	if err != nil {
		return err
	}
	p := phase.Preview{
		Opening: rollout.Opened{
			Candidate: spec.Revision, Strategy: cfg.Strategy.Kind(), Target: cfg.Target.String(), Spec: spec,
			Intent: config.Intent(cfg.Source().Data, files, cfg.Target.String()),
		},
		Next:     plan.Next{Phase: rollout.Deploy, Asked: "begin the rollout"},
		Warnings: []string{"this is a pull request from another repository: it is given no access to ours"},
	}
	var faults error
	for _, f := range files {
		c, err := change.Parse(f.Name, f.Data)
		faults = errors.Join(faults, err)
		p.Changes = append(p.Changes, phase.ChangePreview{Change: c})
		p.Next.Phase = rollout.Expand
	}
	if faults != nil {
		return faults
	}
	v := planView(cfg, p)
	v.Unseen = true
	return env.preview(v, planned(cfg, p))
}

func (env *environment) preview(v report.PlanView, r result) error {
	page := report.Plan(v)
	return errors.Join(env.page(page, v), env.handOn(r, &page))
}

func planView(cfg *config.Config, p phase.Preview) report.PlanView {
	o := p.Opening
	v := report.PlanView{
		Service: cfg.Service, Candidate: o.Candidate, Stable: o.Stable, Strategy: o.Strategy, Target: o.Target, Side: o.Side,
		Instances: o.Spec.Instances, Serving: p.Seen.Serving(), Warnings: p.Warnings, Lints: plan.Lints(cfg),
		PerMinute: p.Traffic.PerMinute, Errors: p.Traffic.Errors, Slow: p.Traffic.Slow,
		Intent: o.Intent, PlanDigest: p.PlanDigest,
		Next: &report.Next{
			Phase: p.Next.Phase, Command: string(p.Next.Phase) + " --revision " + o.Candidate.ID, Asked: p.Next.Asked,
			Gate: p.Next.Gate, GateDigest: p.GateDigest,
		},
	}
	if !o.Stable.Zero() {
		v.Weights = cfg.Strategy.Weights(o.Spec.Instances)
	}
	for _, s := range p.Steps {
		v.Steps = append(v.Steps, report.PlanStep{
			Weight: s.Weight, Bake: cfg.Strategy.Watching().Bake, Requests: s.PassRequests, Pass: s.Pass, Effect: s.Effect, Detect: s.Detect,
		})
	}
	for _, c := range p.Changes {
		v.Changes = append(v.Changes, planChange(c))
	}
	for _, pre := range p.Unmet {
		v.Needs = append(v.Needs, report.Precondition{Text: pre.Text, Met: pre.Met, How: pre.How})
	}
	return v
}

// planned is the result of a plan.
func planned(cfg *config.Config, p phase.Preview) result {
	r := result{
		Version: resultVersion, Service: cfg.Service, Rollout: p.Rollout, Phase: rollout.Plan, Outcome: rollout.Done,
		Serving: p.Seen.Serving(), Next: p.Next.Command(), NextPhase: p.Next.Phase, WaitingFor: p.Next.Waits,
		PlanDigest: p.PlanDigest, GateDigest: p.GateDigest, Warnings: p.Warnings,
	}
	if len(p.Unmet) > 0 {
		first := p.Unmet[0]
		r.Outcome, r.Reason, r.Hint, r.WaitingFor = first.Else, first.Text, first.How, first.Text
	}
	if m := p.Seen.Mark; m != nil {
		r.Head = m.Head
	}
	return r
}

func planChange(c phase.ChangePreview) report.PlanChange {
	f := c.Facts
	p := report.PlanChange{
		ID: c.Change.ID, Name: c.Change.Name, Table: c.Change.Table, State: f.State, Rows: f.Rows, Bytes: f.Bytes,
		Backfill: f.Backfill, Warnings: f.Warnings,
	}
	for _, s := range change.ExpandSteps(c.Change) {
		p.Steps = append(p.Steps, report.PlanLock{Step: s.ID, Lock: s.Lock()})
	}
	for _, column := range c.Change.Dropped() {
		p.Drops = append(p.Drops, "column "+column)
	}
	for _, d := range f.Dependents {
		switch d.Fate {
		case change.Dropped:
			p.Drops = append(p.Drops, d.Kind+" "+d.Name)
		case change.Blocks:
			p.Blocks = append(p.Blocks, d.Kind+" "+d.Name)
		case change.Stays:
		}
	}
	return p
}
