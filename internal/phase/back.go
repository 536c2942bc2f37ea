package phase

import (
	"context"
	"errors"
	"fmt"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// goBack stamps the decision, then moves traffic, then writes it down: the
// stamp is what a killed rollback goes on from.
func (s *session) goBack(ctx context.Context, step plan.GoBack) error {
	if err := s.turnBack(ctx, step.Back); err != nil {
		return err
	}
	if s.unread {
		s.readRecord(ctx)
	}
	if entries := s.turned(step); len(entries) > 0 {
		return s.write(ctx, nil, entries...)
	}
	return nil
}

// turnBack stamps the decision and moves traffic.
func (s *session) turnBack(ctx context.Context, back rollout.GoingBack) error {
	if s.in.Seen.Mark.Back == nil {
		err := s.stamp(ctx, func(m *rollout.Mark) {
			m.Back = &back
			if s.work.Request.Phase != rollout.Rollback { // which raised it when it claimed
				m.Epoch++
			}
		})
		if err != nil {
			return err
		}
	}
	if err := s.giveBack(ctx); err != nil {
		return err
	}
	s.in.WentBack = true
	return nil
}

// turned are the entries that say so; none where no rollout is under way.
func (s *session) turned(step plan.GoBack) []rollout.Data {
	if s.unrecorded || s.in.State == nil || s.in.State.Stage == rollout.StageSettled {
		return nil
	}
	entries := s.beginning()
	if step.Judged != nil {
		entries = append(entries, *step.Judged)
	}
	return append(entries, rollout.RolledBack{
		From: step.Back.From, Reason: step.Back.Reason, Decided: step.Back.Decided,
		InForce: s.in.Seen.SplitSince, Epoch: s.lease.epoch,
	})
}

// giveBack gives all traffic to stable: in one move where it stands beside the
// candidate, batch by batch where it was replaced.
func (s *session) giveBack(ctx context.Context) error {
	m := s.in.Seen.Mark
	switch {
	case m.Stable.Zero():
		return nil
	case m.Strategy == rollout.Rolling:
		return s.rollBack(ctx, m.Stable)
	}
	_, err := s.route(ctx, rollout.SplitTo(m.StableSide, rollout.Full))
	return err
}

func (s *session) remove(ctx context.Context, step plan.Remove) error {
	cut, err := s.stop(ctx, step)
	if err != nil {
		return fmt.Errorf("drain and stop %s on side %s: %w", step.Revision, step.Side, err)
	}
	if err := s.observe(ctx); err != nil {
		return err
	}
	if step.Back {
		s.in.WentBack = true
		if err := s.stamp(ctx, func(m *rollout.Mark) { *m = m.Without() }); err != nil {
			return err
		}
	}
	if s.in.State != nil {
		if err := s.note(ctx, rollout.Retired{Side: step.Side, Revision: step.Revision, Cut: cut}); err != nil {
			return err
		}
	}
	return s.observe(ctx)
}

// stop drains and stops a side, unless the way back of a rolling update has
// done so already.
func (s *session) stop(ctx context.Context, step plan.Remove) (cut int, err error) {
	if m := s.in.Seen.Mark; step.Back && m.Strategy == rollout.Rolling && !m.Stable.Zero() {
		return s.cut, nil
	}
	sides, err := s.sides()
	if err != nil {
		return 0, err
	}
	err = s.guarded(ctx, func(seen rollout.Observation) error {
		n, err := sides.Retire(ctx, seen.Token, step.Side)
		cut += n
		return err
	})
	return cut, err
}

// interrupted leaves things safe after a signal, as the config asks: by
// giving all traffic back, or by holding where the phase stood. What it notes
// is saved with the end of the phase, for which little time is left.
func (s *session) interrupted(ctx context.Context, cause error) (plan.End, error) {
	if errors.Is(cause, errTakenOver) {
		return plan.End{Outcome: rollout.Stopped, Reason: cause.Error(), Hint: "gapless status shows what it did"}, cause
	}
	end := plan.End{Outcome: rollout.Stopped, Reason: "cancelled", Hint: goesOn}
	p := s.work.Request.Phase
	if s.in.Config.OnCancel != config.CancelRollback || p != rollout.Deploy && p != rollout.Promote {
		return end, cause
	}
	if s.in.State != nil && plan.Settles(*s.in.State) { // it was being settled, to be superseded
		return end, cause
	}
	if err := s.observe(ctx); err != nil {
		return stuck(err), errors.Join(cause, err)
	}
	m := s.in.Seen.Mark
	if m == nil || m.Candidate.Zero() || m.Stable.Zero() || m.StableSide == "" {
		return end, cause
	}
	back := plan.GoBack{Back: rollout.GoingBack{
		Reason: "phase " + string(p) + " was cancelled", From: s.in.Seen.Split.Of(m.CandidateSide), Decided: s.in.Seen.At,
	}}
	err := s.turnBack(ctx, back.Back)
	if err == nil {
		err = s.note(ctx, s.turned(back)...)
	}
	if err != nil && m.Strategy == rollout.Rolling && s.in.Seen.Mark.Back != nil {
		end.Reason, end.Hint = "cancelled; the way back has begun, batch by batch", "run gapless rollback: it finishes it"
		return end, errors.Join(cause, err)
	}
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
