package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// revisionFlag names what to release.
type revisionFlag struct {
	Revision string `short:"r" placeholder:"ID" help:"The revision to release: a version or an image digest."`
}

// meantFlags bind a phase to what it was made for.
type meantFlags struct {
	Rollout string `placeholder:"ID" help:"The rollout that is meant; the phase is refused where another one is due."`
	Head    string `placeholder:"JSON" help:"The newest entry of the record that is known, as the phase before gave it."`
	Expect  string `placeholder:"DIGEST" help:"The gate-digest that was approved; the phase holds where another one is due."`
}

// work fills in what is meant.
func (m meantFlags) work(work phase.Work) (phase.Work, error) {
	work.Rollout, work.Expect = m.Rollout, m.Expect
	if m.Head == "" {
		return work, nil
	}
	d := json.NewDecoder(strings.NewReader(m.Head))
	d.DisallowUnknownFields()
	if err := d.Decode(&work.Head); err != nil || d.More() || work.Head.Seq < 1 || work.Head.Hash == "" {
		return work, &inputError{
			fmt.Errorf("--head: %.200q is not a head: %w", m.Head, errors.Join(err, rollout.ErrInput)),
			"give the output head of the job before, as it is",
		}
	}
	return work, nil
}

// supersedeFlag ends another rollout first.
type supersedeFlag struct {
	Supersede bool `help:"End another rollout that is under way first: one that passed at 100% is settled, every other is taken back. Says what way back is given up."`
}

type expandCmd struct {
	revisionFlag
	supersedeFlag
	backfillFlags
	meantFlags
}

// Run runs the phase. It can be paused by signals while it fills rows.
func (c *expandCmd) Run(ctx context.Context, env *environment) error {
	if err := c.check(); err != nil {
		return err
	}
	env.backfill = c.backfillFlags
	defer env.lever.listen()()
	return env.run(ctx, c.meantFlags, phase.Work{Request: plan.Request{Phase: rollout.Expand, Supersede: c.Supersede}, Revision: c.Revision})
}

type deployCmd struct {
	revisionFlag
	supersedeFlag
	Accept string `placeholder:"REASON" help:"Rolling: take an inconclusive verdict upon yourself; the reason and your name go into the record."`
	meantFlags
}

// Run runs the phase.
func (c *deployCmd) Run(ctx context.Context, env *environment) error {
	req := plan.Request{Phase: rollout.Deploy, Supersede: c.Supersede, Accept: c.Accept}
	return env.run(ctx, c.meantFlags, phase.Work{Request: req, Revision: c.Revision})
}

type promoteCmd struct {
	To     string `placeholder:"PERCENT" help:"Go up to this step; without it, to the next one."`
	Accept string `placeholder:"REASON" help:"Take an inconclusive verdict upon yourself; the reason and your name go into the record."`
	meantFlags
}

// Run runs the phase.
func (c *promoteCmd) Run(ctx context.Context, env *environment) error {
	req := plan.Request{Phase: rollout.Promote, Accept: c.Accept}
	var err error
	if req.To, err = goal(c.To); err != nil {
		return err
	}
	return env.run(ctx, c.meantFlags, phase.Work{Request: req})
}

// goal reads the weight that a promote goes to; none is the next step.
func goal(to string) (rollout.Weight, error) {
	if to == "" {
		return 0, nil
	}
	w, err := rollout.ParseWeight(to)
	if err != nil {
		return 0, &inputError{fmt.Errorf("promote --to: %w", err), "name one of the steps of the config"}
	}
	if w == 0 {
		return 0, &inputError{fmt.Errorf("promote --to 0 is a way back"), "gapless rollback gives all traffic to stable"}
	}
	return w, nil
}

type tickCmd struct{ meantFlags }

// Run runs the phase.
func (c *tickCmd) Run(ctx context.Context, env *environment) error {
	return env.run(ctx, c.meantFlags, phase.Work{Request: plan.Request{Phase: rollout.Tick}})
}

type retireCmd struct{ meantFlags }

// Run runs the phase.
func (c *retireCmd) Run(ctx context.Context, env *environment) error {
	return env.run(ctx, c.meantFlags, phase.Work{Request: plan.Request{Phase: rollout.Retire}})
}

type contractCmd struct {
	Accept string `placeholder:"REASON" help:"Go on though some signals of use cannot be read; the reason and your name go into the record."`
	meantFlags
}

// Run runs the phase.
func (c *contractCmd) Run(ctx context.Context, env *environment) error {
	return env.run(ctx, c.meantFlags, phase.Work{Request: plan.Request{Phase: rollout.Contract, Accept: c.Accept}})
}

// reasonFlag says why a person steers the rollout.
type reasonFlag struct {
	Reason string `placeholder:"TEXT" help:"Why; goes into the record."`
}

type rollbackCmd struct {
	reasonFlag
	Schema string `default:"keep" enum:"keep,revert" help:"What becomes of the schema: it serves both revisions (keep), or what expand made is taken back once the candidate is gone (revert)."`
	meantFlags
}

// Run runs the phase.
func (c *rollbackCmd) Run(ctx context.Context, env *environment) error {
	return env.run(ctx, c.meantFlags, phase.Work{Request: plan.Request{
		Phase: rollout.Rollback, Reason: c.Reason, Schema: rollout.SchemaOnBack(c.Schema),
	}})
}

type holdCmd struct {
	reasonFlag
	meantFlags
}

// Run runs the phase.
func (c *holdCmd) Run(ctx context.Context, env *environment) error {
	return env.run(ctx, c.meantFlags, phase.Work{Request: plan.Request{Phase: rollout.Hold, Reason: c.Reason}})
}

type adoptCmd struct {
	reasonFlag
	meantFlags
}

// Run runs the phase.
func (c *adoptCmd) Run(ctx context.Context, env *environment) error {
	return env.run(ctx, c.meantFlags, phase.Work{Request: plan.Request{Phase: rollout.Adopt, Reason: c.Reason}})
}

type restoreCmd struct {
	Change string `arg:"" help:"The change, named as its file is, without the extension."`
	meantFlags
}

// Run runs the phase.
func (c *restoreCmd) Run(ctx context.Context, env *environment) error {
	return env.run(ctx, c.meantFlags, phase.Work{Request: plan.Request{Phase: rollout.Restore, Change: c.Change}})
}

// run runs a phase and writes how it ended.
func (env *environment) run(ctx context.Context, meant meantFlags, work phase.Work) error {
	work, err := meant.work(work)
	if err != nil {
		return err
	}
	r, err := env.compose()
	if err != nil {
		return err
	}
	work.Config, work.ChangeFiles, work.Commit = r.work.Config, r.work.ChangeFiles, r.work.Commit
	shown := &live{job: env.job, ctx: ctx}
	if env.job != nil {
		r.runner.Tell = func(e phase.Event) {
			env.out.event(e)
			shown.event(e)
		}
	}
	ungroup := env.group("what gapless " + string(work.Request.Phase) + " does")
	res, err := r.runner.Run(ctx, work)
	ungroup()
	if err != nil {
		return &blindError{work.Request.Phase, err}
	}
	if env.job != nil {
		shown.end(ctx, res)
	}
	env.status = statusOf(res.Outcome)
	return env.result(res)
}

type canCmd struct {
	Phase string `arg:"" help:"The phase to ask about."`
	revisionFlag
	supersedeFlag
	backfillFlags
	meantFlags
	reasonFlag
	To     string `placeholder:"PERCENT" help:"The step that promote is asked about; without it, the next one."`
	Change string `placeholder:"CHANGE" help:"The change that restore is asked about."`
	Accept string `placeholder:"REASON" help:"As the phase takes it."`
}

// Run lists the preconditions; it ends as the phase would.
func (c *canCmd) Run(ctx context.Context, env *environment) error {
	p := rollout.Phase(c.Phase)
	if !known(p) {
		return &inputError{fmt.Errorf("%q is not a phase: %s", c.Phase, names()), "name one of them"}
	}
	r, err := env.compose()
	if err != nil {
		return err
	}
	r.work.Request = plan.Request{Phase: p, Supersede: c.Supersede, Accept: c.Accept, Reason: c.Reason, Change: c.Change}
	if r.work.Request.To, err = goal(c.To); err != nil {
		return err
	}
	r.work.Revision = c.Revision
	if r.work, err = c.work(r.work); err != nil {
		return err
	}
	able, err := r.runner.Can(ctx, r.work)
	if err != nil {
		return &blindError{p, err}
	}
	for _, pre := range able.Preconditions {
		if !pre.Met && env.status == exitDone {
			env.status = statusOf(pre.Else)
		}
	}
	return env.can(p, able)
}

func known(p rollout.Phase) bool {
	for _, q := range rollout.Phases() {
		if p == q && p != rollout.Plan {
			return true
		}
	}
	return false
}

func names() string {
	var all []string
	for _, p := range rollout.Phases() {
		if p != rollout.Plan {
			all = append(all, string(p))
		}
	}
	return strings.Join(all, ", ")
}

type statusCmd struct {
	meantFlags
	Accept string `placeholder:"REASON" help:"Show which digest the next phase has with this waiver."`
}

// Run shows record and reality.
func (c *statusCmd) Run(ctx context.Context, env *environment) error {
	r, err := env.compose()
	if err != nil {
		return err
	}
	if r.work, err = c.work(r.work); err != nil {
		return err
	}
	r.work.Request.Accept = c.Accept
	st, err := r.runner.Status(ctx, r.work)
	if err != nil {
		return &blindError{"status", err}
	}
	if st.Drift != "" || st.Cause != nil {
		env.status = exitNeedsPerson
	}
	return env.standing(st)
}
