package phase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// do does one step and writes down what was observed of it. A step that
// changes traffic, instances or schema is written down before it, too.
func (s *session) do(ctx context.Context, step plan.Step) error {
	switch step := step.(type) {
	case plan.Open:
		return s.open(ctx, step.Opened)
	case plan.Migrate:
		return s.migrate(ctx, step)
	case plan.Claim:
		return s.claimUses(ctx, step)
	case plan.Look:
		return s.survey(ctx, step)
	case plan.Verify:
		return s.verify(ctx, step)
	case plan.Launch:
		return s.launch(ctx, step)
	case plan.Check:
		return s.check(ctx, step)
	case plan.Shift:
		return s.shift(ctx, step)
	case plan.Replace:
		return s.replace(ctx, step)
	case plan.Refill:
		return s.refill(ctx, step)
	case plan.Succeed:
		return s.succeed(ctx, step)
	case plan.Watch:
		return s.watch(ctx, step.Until)
	case plan.Rule:
		return s.note(ctx, step.Judged)
	case plan.GoBack:
		return s.goBack(ctx, step)
	case plan.Remove:
		return s.remove(ctx, step)
	case plan.Settle:
		return s.settle(ctx, step)
	case plan.Hold:
		return s.write(ctx, nil, append(s.beginning(), step.Held)...) // it is asked for to be in force
	case plan.Adopt:
		return s.takeOver(ctx, step.Adopted)
	case plan.Acknowledge:
		s.in.WentBack = true
		return s.write(ctx, nil, append(s.beginning(), step.RolledBack)...)
	}
	return fmt.Errorf("step %T is not known", step)
}

func (s *session) verify(ctx context.Context, step plan.Verify) error {
	evidence, err := s.db.Verify(ctx, step.Change, step.Scope)
	if err != nil {
		return fmt.Errorf("change %s: verify: %w", step.Change.ID, err)
	}
	if s.in.Verified == nil {
		s.in.Verified = map[string]change.Evidence{}
	}
	s.in.Verified[step.Change.ID] = evidence
	return nil
}

func (s *session) launch(ctx context.Context, step plan.Launch) error {
	r := step.Spec.Revision
	if err := s.note(ctx, rollout.Launching{Side: step.Side, Revision: r}); err != nil {
		return err
	}
	sides, err := s.sides()
	if err != nil {
		return err
	}
	begun := s.r.Clock.Now()
	limited, cancel := s.within(ctx, s.in.Config.ReadyWithin)
	defer cancel()
	err = s.guarded(limited, func(seen rollout.Observation) error {
		return sides.Launch(limited, seen.Token, step.Side, step.Spec)
	})
	if err != nil {
		return s.notReady(ctx, limited, step, err)
	}
	if err := s.observe(ctx); err != nil {
		return err
	}
	return s.note(ctx, rollout.Launched{
		Side: step.Side, Revision: r, Instances: s.in.Seen.Sides[step.Side].Ready,
		Seconds: s.r.Clock.Now().Sub(begun).Round(time.Millisecond).Seconds(),
	})
}

// within bounds what waits for instances.
func (s *session) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("not ready within %s", d))
}

// notReady says which instances did not come up, with their last words.
func (s *session) notReady(ctx, limited context.Context, step plan.Launch, err error) error {
	if limited.Err() != nil && ctx.Err() == nil {
		err = context.Cause(limited)
	}
	if oerr := s.observe(ctx); oerr != nil {
		return errors.Join(err, oerr)
	}
	st := s.in.Seen.Sides[step.Side]
	err = fmt.Errorf("candidate %s: %d of %d instances are ready: %w", step.Spec.Revision, st.Ready, step.Spec.Instances, err)
	for _, i := range st.Instances {
		if i.Problem != "" {
			return fmt.Errorf("%w; %s: %s", err, i.Name, i.Problem)
		}
	}
	return err
}

// nearest is the weight that can be had instead of the one that is asked for.
func (s *session) nearest(ctx context.Context, step plan.Shift) (rollout.Weight, error) {
	coarse, ok := s.r.Platform.(Coarse)
	if !ok || step.To == 0 || step.To == rollout.Full {
		return step.To, nil
	}
	split, err := coarse.Nearest(ctx, rollout.SplitTo(step.Side, step.To))
	if err != nil {
		return step.To, err
	}
	w := split.Of(step.Side)
	if step.From < step.To && w <= step.From {
		return w, fmt.Errorf("shift traffic: weight %s cannot be had here, the nearest is %s: promote to another step", step.To, w)
	}
	if w != step.To {
		s.warn(fmt.Sprintf("weight %s cannot be had here, the nearest is %s", step.To, w))
	}
	return w, nil
}

func (s *session) shift(ctx context.Context, step plan.Shift) (err error) {
	if step.To, err = s.nearest(ctx, step); err != nil {
		return err
	}
	if _, begun := s.in.State.Pending.(*rollout.Shifting); !begun {
		err := s.write(ctx, nil, rollout.Shifting{From: step.From, To: step.To, Reason: step.Reason})
		if err != nil {
			return err
		}
	}
	s.remember(ctx, step.To)
	decided, err := s.route(ctx, rollout.SplitTo(step.Side, step.To))
	if err != nil {
		return err
	}
	s.in.Judgement = nil
	return s.write(ctx, nil, rollout.Shifted{
		From: step.From, To: step.To, Reason: step.Reason, Decided: decided, InForce: s.in.Seen.SplitSince,
	})
}

// route puts a split in force, reads it back and tells when it was decided. A
// split in force already was decided when it came into force.
func (s *session) route(ctx context.Context, split rollout.Split) (time.Time, error) {
	if err := s.observe(ctx); err != nil {
		return time.Time{}, err
	}
	if s.in.Seen.Split == split {
		return s.in.Seen.SplitSince, nil
	}
	sides, err := s.sides()
	if err != nil {
		return time.Time{}, err
	}
	decided := s.in.Seen.At
	err = s.guarded(ctx, func(seen rollout.Observation) error {
		return sides.Shift(ctx, seen.Token, split)
	})
	if err != nil {
		return decided, fmt.Errorf("shift traffic: %w", err)
	}
	if err := s.observe(ctx); err != nil {
		return decided, err
	}
	if s.in.Seen.Split != split {
		return decided, fmt.Errorf("shift traffic: in force is blue %s, green %s, asked for was blue %s, green %s",
			s.in.Seen.Split.Blue, s.in.Seen.Split.Green, split.Blue, split.Green)
	}
	return decided, nil
}
