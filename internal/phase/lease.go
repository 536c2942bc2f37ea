package phase

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// defaultLease is long enough for a slow platform, and short enough that the
// run after a killed one need not wait for long.
const defaultLease = 15 * time.Second

// BusyError says that somebody else works on the service.
type BusyError struct{ Lease rollout.Lease }

// Error names who works and at what.
func (e *BusyError) Error() string {
	return fmt.Sprintf("%s works on phase %s", e.Lease.Holder, e.Lease.Phase)
}

// Hint says what to do.
func (e *BusyError) Hint() string {
	return "wait for it to end, then run this phase again; gapless rollback goes ahead of it"
}

// errTakenOver says that a rollback, or somebody who found the lease lapsed,
// has taken the service over.
var errTakenOver = errors.New("another run has taken over")

// lease is what the phase and its heartbeat share. mu is held while the mark
// is written, so that neither takes the other's write for a stranger's. Only
// the phase writes epoch.
type lease struct {
	mu    sync.Mutex
	epoch int
}

func (r *Runner) leaseFor() time.Duration {
	if r.Lease > 0 {
		return r.Lease
	}
	return defaultLease
}

// grace is how long a cancelled phase may take to leave things safe. A runner
// ends by force what has not ended 7.5 s after it was cancelled.
const grace = 4 * time.Second

// outlive gives a context that goes on for the grace after another has ended.
func (r *Runner) outlive(ctx context.Context) (last context.Context, done func()) {
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return last, func() { stop(); cancel() }
}

// claim takes the lease. A lease that is renewed belongs to someone at work;
// one that is not belongs to a phase that was killed, and lapses.
func (s *session) claim(ctx context.Context) error {
	m := s.in.Seen.Mark
	for !s.preempts() && m.Busy(s.r.Holder, s.in.Now()) {
		held := *m.Lease
		if err := s.r.Clock.Sleep(ctx, min(s.r.leaseFor()/10, held.Until.Sub(s.in.Now())+time.Millisecond)); err != nil {
			return err
		}
		if err := s.observe(ctx); err != nil {
			return err
		}
		m = s.in.Seen.Mark
		if m.Busy(s.r.Holder, s.in.Now()) && (m.Lease.Holder != held.Holder || !m.Lease.Until.Equal(held.Until)) {
			return &BusyError{*m.Lease}
		}
	}
	next := s.mark()
	if s.preempts() {
		next.Epoch++
	}
	next.Lease = s.newLease()
	err := s.r.Platform.Claim(ctx, s.in.Seen.Token, next)
	if errors.Is(err, rollout.ErrConflict) {
		return s.lostRace(ctx)
	}
	if err != nil {
		return fmt.Errorf("claim the platform: %w", err)
	}
	s.lease.epoch = next.Epoch
	if err := s.reenter(ctx); err != nil { // nothing is done, so nobody need wait for the lease to lapse
		if rerr := s.stamp(ctx, release); !errors.Is(rerr, errTakenOver) {
			err = errors.Join(err, rerr)
		}
		return err
	}
	return nil
}

// preempts reports whether the phase takes the service over from one at work.
func (s *session) preempts() bool {
	return s.work.Request.Phase == rollout.Rollback || s.work.Request.Phase == rollout.Hold
}

// lostRace looks who was faster. A phase that preempts claims again.
func (s *session) lostRace(ctx context.Context) error {
	if err := s.observe(ctx); err != nil {
		return err
	}
	if m := s.in.Seen.Mark; m.Busy(s.r.Holder, s.in.Now()) && !s.preempts() {
		return &BusyError{*m.Lease}
	}
	return s.claim(ctx)
}

// reenter reads the record again: someone may have written to it between the
// first look and the claim.
func (s *session) reenter(ctx context.Context) error {
	before := s.head
	if err := s.observe(ctx); err != nil {
		return err
	}
	if s.unrecorded || s.in.Seen.Mark.Head == before {
		return nil
	}
	if s.unread {
		s.head = s.in.Seen.Mark.Head
	} else if err := s.load(ctx); err != nil {
		if s.work.Request.Phase != rollout.Rollback {
			return err
		}
		s.loseRecord(err)
		s.in.Lost, s.in.Unread = gone(err), !gone(err)
	}
	return s.find(ctx) // what is meant, and what was approved, is of one head
}

// mark gives the mark as it was seen, or a first one.
func (s *session) mark() rollout.Mark {
	if m := s.in.Seen.Mark; m != nil {
		return *m
	}
	return rollout.Mark{Service: s.in.Config.Service}
}

func (s *session) newLease() *rollout.Lease {
	return &rollout.Lease{
		Holder: s.r.Holder, Phase: s.work.Request.Phase, Until: s.in.Seen.At.Add(s.r.leaseFor()),
	}
}

// heartbeat keeps the lease, and cancels the phase within a third of it once
// somebody has taken over.
func (s *session) heartbeat(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s.r.Clock.Sleep(ctx, s.r.leaseFor()/4) == nil {
			if err := s.renew(ctx); errors.Is(err, errTakenOver) {
				cancel(err)
				return
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
	}
}

// renew prolongs the lease. A platform that does not answer is asked again at
// the next beat; the lease bears three that are missed.
func (s *session) renew(ctx context.Context) error {
	s.lease.mu.Lock()
	defer s.lease.mu.Unlock()
	return s.guarded(ctx, func(seen rollout.Observation) error {
		m, l := *seen.Mark, *seen.Mark.Lease
		l.Until = seen.At.Add(s.r.leaseFor())
		m.Lease = &l
		return s.r.Platform.Claim(ctx, seen.Token, m)
	})
}

// attempts bounds how often an act is tried against our own heartbeat.
const attempts = 20

// see looks at the platform. One that stops answering in the middle of a phase
// is worth patience: it is asked again for as long as a lease lives, since it
// may be starting anew.
func (s *session) see(ctx context.Context, patient bool) (rollout.Observation, error) {
	until := s.r.Clock.Now().Add(s.r.leaseFor())
	for {
		seen, err := s.r.Platform.Observe(ctx)
		if err == nil {
			return seen, nil
		}
		again := patient && errors.Is(err, rollout.ErrUnavailable) && s.r.Clock.Now().Before(until)
		if !again {
			return seen, fmt.Errorf("look at the platform: %w", err)
		}
		if serr := s.r.Clock.Sleep(ctx, s.r.leaseFor()/100); serr != nil {
			return seen, serr
		}
	}
}

// guarded observes, makes sure that the platform is still ours, and acts on
// what was seen. It looks again when the token went stale in between.
func (s *session) guarded(ctx context.Context, act func(seen rollout.Observation) error) error {
	var err error
	for range attempts {
		seen, oerr := s.see(ctx, true)
		if oerr != nil {
			return oerr
		}
		if !seen.Mark.HeldBy(s.r.Holder) || seen.Mark.Epoch != s.lease.epoch {
			return s.takenOver(seen.Mark)
		}
		err = act(seen)
		if !errors.Is(err, rollout.ErrConflict) && !errors.Is(err, rollout.ErrUnavailable) {
			return err
		}
	}
	return fmt.Errorf("%d attempts: %w", attempts, err)
}

func (s *session) takenOver(m *rollout.Mark) error {
	if m == nil || m.Lease == nil {
		return fmt.Errorf("%w: the lease is gone", errTakenOver)
	}
	return fmt.Errorf("%w: %s, phase %s", errTakenOver, m.Lease.Holder, m.Lease.Phase)
}

// stamp changes the mark.
func (s *session) stamp(ctx context.Context, edit func(*rollout.Mark)) error {
	s.lease.mu.Lock()
	defer s.lease.mu.Unlock()
	return s.guarded(ctx, func(seen rollout.Observation) error {
		m := *seen.Mark
		edit(&m)
		if err := s.r.Platform.Claim(ctx, seen.Token, m); err != nil {
			return fmt.Errorf("stamp the platform: %w", err)
		}
		s.lease.epoch = m.Epoch
		return nil
	})
}
