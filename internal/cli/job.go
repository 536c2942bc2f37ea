package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gapless-deploy/gapless/internal/document"
	"github.com/gapless-deploy/gapless/internal/forge/oidc"
	"github.com/gapless-deploy/gapless/internal/forge/runner"
	"github.com/gapless-deploy/gapless/internal/report"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// job is the workflow job that a command runs in as a step.
type job struct {
	runner.Env
	event runner.Event
	log   *runner.Log
	out   *output
	// issuer is nil until it is first asked for.
	issuer *oidc.Verifier
}

// openJob reads what the runner tells, and hides all that is secret in it.
func (env *environment) openJob() (*job, error) {
	told, err := runner.Read(env.Getenv)
	if err != nil {
		return nil, err
	}
	j := &job{Env: told, log: runner.NewLog(env.Stdout), out: env.out}
	env.out.hidden = func(form string) { _ = j.log.Mask(form) } //nolint:errcheck // nobody is left to tell
	for _, secret := range told.Secrets() {
		env.out.hide(secret)
	}
	if j.event, err = told.Event(); err != nil {
		return nil, err
	}
	// What a service or a database said could be read as an order otherwise.
	env.Stdout, env.Stderr = j.log, runner.NewLog(env.Stderr)
	env.out.process.Stdout, env.out.process.Stderr = env.Stdout, env.Stderr
	return j, nil
}

// args are the job's inputs as a command line.
func (j *job) args(p rollout.Phase, environ []string) ([]string, error) {
	for _, warning := range runner.Unknown(environ) {
		j.out.say("warning: " + warning + "\n")
	}
	flags, err := j.Flags(p)
	if err != nil {
		return nil, err
	}
	dry, err := j.Bool(runner.InputDryRun)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(j.Input(runner.InputWorkingDirectory), j.Input(runner.InputConfig))
	args := append([]string{string(p)}, flags...)
	if dry {
		args = append([]string{string(runner.Can), string(p)}, flags...)
	}
	switch change := j.Input(runner.InputChange); {
	case dry && change != "":
		args = append(args, "--change="+change)
	case p == rollout.Restore:
		args = append(args, change)
	}
	return append(args, "--config="+config), nil
}

// finish hands on what a command found out: outputs for the jobs after it, and
// a page for people.
func (j *job) finish(r result, p *report.Page) error {
	if p != nil {
		j.summary(*p)
	}
	j.conclude(r)
	return j.handOn(r)
}

// summary adds a page to the summary of the step.
func (j *job) summary(p report.Page) {
	if err := j.AddSummary(j.out.mask.apply(p.Summary())); err != nil {
		j.out.say(fmt.Sprintf("warning: %v\n", err))
	}
}

func (j *job) handOn(r result) error {
	values, err := j.outputs(r)
	if err != nil {
		return err
	}
	return j.SetOutputs(values...)
}

// conclude shows on the run's page how a command ended, unless all is done.
func (j *job) conclude(r result) {
	level := runner.Error
	if r.Phase == command { // somebody's comment is no failure of the run
		level = runner.Notice
	}
	switch r.Outcome {
	case rollout.Done:
		return
	case rollout.Waiting:
		level = runner.Warning
	case rollout.Refused, rollout.Stopped, rollout.NeedsPerson:
	}
	message := r.Reason
	if r.Hint != "" {
		message += "\nhint: " + r.Hint
	}
	j.annotate(runner.Annotation{Level: level, Title: "gapless " + string(r.Phase), Message: j.out.mask.apply(message)})
}

// outputs are the action's outputs by a command's result.
func (j *job) outputs(r result) ([]runner.Value, error) {
	if r.Serving == nil {
		r.Serving = []rollout.Share{}
	}
	whole, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write the result: %w", err)
	}
	serving, err := json.Marshal(r.Serving)
	if err != nil {
		return nil, fmt.Errorf("write who serves: %w", err)
	}
	head := ""
	if !r.Head.Zero() {
		raw, err := json.Marshal(r.Head)
		if err != nil {
			return nil, fmt.Errorf("write the head: %w", err)
		}
		head = string(raw)
	}
	values := []runner.Value{
		{Name: runner.OutputRollout, Text: r.Rollout},
		{Name: runner.OutputHead, Text: head},
		{Name: runner.OutputState, Text: string(r.State)},
		{Name: runner.OutputServing, Text: string(serving)},
		{Name: runner.OutputWeight, Text: percent(r.Weight)},
		{Name: runner.OutputVerdict, Text: r.Verdict},
		{Name: runner.OutputWayBack, Text: string(r.WayBack)},
		{Name: runner.OutputPhase, Text: string(r.Phase)},
		{Name: runner.OutputOutcome, Text: string(r.Outcome)},
		{Name: runner.OutputNextPhase, Text: string(r.NextPhase)},
		{Name: runner.OutputWaitingFor, Text: r.WaitingFor},
		{Name: runner.OutputPlanDigest, Text: r.PlanDigest},
		{Name: runner.OutputGateDigest, Text: r.GateDigest},
		{Name: runner.OutputResult, Text: string(whole)},
	}
	if r.NextTo > 0 {
		values = append(values, runner.Value{Name: runner.OutputNextTo, Text: percent(r.NextTo)})
	}
	for i := range values {
		values[i].Text = j.out.mask.apply(values[i].Text)
	}
	return values, nil
}

func percent(w rollout.Weight) string { return strings.TrimSuffix(w.String(), "%") }

// failed ends a command that could not run. What is wrong with a file is shown
// beside its line.
func (j *job) failed(p rollout.Phase, err error) error {
	r := result{Version: resultVersion, Phase: p, Outcome: outcomeOf(err), Reason: err.Error(), Hint: rollout.HintOf(err)}
	if _, untold := errors.AsType[*untoldError](err); untold { // the files were just tried
		j.conclude(r)
		return nil
	}
	faults := document.FaultsOf(err)
	for _, f := range faults {
		message := f.Message
		if f.Suggestion != "" {
			message += "; " + f.Suggestion
		}
		j.annotate(runner.Annotation{
			Level: runner.Error, Title: "gapless", Message: j.out.mask.apply(message), File: f.File, Line: f.Line, Column: f.Column,
		})
	}
	if len(faults) == 0 {
		j.conclude(r)
	}
	j.summary(report.FaultPage(report.FaultView{Phase: p, What: r.Reason, Serving: servingOf(err), Hint: r.Hint}))
	return j.handOn(r)
}

func (j *job) annotate(a runner.Annotation) {
	if err := j.log.Annotate(a); err != nil {
		j.out.say(fmt.Sprintf("warning: %v\n", err))
	}
}

// group folds what is said until its end in the log of a job; elsewhere it does
// nothing.
func (env *environment) group(title string) (end func()) {
	if env.job == nil {
		return func() {}
	}
	_ = env.job.log.Group(title)                 //nolint:errcheck // nobody is left to tell
	return func() { _ = env.job.log.EndGroup() } //nolint:errcheck // as above
}

// actionCmd runs the phase that the action's inputs ask for.
type actionCmd struct {
	Phase actionRun  `cmd:"" default:"1" hidden:""`
	Post  actionPost `cmd:"" hidden:""`
}

type actionRun struct{}

// Run runs the phase as a step of a job.
func (actionRun) Run(ctx context.Context, env *environment) error {
	j, err := env.openJob()
	if err != nil {
		return &inputError{err, "gapless action is run by GitHub Actions; gapless --help lists the commands"}
	}
	p, err := j.Phase()
	if err == nil {
		env.job = j
		err = env.inJob(ctx, j, p)
	}
	if err != nil {
		return errors.Join(err, j.failed(p, err))
	}
	return nil
}

// ofPullRequest reports whether what runs is, or may be, what nobody has merged.
func (j *job) ofPullRequest() bool { return strings.HasPrefix(j.EventName, "pull_request") }

// reads are what a run for a pull request may do: it changes nothing.
func reads(p rollout.Phase) bool {
	return slices.Contains([]rollout.Phase{rollout.Plan, runner.Status, runner.Can, runner.Validate}, p)
}

func (env *environment) inJob(ctx context.Context, j *job, p rollout.Phase) error {
	if j.ofPullRequest() && !reads(p) {
		return &inputError{
			fmt.Errorf("phase %s is not run for event %s: what nobody has merged changes nothing", p, j.EventName),
			"run it on push to the default branch, on workflow_dispatch, schedule or issue_comment",
		}
	}
	if j.ofFork() && p != rollout.Plan && p != runner.Validate {
		return &inputError{
			fmt.Errorf("phase %s is not run for a pull request from another repository: it is given no access to ours", p),
			"plan and validate go by the files alone",
		}
	}
	args, err := j.args(p, env.Environ)
	if err != nil {
		return &inputError{err, "see the action's inputs"}
	}
	return env.invoke(ctx, args)
}
