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
	s := &session{r: r, record: kept.Record, head: kept.Head}
	if err := s.observe(ctx); err != nil {
		return Recovered{}, err
	}
	phase, err := s.outdated(kept)
	if err != nil || phase == "" {
		return Recovered{Said: "the phase was cut short, and another one has gone on since"}, errors.Join(err, r.Journal.Drop(ctx))
	}
	s.work.Request.Phase = phase
	if err := s.seize(ctx, kept.Holder); err != nil {
		return Recovered{}, err
	}
	if err := s.complete(ctx); err != nil {
		return Recovered{}, err
	}
	return Recovered{
		Said:   fmt.Sprintf("phase %s was cut short; what it had done is in the record now: run it again, it goes on from there", phase),
		Record: s.record,
	}, r.Journal.Drop(ctx)
}

// outdated tells which phase the journal is of; none where the platform's head
// is another one than the journal goes on from.
func (s *session) outdated(kept rollout.Journalled) (rollout.Phase, error) {
	m, n := s.in.Seen.Mark, len(kept.Record.Entries)
	if m == nil || n == 0 {
		return "", nil
	}
	switch m.Head {
	case kept.Record.Head(): // it was saved and moved; only the end is missing
		s.head = m.Head
	case kept.Head:
	default:
		return "", nil
	}
	s.saved = kept.Record
	if err := s.adopt(kept.Record); err != nil {
		return "", err
	}
	if s.in.State.Begun == nil { // it had ended
		return "", nil
	}
	return kept.Record.Entries[n-1].Phase, nil
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
	return s.write(ctx, func(m *rollout.Mark) { m.Lease = nil }, s.ended(plan.End{
		Outcome: rollout.Stopped, Reason: "cut short: its job was ended before it could end by itself",
		Hint: "run this phase again: it goes on where it stopped",
	}))
}
