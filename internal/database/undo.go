package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// Stands in until branch contract lands, whose undo.go replaces this file.

func (w work) keepNew(ctx context.Context) (change.Evidence, error) {
	return w.done(ctx, change.Evidence{})
}

func (w work) undoTriggers(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	t, there, err := tableOf(ctx, w.s, w.change)
	if err != nil || !there {
		return e, err
	}
	return e, w.db.inTransaction(ctx, w.s, "table "+t.ident(), func(tx pgx.Tx) error {
		for _, name := range syncTriggers(w.change.ID) {
			if err := w.run(ctx, tx, fmt.Sprintf("drop trigger if exists %s on %s", ident(name), t.ident())); err != nil {
				return err
			}
		}
		list, err := names(ctx, tx, `select 'drop function ' || oid::regprocedure from pg_proc where pronamespace = 'gapless'::regnamespace and proname = any($1)`,
			[]string{"sync_" + base(w.change.ID), "log_" + base(w.change.ID), "forward_" + base(w.change.ID), "backward_" + base(w.change.ID)})
		if err != nil {
			return err
		}
		for _, statement := range list {
			if err := w.run(ctx, tx, statement); err != nil {
				return err
			}
		}
		return finish(ctx, tx, w.change.ID, e)
	})
}

func (w work) undoColumns(ctx context.Context) (change.Evidence, error) {
	t, there, err := tableOf(ctx, w.s, w.change)
	if err != nil || !there {
		return change.Evidence{}, err
	}
	return w.once(ctx, "table "+t.ident(), func(context.Context, pgx.Tx) (string, error) {
		var drops []string
		for _, a := range w.change.Added() {
			if _, ok := t.column(a.Name); ok {
				drops = append(drops, "drop column "+ident(a.Name))
			}
		}
		if len(drops) == 0 {
			return "", nil
		}
		return "alter table " + t.ident() + " " + comma(drops), nil
	})
}
