package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// Trace shows a tracer every statement from now on.
func (db *DB) Trace(tracer pgx.QueryTracer) { db.config.Tracer = tracer }

// Undo takes back the operations of expand and the columns it added, the last
// first, as the steps of the way back do.
func (db *DB) Undo(ctx context.Context, c change.Change) error {
	return db.with(ctx, c.ID, func(s *session) error {
		st, err := standingOf(ctx, s, c.ID)
		if err != nil {
			return err
		}
		for _, step := range change.RevertSteps(c) {
			if step.Kind != change.Undo {
				continue
			}
			w := work{db: db, s: s, change: c, standing: st, step: step, progress: func(change.Progress) {}}
			undo := w.removeColumns
			if step.Undoes == change.Operate {
				r, err := recipeOf(step.Operation.Kind())
				if err != nil {
					return err
				}
				undo = func(ctx context.Context) (change.Evidence, error) { return r.undo(ctx, w) }
			}
			if _, err := undo(ctx); err != nil {
				return fmt.Errorf("%s: %w", step.ID, err)
			}
		}
		return nil
	})
}
