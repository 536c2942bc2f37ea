package phase

import (
	"context"
	"time"

	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

func (s *session) settle(ctx context.Context, step plan.Settle) error {
	entries := []rollout.Data{step.Settled}
	if !s.supersedes() { // else the phase goes on
		entries = append(entries, s.ended(plan.End{Outcome: rollout.Done, Reason: "revision " + step.Settled.Stable.String() + " is stable"}))
		s.begun = false
	}
	err := s.write(ctx, func(m *rollout.Mark) {
		m.Stable, m.StableSide = step.Settled.Stable, step.Settled.Side
		*m = m.Without()
	}, entries...)
	if err != nil {
		return err
	}
	s.noteUsage(ctx)
	s.settleClaims(ctx)
	return s.observe(ctx)
}

// succeed ends the phase for the rollout that was superseded, and begins it
// anew for the one that supersedes it.
func (s *session) succeed(ctx context.Context, step plan.Succeed) error {
	s.warn(step.Reason)
	if s.begun {
		err := s.write(ctx, nil, rollout.Ended{Outcome: rollout.Done, Reason: step.Reason, Serving: s.in.Seen.Serving()})
		if err != nil {
			return err
		}
		s.begun, s.begunSaved = false, false
	}
	s.in.WentBack, s.in.Refilled, s.in.Judgement, s.in.Failed, s.in.Successor = false, false, nil, "", nil
	s.samples, s.counted = nil, time.Time{}
	if err := s.read(); err != nil {
		return err
	}
	if err := s.look(ctx); err != nil {
		return err
	}
	return s.gate(ctx)
}

// preflight finds out what the rollout needs that is to supersede the open
// one, before that one is ended for it.
func (s *session) preflight(ctx context.Context) error {
	next, err := s.successor(ctx)
	if err != nil {
		return err
	}
	s.db = next.db
	s.in.Successor = plan.Preconditions(next.in)
	return nil
}

// successor looks ahead to the rollout that supersedes the open one, as it
// will be once that one has ended. Its gate is asked then: an approval is bound
// to what the end leaves.
func (s *session) successor(ctx context.Context) (*session, error) {
	next := &session{r: s.r, work: s.work, record: s.record, db: s.db}
	ended := *s.in.State
	ended.Stage, ended.WentBack = rollout.StageSettled, !plan.Settles(*s.in.State)
	next.in = s.in
	next.in.State, next.in.Fresh = &ended, true
	if err := next.readFiles(); err != nil {
		return nil, err
	}
	if plan.Settles(*s.in.State) {
		next.in.Opening.Stable, next.in.Opening.Side = ended.Opening.Candidate, ended.Opening.Side.Other()
	}
	next.in.Gate = nil
	return next, next.look(ctx)
}
