package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/gapless-deploy/gapless/internal/forge/runner"
	"github.com/gapless-deploy/gapless/internal/phase"
)

// postName is what the program is called as in the action's post step.
const postName = "gapless-post"

// journals is the directory of the journals, below the runner's temporary one.
const journals = "gapless"

type actionPost struct{}

// Run writes down what a phase that was cut short could not. After a phase that
// ended by itself it has nothing to do. Whatever it cannot do, the next phase
// repairs; so it only ever warns.
func (actionPost) Run(ctx context.Context, env *environment) error {
	j, err := env.openJob()
	if err != nil {
		return &inputError{err, "gapless-post is run by GitHub Actions"}
	}
	left, err := filepath.Glob(filepath.Join(j.Temp, journals, "*"))
	if err != nil || len(left) == 0 {
		return err
	}
	env.job = j
	if err := env.recover(ctx); err != nil {
		message := j.out.mask.apply(fmt.Sprintf("what the phase had done could not be written down: %v; the next phase finds it out", err))
		j.annotate(runner.Annotation{Level: runner.Warning, Title: "gapless", Message: message})
	}
	return nil
}

func (env *environment) recover(ctx context.Context) error {
	env.commands.Config = filepath.Join(env.job.Input(runner.InputWorkingDirectory), env.job.Input(runner.InputConfig))
	r, err := env.compose()
	if err != nil {
		return err
	}
	found, err := r.runner.Recover(ctx)
	if busy, ok := errors.AsType[*phase.BusyError](err); ok {
		env.out.say(fmt.Sprintf("the phase is still at work, and ends by itself: %v\n", busy))
		return nil
	}
	if err != nil || found.Said == "" {
		return err
	}
	env.out.say(found.Said + "\n")
	if len(found.Record.Entries) == 0 {
		return nil
	}
	shown := &live{job: env.job, ctx: ctx}
	shown.event(phase.Event{Record: &found.Record})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer cancel()
	shown.close(ctx)
	return nil
}
