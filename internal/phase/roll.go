package phase

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// sides is the platform where it holds two revisions beside each other.
func (s *session) sides() (Sides, error) {
	if sides, ok := s.r.Platform.(Sides); ok {
		return sides, nil
	}
	return nil, fmt.Errorf("%w: the platform cannot hold two revisions beside each other", rollout.ErrInput)
}

func (s *session) roller() (Roller, error) {
	if roller, ok := s.r.Platform.(Roller); ok {
		return roller, nil
	}
	return nil, fmt.Errorf("%w: the platform cannot replace instances one after the other", rollout.ErrInput)
}

// able refuses a strategy that is beyond the platform, before anything is done.
func (s *session) able() error {
	var err error
	switch s.in.Config.Strategy.Kind() {
	case rollout.Rolling:
		_, err = s.roller()
	case rollout.Canary, rollout.BlueGreen:
		_, err = s.sides()
	}
	return err
}

// replace brings a rolling update's next batch into service.
func (s *session) replace(ctx context.Context, step plan.Replace) error {
	if _, begun := s.in.State.Pending.(*rollout.Replacing); !begun {
		if err := s.write(ctx, nil, step.Replacing); err != nil {
			return err
		}
	}
	s.remember(ctx, rollout.PartOf(step.To, step.Of))
	decided := s.in.Seen.At
	done, cut, err := s.roll(ctx, step.Spec, step.To, true)
	if err != nil {
		return fmt.Errorf("replace instances %d to %d: %w", step.From+1, step.To, err)
	}
	_, side := s.in.State.Opening.Candidate, s.in.State.Opening.Side
	want := rollout.SplitTo(side, rollout.PartOf(step.To, step.Of))
	if s.in.Seen.Split != want {
		return fmt.Errorf("replace instances: in force is blue %s, green %s, asked for was blue %s, green %s",
			s.in.Seen.Split.Blue, s.in.Seen.Split.Green, want.Blue, want.Green)
	}
	done.Side = side
	s.in.Judgement = nil
	if s.in.Seen.SplitSince.Before(decided) { // a killed run had brought it into force
		decided = s.in.Seen.SplitSince
	}
	return s.write(ctx, nil, rollout.Replaced{
		Replacing: step.Replacing, Checked: done, Decided: decided, InForce: s.in.Seen.SplitSince, Cut: cut,
	})
}

// roll has so many instances run a revision, each of them tested before it
// serves where that is asked for.
func (s *session) roll(ctx context.Context, to rollout.Spec, n int, test bool) (done rollout.Checked, cut int, err error) {
	roller, err := s.roller()
	if err != nil {
		return done, 0, err
	}
	limited, cancel := s.within(ctx, s.in.Config.ReadyWithin+s.in.Config.Drain)
	defer cancel()
	err = s.guarded(limited, func(seen rollout.Observation) error {
		done = rollout.Checked{}
		var admit func(context.Context, rollout.Instance) error
		if test {
			admit = func(ctx context.Context, i rollout.Instance) error { return s.checkInstance(ctx, i, &done) }
		}
		more, err := roller.Roll(limited, seen.Token, to, n, admit)
		cut += more
		return err
	})
	if cause := context.Cause(limited); err != nil && cause != nil && ctx.Err() == nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	if oerr := s.observe(ctx); err == nil {
		err = oerr
	}
	return done, cut, err
}

// rollBack has every instance run stable again, by the definition that the
// platform kept of it.
func (s *session) rollBack(ctx context.Context, stable rollout.Revision) error {
	_, cut, err := s.roll(ctx, rollout.Spec{Revision: stable}, math.MaxInt32, false)
	s.cut += cut
	if err != nil {
		return fmt.Errorf("bring %s back: %w", stable, err)
	}
	if side, ok := s.in.Seen.SideOf(stable); !ok || s.in.Seen.Split.Of(side) != rollout.Full {
		return fmt.Errorf("bring %s back: in force is blue %s, green %s", stable, s.in.Seen.Split.Blue, s.in.Seen.Split.Green)
	}
	return nil
}

// refillWithin bounds what a way back waits for more of stable, where some of
// it stands: a bad candidate serves on meanwhile.
const refillWithin = 10 * time.Second

// refill brings stable back to its full strength. What does not come up in
// time is only warned of: whether the rest can take the traffic is decided
// anew.
func (s *session) refill(ctx context.Context, step plan.Refill) error {
	s.in.Refilled = true
	limit := refillWithin
	if s.in.Seen.Sides[step.Side].Ready == 0 {
		limit = max(limit, s.in.Config.ReadyWithin)
	}
	sides, err := s.sides()
	if err != nil {
		return err
	}
	limited, cancel := s.within(ctx, limit)
	defer cancel()
	err = s.guarded(limited, func(seen rollout.Observation) error {
		return sides.Launch(limited, seen.Token, step.Side, rollout.Spec{Revision: step.Stable})
	})
	if ctx.Err() != nil {
		return err
	}
	if err != nil {
		s.warn(fmt.Sprintf("stable %s is not at its full strength: %v", step.Stable, err))
	}
	return s.observe(ctx)
}
