// Package phase runs one phase of a release. Its loop is always the same:
// observe, decide, do, observe, save. What to do is decided by package plan;
// how, by the adapters behind the ports that this package declares.
package phase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/document"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// Runner runs phases of one service. Platform, Store and Clock are needed by
// every phase; Meter by those that judge. Probe and Gates may be nil. What the
// strategy asks of the platform beyond Platform, Sides or Roller, it must be
// able to do.
type Runner struct {
	Platform Platform
	Store    Store
	Meter    Meter
	Probe    Probe
	Gates    Gates
	// Seal signs what is saved and verifies what is loaded; nil does neither.
	Seal Seal
	// Journal may be nil.
	Journal Journal
	Clock   Clock
	Writer  rollout.Writer
	// OpenDatabase is called by a phase that has schema changes to look at; nil
	// where the config names no database.
	OpenDatabase func(context.Context) (Database, error)
	// Holder names this run in the lease; no two runs share one.
	Holder string
	// Lease is how long the lease outlives a killed phase; 0 is 15 s.
	Lease time.Duration
	// Hide takes secrets out of what is written down; nil knows of none.
	Hide func(string) string
	// Tell is told what happens, for people who watch; nil tells nobody.
	Tell func(Event)
}

// Event is something that people who watch a phase want to see. One field is
// set.
type Event struct {
	// Step is about to be done.
	Step plan.Step
	// Progress is of a long step of a change.
	Progress *change.Progress
	// Judgement was made from the newest counts.
	Judgement *verdict.Judgement
	// Record has one more entry.
	Record *rollout.Record
	// Warning did not stop the phase.
	Warning string
}

// Result is how a phase ended and what it left.
type Result struct {
	Phase rollout.Phase
	plan.End
	// Record is empty, State nil, where there is none.
	Record   rollout.Record
	State    *rollout.State
	Seen     rollout.Observation
	Next     plan.Next
	Warnings []string
	// GateDigest binds the approval of the next phase; empty where it has no
	// gate.
	GateDigest string
	// Cause is the error behind an outcome other than done; nil where the
	// reason says all.
	Cause error
	// Unrecorded says why a phase went by the platform's mark alone; nil where
	// the record could be read and written.
	Unrecorded error
}

// Run runs the phase that work asks for. Every end, also a bad one, is a
// Result; the error is for a phase that could not even find out where it
// stands.
func (r *Runner) Run(ctx context.Context, work Work) (Result, error) {
	s, err := r.enter(ctx, work)
	if err != nil && ctx.Err() != nil {
		return s.result(unbegun(), err), nil //nolint:nilerr // every end is a result
	}
	if err != nil && s.in.Seen.At.IsZero() {
		return Result{Phase: work.Request.Phase}, err
	}
	if err != nil {
		return s.result(barred(err), err), nil
	}
	first := s.decide(ctx)
	if first.Step == nil && !s.mayRecordEnd(first.End) {
		return s.result(first.End, nil), nil
	}
	if err := s.claim(ctx); err != nil {
		if busy := (*BusyError)(nil); errors.As(err, &busy) {
			return s.result(plan.End{Outcome: rollout.Waiting, Reason: busy.Error(), Hint: busy.Hint()}, nil), nil
		}
		if ctx.Err() != nil {
			return s.result(unbegun(), err), nil //nolint:nilerr // as above
		}
		return s.result(barred(err), err), nil
	}
	return s.run(ctx), nil
}

// goesOn is the hint of a phase that stopped safely.
const goesOn = "run this phase again: it goes on where it stopped"

// unbegun is the end of a phase that was cancelled while it found out where it
// stands.
func unbegun() plan.End {
	return plan.End{Outcome: rollout.Stopped, Reason: "cancelled before anything was done", Hint: "run this phase again"}
}

// barred is the end of a phase that could not find out enough to decide.
// Nothing was changed.
func barred(err error) plan.End {
	end := plan.End{Outcome: rollout.Stopped, Reason: reason(err), Hint: rollout.HintOf(err)}
	switch {
	case gone(err):
		end.Outcome = rollout.NeedsPerson
		if end.Hint == "" {
			end.Hint = "gapless status and gapless rollback work from what is stamped on the platform"
		}
	case errors.As(err, new(document.Faults)), errors.Is(err, rollout.ErrInput):
		end.Outcome = rollout.Refused
	}
	return end
}

// run works until the decision is to end, and writes down how it ended.
func (s *session) run(parent context.Context) Result {
	ctx, stop := s.heartbeat(parent)
	defer stop()
	s.unprobe = s.probe(ctx)
	end, cause := s.loop(ctx)
	// The end must be written also when the phase was cancelled.
	last, done := s.r.outlive(parent)
	defer done()
	if cause != nil && ctx.Err() != nil {
		s.saveWithin = saveCancelled
		end, cause = s.interrupted(last, context.Cause(ctx))
	}
	stop()
	s.unprobe()
	if err := s.finish(last, end); err != nil {
		s.warn(fmt.Sprintf("the end of the phase is not in the record: %v", err))
	}
	return s.result(end, cause)
}

func (s *session) loop(ctx context.Context) (plan.End, error) {
	// What was decided before the claim may hold no more: a hold came first, say.
	if d := plan.Decide(s.in); d.Step == nil && !s.mayRecordEnd(d.End) {
		return d.End, nil
	}
	if err := s.begin(ctx); err != nil {
		return s.failed(err)
	}
	var last error
	for {
		if err := s.observe(ctx); err != nil {
			return s.failed(err)
		}
		d := s.decide(ctx)
		if d.Step == nil {
			return d.End, last
		}
		s.tell(Event{Step: d.Step})
		if err := s.do(ctx, d.Step); err != nil {
			if ctx.Err() != nil {
				return plan.End{}, err
			}
			if plan.TakesAway(d.Step) && s.in.Failed == "" {
				s.in.Failed, last = reason(err), err
				continue
			}
			return s.failed(err)
		}
	}
}

// decide gives the next step. A way back reads the record once the traffic is
// back: finding it can take long, and is needed only to write down what was
// done.
func (s *session) decide(ctx context.Context) plan.Decision {
	d := plan.Decide(s.in)
	if !s.unread || plan.MovesBack(d.Step) {
		return d
	}
	s.readRecord(ctx)
	return plan.Decide(s.in)
}

// failed turns an error into an end: stable serves as far as is known, the
// same command goes on from here.
func (s *session) failed(err error) (plan.End, error) {
	end := plan.End{Outcome: rollout.Stopped, Reason: reason(err), Hint: rollout.HintOf(err)}
	if end.Hint == "" {
		end.Hint = goesOn
	}
	if errors.Is(err, rollout.ErrBusy) {
		end.Outcome = rollout.Waiting
	}
	return end, err
}

func reason(err error) string { return err.Error() }
