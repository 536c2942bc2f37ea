package cli

import (
	"errors"
	"fmt"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/document"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/report"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// inputError is something that the caller got wrong.
type inputError struct {
	err  error
	hint string
}

func (e *inputError) Error() string { return e.err.Error() }
func (e *inputError) Unwrap() error { return e.err }

// Is makes a phase that meets the error refuse, not stop.
func (e *inputError) Is(target error) bool { return target == rollout.ErrInput }

// Hint says what to do.
func (e *inputError) Hint() string { return e.hint }

// blindError is a command that could not even look at the platform.
type blindError struct {
	phase rollout.Phase
	err   error
}

func (e *blindError) Error() string { return fmt.Sprintf("%s: %v", e.phase, e.err) }
func (e *blindError) Unwrap() error { return e.err }

// Hint says what to do.
func (e *blindError) Hint() string {
	switch {
	case errors.Is(e.err, api.ErrUnauthorized):
		return "set the token that the agent was started with"
	case len(document.FaultsOf(e.err)) > 0:
		return "mend the file, then run this phase again"
	case errors.Is(e.err, api.ErrUnreachable):
		return "see whether gapless agent runs, and whether the config names its admin address; then run this phase again"
	}
	return "run this phase again"
}

// Serving says what users receive.
func (e *blindError) Serving() string {
	if len(document.FaultsOf(e.err)) > 0 {
		return "unchanged: nothing was done"
	}
	return "not known: the platform could not be looked at; nothing was changed"
}

// untoldError is a phase that ended and could not hand on how.
type untoldError struct {
	res phase.Result
	err error
}

func (e *untoldError) Error() string {
	return fmt.Sprintf("%s ended %s, which could not be handed on: %v", e.res.Phase, e.res.Outcome, e.err)
}

func (e *untoldError) Unwrap() error { return e.err }

// Hint says what to do.
func (e *untoldError) Hint() string {
	return "see whether the runner's disk is full; then run this phase again: it finds what is done"
}

// Serving says what users receive.
func (e *untoldError) Serving() string { return report.FaultView{Seen: seen(e.res)}.Served() }

// outcomeOf is how an error ends a command.
func outcomeOf(err error) rollout.Outcome {
	if untold, ok := errors.AsType[*untoldError](err); ok && untold.res.Outcome == rollout.NeedsPerson {
		return rollout.NeedsPerson
	} else if ok {
		return rollout.Stopped
	}
	if _, blind := errors.AsType[*blindError](err); !blind {
		return rollout.Refused
	}
	if errors.Is(err, api.ErrUnauthorized) || len(document.FaultsOf(err)) > 0 {
		return rollout.Refused
	}
	return rollout.NeedsPerson
}
