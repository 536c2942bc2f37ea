package database

import (
	"context"
	"fmt"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Apply carries out one step of a change. It may be repeated at any time: what
// is done already is left as it is. progress is called from time to time, never
// by two goroutines at once; it may be nil.
//
// Its errors have a Hint where there is something to do: *LockedError,
// *EditedError, *RefusedError, *change.UnverifiedError and others.
func (db *DB) Apply(ctx context.Context, c change.Change, step change.Step, progress func(change.Progress)) (change.Evidence, error) {
	if progress == nil {
		progress = func(change.Progress) {}
	}
	var e change.Evidence
	err := db.with(ctx, c.ID, func(s *session) (err error) {
		e, err = db.apply(ctx, s, c, step, progress)
		return err
	})
	e.Step = step.ID
	if err != nil {
		return e, fmt.Errorf("%s: %w", step.ID, err)
	}
	return e, nil
}

func (db *DB) apply(ctx context.Context, s *session, c change.Change, step change.Step, progress func(change.Progress)) (change.Evidence, error) {
	if step.Kind == change.Prepare {
		return db.prepare(ctx, s, c)
	}
	if step.Part == change.PartRevert {
		if st, err := standingOf(ctx, s, c.ID); err != nil || st.state == rollout.Absent { // it is over, or there was nothing
			return change.Evidence{}, err
		}
	}
	st, err := admit(ctx, s, c, string(step.Part), follows(step)...)
	if err != nil {
		return change.Evidence{}, err
	}
	if st.state == rollout.Contracted && step.Kind == change.Drop {
		return db.seal(ctx, s, c)
	}
	if st.state == rollout.Contracted && step.Part == change.PartContract {
		e, _, err := finished(ctx, s, c.ID, step.ID)
		return e, err
	}
	w := work{db: db, s: s, change: c, standing: st, step: step, progress: progress}
	switch step.Part {
	case change.PartExpand:
		return w.expand(ctx)
	case change.PartContract:
		return w.contract(ctx)
	case change.PartRevert:
		return w.revert(ctx)
	case change.PartRestore:
		return w.restore(ctx)
	}
	return change.Evidence{}, fmt.Errorf("no part %q", step.Part)
}

// follows are the states of a change in which a step makes sense.
func follows(step change.Step) []rollout.ChangeState {
	switch step.Part {
	case change.PartContract:
		states := []rollout.ChangeState{rollout.Contracting, rollout.Contracted}
		if step.Kind == change.Begin || step.Kind == change.Hide {
			states = append(states, rollout.Expanded, rollout.Hidden)
		}
		return states
	case change.PartRevert:
		states := []rollout.ChangeState{rollout.Reverting}
		if step.Kind == change.Turn {
			states = append(states, rollout.Expanding, rollout.Expanded)
		}
		return states
	case change.PartRestore:
		return returns(step.Kind)
	case change.PartExpand:
	}
	return []rollout.ChangeState{rollout.Expanding, rollout.Expanded}
}

func (w work) expand(ctx context.Context) (change.Evidence, error) {
	switch w.step.Kind {
	case change.AddColumns:
		return w.addColumns(ctx)
	case change.Synchronise:
		return w.synchronise(ctx)
	case change.Watch:
		return w.watch(ctx)
	case change.Backfill:
		return w.db.backfill(ctx, w.s, w.change, w.standing, w.progress)
	case change.Fill:
		return w.fill(ctx)
	case change.Operate:
		return w.operate(ctx)
	case change.Verifying:
		return w.db.conclude(ctx, w.s, w.change, w.standing, w.progress)
	default:
		return change.Evidence{}, fmt.Errorf("no step of kind %q in expand", w.step.Kind)
	}
}
