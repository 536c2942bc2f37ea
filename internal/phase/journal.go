package phase

import (
	"context"
	"errors"
	"fmt"

	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// begin writes down that the phase has begun, where a record is there to
// write to. A phase that opens one does so after opening it.
func (s *session) begin(ctx context.Context) error {
	if needsDatabase(s.work.Request.Phase) && s.db != nil && len(s.in.Changes)+len(s.in.Owed) > 0 {
		unlock, err := s.db.Lock(ctx, s.r.Holder)
		if err != nil {
			return fmt.Errorf("lock the database for schema changes: %w", err)
		}
		s.unlock = unlock
	}
	if s.in.Fresh || s.work.Request.Phase == rollout.Rollback { // traffic goes first
		return nil
	}
	return s.writeBegan(ctx)
}

func needsDatabase(p rollout.Phase) bool { return p == rollout.Expand || p == rollout.Contract }

func (s *session) writeBegan(ctx context.Context) error {
	if s.begun || s.unrecorded {
		return nil
	}
	b := rollout.Began{Epoch: s.lease.epoch, Digest: s.expect, Accepted: s.work.Request.Accept}
	if s.work.Request.Phase == rollout.Promote {
		b.To = plan.Goal(s.in)
	}
	if s.in.Gate != nil {
		b.Gate, b.Approval = s.in.Gate.Name, s.in.Gate.Approval
	}
	if err := s.write(ctx, nil, b); err != nil {
		return err
	}
	s.begun = true
	return nil
}

// write appends entries, saves the record, and moves the head to it. What else
// changes on the mark goes with the same stamp.
func (s *session) write(ctx context.Context, edit func(*rollout.Mark), entries ...rollout.Data) error {
	if s.unrecorded {
		return s.stampIf(ctx, edit)
	}
	follows := s.record.Head()
	next, err := s.append(entries)
	if err != nil {
		return err
	}
	if err := s.r.Store.Save(ctx, next, follows); err != nil {
		err = fmt.Errorf("save record %s: %w", next.Rollout, err)
		if s.work.Request.Phase == rollout.Rollback { // which stops for nothing
			s.loseRecord(err)
			return s.stampIf(ctx, edit)
		}
		return err
	}
	err = s.stamp(ctx, func(m *rollout.Mark) {
		m.Head = next.Head()
		if edit != nil {
			edit(m)
		}
	})
	if err != nil {
		return err
	}
	if err := s.adopt(next); err != nil {
		return err
	}
	s.tell(Event{Record: &next})
	return nil
}

func (s *session) append(entries []rollout.Data) (rollout.Record, error) {
	next := s.record
	for _, data := range entries {
		var err error
		if next, err = next.Append(rollout.Head{}, s.in.Seen.At, s.r.Writer, s.work.Request.Phase, data); err != nil {
			return next, err
		}
	}
	return next, nil
}

func (s *session) stampIf(ctx context.Context, edit func(*rollout.Mark)) error {
	if edit == nil {
		return nil
	}
	return s.stamp(ctx, edit)
}

// open begins the record of a new rollout, chained to the one before.
func (s *session) open(ctx context.Context, o rollout.Opened) error {
	after := s.record.Head()
	id, err := plan.RolloutID(o.Candidate, after)
	if err != nil {
		return err
	}
	o.PlanDigest, err = s.planDigest(o)
	if err != nil {
		return err
	}
	next, err := rollout.NewRecord(s.in.Config.Service, id).
		Append(after, s.in.Seen.At, s.r.Writer, s.work.Request.Phase, o)
	if err != nil {
		return err
	}
	if err := s.r.Store.Save(ctx, next, after); err != nil {
		return fmt.Errorf("save record %s: %w", id, err)
	}
	err = s.stamp(ctx, func(m *rollout.Mark) {
		m.Rollout, m.Head = id, next.Head()
		m.Candidate, m.CandidateSide, m.Strategy, m.Back = o.Candidate, o.Side, o.Strategy, nil
	})
	if err != nil {
		return err
	}
	if err := s.adopt(next); err != nil {
		return err
	}
	s.in.Fresh, s.in.WentBack = false, false
	return s.writeBegan(ctx)
}

// finish writes how the phase ended and gives the lease back.
func (s *session) finish(ctx context.Context, end plan.End, probed *rollout.Probed) error {
	errs := s.observe(ctx)
	release := func(m *rollout.Mark) { m.Lease = nil }
	if s.begun {
		errs = errors.Join(errs, s.write(ctx, release, rollout.Ended{
			Outcome: end.Outcome, Reason: end.Reason, Hint: end.Hint, Serving: s.in.Seen.Serving(), Probe: probed,
		}))
	} else if err := s.stamp(ctx, release); !errors.Is(err, errTakenOver) {
		errs = errors.Join(errs, err)
	}
	if s.unlock != nil {
		errs = errors.Join(errs, s.unlock(ctx))
	}
	return errors.Join(errs, s.observe(ctx))
}

// mayRecordEnd reports whether an end that was decided before anything was
// done belongs into the record: only the end of a phase that had begun does.
func (s *session) mayRecordEnd(end plan.End) bool {
	st := s.in.State
	return st != nil && st.Begun != nil && st.BegunPhase == s.work.Request.Phase &&
		(end.Outcome == rollout.Done || end.Outcome == rollout.Stopped) && st.Stage != rollout.StageSettled
}

func (s *session) tell(e Event) {
	if s.r.Tell != nil {
		s.r.Tell(e)
	}
}

func (s *session) warn(text string) {
	s.warnings = append(s.warnings, text)
	s.tell(Event{Warning: text})
}

func (s *session) result(end plan.End, cause error) Result {
	res := Result{
		Phase: s.work.Request.Phase, End: end, Record: s.record, State: s.in.State, Seen: s.in.Seen,
		Warnings: s.warnings, Cause: cause,
	}
	if s.in.Config == nil { // nothing was read, so nothing is known to be due
		return res
	}
	res.Next = plan.NextOf(s.in)
	digest, err := s.nextGateDigest(res.Next)
	if err != nil {
		res.Warnings = append(res.Warnings, err.Error())
	}
	res.GateDigest = digest
	return res
}
