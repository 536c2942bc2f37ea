package phase

import (
	"context"
	"errors"
	"fmt"

	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Recovered says what Recover found.
type Recovered struct {
	// Said is for people; empty where the phase had ended by itself.
	Said string
	// Record is what is in force now; empty where nothing was written.
	Record rollout.Record
}

// Recover writes down what a phase that was cut short on this machine could
// not: what its journal holds beyond the record in force, and that it was cut
// short. It changes neither traffic nor schema. Where somebody else has gone on
// meanwhile, theirs is the record and nothing is written. The error is for what
// could not be found out; the next phase repairs all that is left.
func (r *Runner) Recover(ctx context.Context) (Recovered, error) {
	kept, err := r.Journal.Load(ctx)
	if errors.Is(err, rollout.ErrNotFound) {
		return Recovered{}, nil
	}
	if err != nil {
		return Recovered{}, err
	}
	s := &session{r: r, record: kept.Record, head: kept.Head, saveWithin: saveUsually}
	if err := s.observe(ctx); err != nil {
		return Recovered{}, err
	}
	if m, n := s.in.Seen.Mark, len(kept.Record.Entries); m == nil || n == 0 || m.Head != kept.Head && m.Head != kept.Record.Head() {
		return Recovered{Said: "the phase was cut short, and another one has gone on since"}, r.Journal.Drop(ctx)
	}
	unfinished, err := s.unfinished(kept)
	if err != nil || !unfinished {
		return Recovered{}, errors.Join(err, r.Journal.Drop(ctx))
	}
	phase := kept.Record.Entries[len(kept.Record.Entries)-1].Phase
	s.work.Request.Phase = phase
	if err := s.seize(ctx, kept.Holder); err != nil {
		return Recovered{}, err
	}
	if err := s.complete(ctx); err != nil {
		return Recovered{}, errors.Join(err, s.stamp(ctx, release))
	}
	return Recovered{
		Said:   fmt.Sprintf("phase %s was cut short; what it had done is in the record now: run it again, it goes on from there", phase),
		Record: s.record,
	}, r.Journal.Drop(ctx)
}

// unfinished takes the journal up, and reports whether something of it is not
// in force: the end of the phase, or all that it noted last.
func (s *session) unfinished(kept rollout.Journalled) (bool, error) {
	inForce := s.in.Seen.Mark.Head == kept.Record.Head()
	if inForce {
		s.head = kept.Record.Head()
	}
	s.saved = kept.Record
	if err := s.adopt(kept.Record); err != nil {
		return false, err
	}
	return s.in.State.Begun != nil || !inForce, nil
}

// seize takes the lease of a phase that was cut short. One that is renewed
// still belongs to somebody at work: a container can outlive its job's step.
func (s *session) seize(ctx context.Context, holder string) error {
	m := s.in.Seen.Mark
	for m.HeldBy(holder) && m.Busy(s.r.Holder, s.in.Now()) {
		held := *m.Lease
		if err := s.r.Clock.Sleep(ctx, s.r.leaseFor()/10); err != nil {
			return err
		}
		if err := s.observe(ctx); err != nil {
			return err
		}
		if m = s.in.Seen.Mark; m.HeldBy(holder) && !m.Lease.Until.Equal(held.Until) {
			return &BusyError{*m.Lease}
		}
	}
	if m.Busy(s.r.Holder, s.in.Now()) {
		return &BusyError{*m.Lease}
	}
	next := *m
	next.Lease = s.newLease()
	if err := s.r.Platform.Claim(ctx, s.in.Seen.Token, next); err != nil {
		return fmt.Errorf("take the lease: %w", err)
	}
	s.lease.epoch = next.Epoch
	return s.observe(ctx)
}

// complete writes the end of the phase that was cut short.
func (s *session) complete(ctx context.Context) error {
	s.unprobe = func() *rollout.Probed { return nil }
	s.begun, s.begunSaved = true, true
	if s.in.State.Begun == nil { // it had ended, and could not save that
		return s.save(ctx, release)
	}
	return s.write(ctx, release, s.ended(plan.End{
		Outcome: rollout.Stopped, Reason: "cut short: its job was ended before it could end by itself",
		Hint: goesOn,
	}))
}
