package database

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// takeBack takes back one operation of contract.
func (w work) takeBack(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	did := strings.TrimPrefix(w.step.ID, string(change.TakeBack)+"/")
	before, done, err := finished(ctx, w.s, w.change.ID, did)
	if err != nil {
		return e, err
	}
	if !done {
		return w.done(ctx, e)
	}
	switch o := w.step.Operation; o.Kind() {
	case change.OpDropView, change.OpDropFunction, change.OpDropSequence:
		return w.remake(ctx, before.Dropped)
	case change.OpDropIndex:
		return w.reindexDropped(ctx)
	case change.OpSetNotNull:
		return w.takeNull(ctx, ident(o.SetNotNull.Column))
	case change.OpDropDefault:
		return w.redefault(ctx, ident(o.DropDefault))
	default: // as in expand
		r, err := recipeOf(o.Kind())
		if err != nil {
			return e, err
		}
		undo := w
		undo.step.ID = string(change.Undo) + "/" + did
		if e, err = r.undo(ctx, undo); err != nil {
			return e, err
		}
		return w.done(ctx, e)
	}
}

// remake makes objects again that contract dropped by name.
func (w work) remake(ctx context.Context, names []string) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID, Detail: strings.Join(names, ", ")}
	return e, w.db.inTransaction(ctx, w.s, e.Detail, func(tx pgx.Tx) error {
		_, done, err := finished(ctx, tx, w.change.ID, w.step.ID)
		if err != nil || done {
			return err
		}
		for _, name := range names {
			var definition string
			err := tx.QueryRow(ctx, `select definition from gapless.archived_definition
				where change = $1 and not of_column and kind || ' ' || name = $2`, w.change.ID, name).Scan(&definition)
			if err != nil {
				return fmt.Errorf("find the definition of %s: %w", name, err)
			}
			if err := w.run(ctx, tx, definition); err != nil {
				return err
			}
		}
		return finish(ctx, tx, w.change.ID, e)
	})
}

// reindexDropped builds an index again that contract dropped by name.
func (w work) reindexDropped(ctx context.Context) (change.Evidence, error) {
	t, err := w.table(ctx)
	if err != nil {
		return change.Evidence{}, err
	}
	list, err := w.archivedOf(ctx, false, "index")
	if err != nil {
		return change.Evidence{}, err
	}
	object := pgx.Identifier{t.schema, w.step.Operation.DropIndex}.Sanitize()
	for _, d := range list {
		if d.Name != object {
			continue
		}
		if err := w.reindex(ctx, d.Definition); err != nil {
			return change.Evidence{}, fmt.Errorf("index %s: %w", d.Name, err)
		}
	}
	return w.done(ctx, change.Evidence{})
}

// redefault gives a column the default again that contract took away.
func (w work) redefault(ctx context.Context, column string) (change.Evidence, error) {
	list, err := w.archivedOf(ctx, false, "default")
	if err != nil {
		return change.Evidence{}, err
	}
	for _, d := range list {
		if d.Name == "of column "+column {
			return w.alterBack(ctx, fmt.Sprintf("alter column %s set default %s", column, d.Definition))
		}
	}
	return w.done(ctx, change.Evidence{})
}

// takeNull lets a column take NULL again that did before contract.
func (w work) takeNull(ctx context.Context, column string) (change.Evidence, error) {
	_, took, err := w.kept(ctx, w.s, archivedNullable, "column "+column)
	if err != nil {
		return change.Evidence{}, err
	}
	if !took {
		return w.done(ctx, change.Evidence{})
	}
	return w.alterBack(ctx, fmt.Sprintf("alter column %s drop not null", column))
}

func (w work) alterBack(ctx context.Context, what string) (change.Evidence, error) {
	t, err := w.table(ctx)
	if err != nil {
		return change.Evidence{}, err
	}
	return w.once(ctx, []table{t}, func(context.Context, pgx.Tx) (string, error) {
		return fmt.Sprintf("alter table %s %s", t.ident(), what), nil
	})
}
