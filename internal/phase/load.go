package phase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// load reads the true record: the one that the platform's head names. A newer
// head that the caller knows of goes on from it, or something is wrong.
func (s *session) load(ctx context.Context) error {
	mark, told := s.in.Seen.Mark, s.work.Head
	if mark == nil || mark.Head.Zero() {
		if told.Zero() {
			return nil
		}
		return fmt.Errorf("%w: the platform carries no mark, but rollout %s was at entry %d when the job before ended",
			rollout.ErrNotFound, told.Rollout, told.Seq)
	}
	want := mark.Head
	if told.Seq > want.Seq {
		want = told
	}
	ctx, cancel := s.brief(ctx)
	defer cancel()
	record, err := s.r.Store.Load(ctx, mark.Service, want)
	if err == nil && s.r.Seal != nil {
		err = s.r.Seal.Verify(ctx, record)
	}
	if err != nil {
		return fmt.Errorf("rollout %s, entry %d: %w", want.Rollout, want.Seq, err)
	}
	if err := agree(record, mark.Head, told); err != nil {
		return err
	}
	s.saved, s.head = record, record.Head()
	return s.adopt(record)
}

// A store may look for a record for a minute. A way back does not wait for it:
// it needs none.
const (
	loadForWayBack = 5 * time.Second
	loadForStatus  = 20 * time.Second
)

// brief bounds the search for the record by what the phase needs it for.
func (s *session) brief(ctx context.Context) (context.Context, context.CancelFunc) {
	switch s.work.Request.Phase {
	case rollout.Rollback:
		return context.WithTimeoutCause(ctx, loadForWayBack, fmt.Errorf("not found within %s", loadForWayBack))
	case statusOnly:
		return context.WithTimeoutCause(ctx, loadForStatus, fmt.Errorf("not found within %s", loadForStatus))
	default:
		return ctx, func() {}
	}
}

// gone reports whether the record cannot be had any more, or only not now.
func gone(err error) bool {
	return errors.Is(err, rollout.ErrNotFound) || errors.Is(err, rollout.ErrBroken) || errors.Is(err, rollout.ErrForked)
}

// agree checks that the head on the platform and the one that the caller knows
// of are of one chain.
func agree(record rollout.Record, seen, told rollout.Head) error {
	switch {
	case told.Zero(), told == seen, record.Head() == told && record.Follows(seen), record.Follows(told):
		return nil
	case told.Seq < record.Entries[0].Seq: // an older rollout, whose entries are elsewhere
		return nil
	}
	return fmt.Errorf("%w: the platform is at entry %d (%s) of rollout %s, the job before ended at entry %d (%s) of rollout %s",
		rollout.ErrForked, seen.Seq, short(seen.Hash), seen.Rollout, told.Seq, short(told.Hash), told.Rollout)
}

// loseRecord goes on without a record, by the platform's mark alone.
func (s *session) loseRecord(err error) {
	s.unrecorded, s.lost, s.in.State = true, err, nil
	s.warn(fmt.Sprintf("going by the platform's mark alone: %v", err))
}

// readRecord reads the record of a way back whose traffic has moved. Where it
// cannot be read, the platform's mark is enough.
func (s *session) readRecord(ctx context.Context) {
	s.unread = false
	if err := s.load(ctx); err != nil {
		s.loseRecord(err)
		s.in.Lost, s.in.Unread = gone(err), !gone(err)
		return
	}
	s.in.Fresh = s.in.State == nil
	if s.in.Fresh {
		return
	}
	if err := s.readFiles(); err != nil { // what is due after the way back is told by them
		s.warn(fmt.Sprintf("the files that the record was opened with: %v", err))
	}
}

func (s *session) adopt(record rollout.Record) error {
	state, err := rollout.Fold(record)
	if err != nil {
		return fmt.Errorf("record %s: %w", record.Rollout, err)
	}
	s.record, s.in.State = record, &state
	return nil
}

// meant refuses a job that was made for another rollout than the one that is
// there: one that is run again after it is over, say.
func (s *session) meant() error {
	want, has := s.work.Rollout, ""
	s.in.Meant = false
	switch {
	case want == "":
		return nil
	case s.in.State != nil:
		has = s.in.State.Rollout
	case s.in.Seen.Mark != nil:
		has = s.in.Seen.Mark.Rollout
	}
	if want == has {
		s.in.Meant = true
		return nil
	}
	if s.in.Fresh && opens(s.work.Request.Phase) {
		next, err := s.rolloutID()
		if err != nil || want == next {
			return err
		}
		return fmt.Errorf("%w: the job is of rollout %s, due is %s", rollout.ErrInput, want, next)
	}
	return fmt.Errorf("%w: the job is of rollout %s, the one here is %q", rollout.ErrInput, want, has)
}

// rolloutID names the rollout that is to be opened.
func (s *session) rolloutID() (string, error) {
	return plan.RolloutID(s.in.Opening.Candidate, s.head)
}

// locate loads the record, as far as the phase needs one before it acts: a way
// back moves traffic first, status tells what is lost, adopt begins another.
func (s *session) locate(ctx context.Context) error {
	p := s.work.Request.Phase
	if p == rollout.Rollback {
		s.unread = true
		if m := s.in.Seen.Mark; m != nil {
			s.head = m.Head
		}
		return nil
	}
	err := s.load(ctx)
	switch {
	case err == nil:
		return nil
	case p == statusOnly:
		s.loseRecord(err)
		s.in.Lost, s.in.Unread = gone(err), !gone(err)
	case p == rollout.Adopt && gone(err):
		s.lost, s.in.Lost = err, true
		if m := s.in.Seen.Mark; m != nil {
			s.head = m.Head
		}
	default:
		return err
	}
	return nil
}
