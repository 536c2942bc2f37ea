package database

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// UndoOperation takes one operation back, as a step of the way back does.
func (db *DB) UndoOperation(ctx context.Context, c change.Change, step change.Step) (e change.Evidence, err error) {
	r, err := recipeOf(step.Operation.Kind())
	if err != nil {
		return e, err
	}
	err = db.with(ctx, c.ID, func(s *session) error {
		st, err := standingOf(ctx, s, c.ID)
		if err != nil {
			return err
		}
		e, err = r.undo(ctx, work{db: db, s: s, change: c, standing: st, step: step, progress: func(change.Progress) {}})
		return err
	})
	return e, err
}

// WithoutPassword is how a connection string is given to pg_dump.
func WithoutPassword(text string) string { return withoutPassword(text) }

// Trace shows a tracer every statement from now on.
func (db *DB) Trace(tracer pgx.QueryTracer) { db.config.Tracer = tracer }
