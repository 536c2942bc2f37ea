package phase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/config"
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
	case plan.Verify:
		return s.verify(ctx, step)
	case plan.Launch:
		return s.launch(ctx, step)
	case plan.Check:
		return s.check(ctx, step)
	case plan.Shift:
		return s.shift(ctx, step)
	case plan.Watch:
		return s.watch(ctx, step.Until)
	case plan.Rule:
		return s.write(ctx, nil, step.Judged)
	case plan.GoBack:
		return s.goBack(ctx, step)
	case plan.Remove:
		return s.remove(ctx, step)
	case plan.Settle:
		return s.settle(ctx, step)
	case plan.Acknowledge:
		return s.write(ctx, nil, step.RolledBack)
	}
	return fmt.Errorf("step %T is not known", step)
}

func (s *session) migrate(ctx context.Context, step plan.Migrate) error {
	c := step.Change
	before := rollout.Expanding
	if s.work.Request.Phase == rollout.Contract {
		before = rollout.Contracting
	}
	err := s.write(ctx, nil, rollout.Migrating{Change: c.ID, Digest: c.Digest, Step: step.Step.ID, State: before})
	if err != nil {
		return err
	}
	evidence, err := s.db.Apply(ctx, c, step.Step, func(p change.Progress) { s.tell(Event{Progress: &p}) })
	if err != nil {
		return fmt.Errorf("change %s: %s: %w", c.ID, step.Step.ID, err)
	}
	raw, err := json.Marshal(evidence)
	if err != nil {
		return fmt.Errorf("change %s: %s: keep its evidence: %w", c.ID, step.Step.ID, err)
	}
	if err := s.observe(ctx); err != nil {
		return err
	}
	delete(s.in.Facts, c.ID) // the record is newer now
	return s.write(ctx, nil, rollout.Migrated{
		Change: c.ID, Digest: c.Digest, Step: step.Step.ID, State: step.State, Evidence: raw,
	})
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
	if err := s.write(ctx, nil, rollout.Launching{Side: step.Side, Revision: r}); err != nil {
		return err
	}
	begun := s.r.Clock.Now()
	limited, cancel := context.WithTimeoutCause(ctx, s.in.Config.ReadyWithin,
		fmt.Errorf("not ready within %s", s.in.Config.ReadyWithin))
	defer cancel()
	err := s.guarded(limited, func(seen rollout.Observation) error {
		return s.r.Platform.Launch(limited, seen.Token, step.Side, step.Spec)
	})
	if err != nil {
		return s.notReady(ctx, limited, step, err)
	}
	if err := s.observe(ctx); err != nil {
		return err
	}
	return s.write(ctx, nil, rollout.Launched{
		Side: step.Side, Revision: r, Instances: s.in.Seen.Sides[step.Side].Ready,
		Seconds: s.r.Clock.Now().Sub(begun).Round(time.Millisecond).Seconds(),
	})
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

func (s *session) shift(ctx context.Context, step plan.Shift) error {
	if _, begun := s.in.State.Pending.(*rollout.Shifting); !begun {
		err := s.write(ctx, nil, rollout.Shifting{From: step.From, To: step.To, Reason: step.Reason})
		if err != nil {
			return err
		}
	}
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
	decided := s.in.Seen.At
	err := s.guarded(ctx, func(seen rollout.Observation) error {
		return s.r.Platform.Shift(ctx, seen.Token, split)
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

// goBack stamps the decision, then moves traffic, then writes it down: the
// stamp is what a killed rollback goes on from.
func (s *session) goBack(ctx context.Context, step plan.GoBack) error {
	side := s.in.Seen.Mark.StableSide
	if s.in.Seen.Mark.Back == nil {
		err := s.stamp(ctx, func(m *rollout.Mark) {
			m.Back = &step.Back
			if s.work.Request.Phase != rollout.Rollback { // which raised it when it claimed
				m.Epoch++
			}
		})
		if err != nil {
			return err
		}
	}
	if !s.in.Seen.Mark.Stable.Zero() {
		if _, err := s.route(ctx, rollout.SplitTo(side, rollout.Full)); err != nil {
			return err
		}
	}
	s.in.WentBack = true
	if s.unrecorded || s.in.State == nil || s.in.State.Stage == rollout.StageSettled {
		return nil
	}
	if err := s.writeBegan(ctx); err != nil {
		return err
	}
	var entries []rollout.Data
	if step.Judged != nil {
		entries = append(entries, *step.Judged)
	}
	return s.write(ctx, nil, append(entries, rollout.RolledBack{
		From: step.Back.From, Reason: step.Back.Reason, Decided: step.Back.Decided,
		InForce: s.in.Seen.SplitSince, Epoch: s.lease.epoch,
	})...)
}

func (s *session) remove(ctx context.Context, step plan.Remove) error {
	cut := 0
	err := s.guarded(ctx, func(seen rollout.Observation) error {
		n, err := s.r.Platform.Retire(ctx, seen.Token, step.Side)
		cut += n
		return err
	})
	if err != nil {
		return fmt.Errorf("drain and stop %s on side %s: %w", step.Revision, step.Side, err)
	}
	if err := s.observe(ctx); err != nil {
		return err
	}
	edit := func(*rollout.Mark) {}
	if step.Back {
		edit = func(m *rollout.Mark) { *m = m.Without() }
		s.in.WentBack = true
	}
	if s.in.State == nil {
		return s.stamp(ctx, edit)
	}
	if err := s.write(ctx, edit, rollout.Retired{Side: step.Side, Revision: step.Revision, Cut: cut}); err != nil {
		return err
	}
	return s.observe(ctx)
}

func (s *session) settle(ctx context.Context, step plan.Settle) error {
	err := s.write(ctx, func(m *rollout.Mark) {
		m.Stable, m.StableSide = step.Settled.Stable, step.Settled.Side
		*m = m.Without()
	}, step.Settled)
	if err != nil {
		return err
	}
	s.noteUsage(ctx)
	return s.observe(ctx)
}

// interrupted leaves things safe after a signal, as the config asks: by
// giving all traffic back, or by holding where the phase stood.
func (s *session) interrupted(parent context.Context, cause error) (plan.End, error) {
	again := "run this phase again: it goes on where it stopped"
	if errors.Is(cause, errTakenOver) {
		return plan.End{Outcome: rollout.Stopped, Reason: cause.Error(), Hint: "gapless status shows what it did"}, cause
	}
	end := plan.End{Outcome: rollout.Stopped, Reason: "cancelled", Hint: again}
	p := s.work.Request.Phase
	if s.in.Config.OnCancel != config.CancelRollback || p != rollout.Deploy && p != rollout.Promote {
		return end, cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), s.r.grace())
	defer cancel()
	if err := s.observe(ctx); err != nil {
		return stuck(err), errors.Join(cause, err)
	}
	m := s.in.Seen.Mark
	if m == nil || m.Candidate.Zero() || m.Stable.Zero() || m.StableSide == "" {
		return end, cause
	}
	err := s.goBack(ctx, plan.GoBack{Back: rollout.GoingBack{
		Reason: "phase " + string(p) + " was cancelled", From: s.in.Seen.Split.Of(m.CandidateSide), Decided: s.in.Seen.At,
	}})
	if err != nil {
		return stuck(err), errors.Join(cause, err)
	}
	end.Reason, end.Hint = "cancelled; all traffic is back on stable", "remove what is left of the candidate with gapless rollback"
	return end, cause
}

// stuck is the end of a cancelled phase whose way back failed: that stable
// serves is then not known.
func stuck(err error) plan.End {
	return plan.End{
		Outcome: rollout.NeedsPerson, Reason: "cancelled, and the way back failed: " + reason(err),
		Hint: "run gapless rollback now",
	}
}
