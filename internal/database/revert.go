package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// revert carries out one step of the way back of expand, from wherever that
// stopped.
func (w work) revert(ctx context.Context) (change.Evidence, error) {
	switch w.step.Kind {
	case change.Turn:
		return w.turn(ctx)
	case change.Keep:
		return w.keepNew(ctx)
	case change.Undo:
		return w.undo(ctx)
	case change.Reverted:
		return w.reverted(ctx)
	default:
		return change.Evidence{}, fmt.Errorf("no step of kind %q in the way back of expand", w.step.Kind)
	}
}

// turn begins the way back. From here on expand is refused until it has ended.
func (w work) turn(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	return e, pgx.BeginFunc(ctx, w.s.Conn, func(tx pgx.Tx) error {
		if w.standing.state != rollout.Reverting {
			if err := move(ctx, tx, w.change.ID, rollout.Reverting, rollout.Expanding, rollout.Expanded); err != nil {
				return err
			}
		}
		return finish(ctx, tx, w.change.ID, e)
	})
}

// undo takes back one step of expand.
func (w work) undo(ctx context.Context) (change.Evidence, error) {
	switch w.step.Undoes {
	case change.AddColumns:
		return w.undoColumns(ctx)
	case change.Synchronise, change.Watch:
		return w.undoTriggers(ctx)
	case change.Operate:
		r, err := recipeOf(w.step.Operation.Kind())
		if err != nil {
			return change.Evidence{}, err
		}
		return r.undo(ctx, w)
	default:
		return change.Evidence{}, fmt.Errorf("step %q leaves nothing to undo", w.step.Undoes)
	}
}

// reverted ends the way back: of the change there is its archive, the log and
// the history.
func (w work) reverted(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	// Else one that is made anew under this name would begin paused.
	_, err := w.s.Exec(ctx, `delete from gapless.control where change = $1`, w.change.ID)
	if err != nil && sqlState(err) != undefinedTable { // begun by an older gapless
		return e, fmt.Errorf("forget that change %s was paused: %w", w.change.ID, err)
	}
	return e, pgx.BeginFunc(ctx, w.s.Conn, func(tx pgx.Tx) error {
		// What sync set aside of a change that added no column is in no archive.
		_, err := tx.Exec(ctx, `update gapless.kept set change = format('%s, taken back %s', change, to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS')) where change = $1`, w.change.ID)
		if err != nil {
			return fmt.Errorf("keep what sync set aside: %w", err)
		}
		for _, of := range []string{"checkpoint", "step", "old_form_write", "statement_seen"} {
			if _, err := tx.Exec(ctx, fmt.Sprintf(`delete from gapless.%s where change = $1`, of), w.change.ID); err != nil {
				return fmt.Errorf("forget change %s: %w", w.change.ID, err)
			}
		}
		tag, err := tx.Exec(ctx, `delete from gapless.change where id = $1 and state = 'reverting'`, w.change.ID)
		if err != nil {
			return fmt.Errorf("forget change %s: %w", w.change.ID, err)
		}
		if tag.RowsAffected() != 1 {
			return fmt.Errorf("forget change %s: it is not reverting any more", w.change.ID)
		}
		return nil
	})
}
