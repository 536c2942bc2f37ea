package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// dropIndex drops an index of the table while everybody works, in contract, and
// keeps its definition.
type dropIndex struct{}

func (dropIndex) look(ctx context.Context, i *inspector, o change.Operation) error {
	if !i.there() {
		return nil
	}
	name := o.DropIndex
	what := fmt.Sprintf("drop_index %q", name)
	found, err := i.s.findIndex(ctx, i.s, i.t, name)
	if err != nil {
		return err
	}
	switch {
	case !found.there() && i.begun():
		return nil
	case !found.there() || found.table != i.t.oid:
		i.refuse("%s: table %s has no index of this name", what, i.t.ident())
		return nil
	case found.constraint != "":
		i.refuse("%s: constraint %s stands on it; use drop_constraint", what, ident(found.constraint))
		return nil
	case found.parent != 0:
		i.refuse("%s: it is a part of the index of a partitioned table", what)
		return nil
	}
	d := change.Dependent{Kind: "index", Name: pgx.Identifier{i.t.schema, name}.Sanitize(), Fate: change.Dropped}
	if err := i.s.QueryRow(ctx, `select pg_get_indexdef($1)`, found.oid).Scan(&d.Definition); err != nil {
		return fmt.Errorf("read index %s: %w", d.Name, err)
	}
	i.facts.Dependents = append(i.facts.Dependents, d)
	if found.unique {
		i.warn("%s: it is unique: a statement whose ON CONFLICT names its columns fails from then on", what)
	}
	return i.indexNeeded(ctx, what, found.oid)
}

func (dropIndex) do(ctx context.Context, w work) (change.Evidence, error) {
	t, err := w.table(ctx)
	if err != nil {
		return change.Evidence{}, err
	}
	name := w.step.Operation.DropIndex
	object := pgx.Identifier{t.schema, name}.Sanitize()
	e := change.Evidence{Dropped: []string{"index " + name}}
	found, err := w.s.findIndex(ctx, w.s, t, name)
	switch {
	case err != nil:
		return e, err
	case !found.there():
		return w.done(ctx, e)
	case found.table != t.oid || found.constraint != "":
		return e, &RefusedError{Change: w.change.ID, Reasons: []string{fmt.Sprintf("%s is another one now", object)}}
	}
	err = pgx.BeginFunc(ctx, w.s.Conn, func(tx pgx.Tx) error {
		var definition string
		if err := tx.QueryRow(ctx, `select pg_get_indexdef($1)`, found.oid).Scan(&definition); err != nil {
			return fmt.Errorf("read index %s: %w", object, err)
		}
		return w.keepFirst(ctx, tx, "index", object, definition)
	})
	switch {
	case err != nil:
	case t.kind == "p": // its parts cannot be dropped one by one
		err = w.alter(ctx, t, "drop index "+object+" restrict")
	default:
		err = w.concurrently(ctx, object, "drop index concurrently "+object+" restrict")
	}
	if err != nil {
		return e, err
	}
	return w.done(ctx, e)
}

// undo has nothing to do: it is of contract, from which there is no way back.
func (dropIndex) undo(ctx context.Context, w work) (change.Evidence, error) {
	return w.done(ctx, change.Evidence{})
}

func (dropIndex) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	t, err := w.table(ctx)
	if err != nil {
		return nil, err
	}
	found, err := w.s.findIndex(ctx, w.s, t, w.step.Operation.DropIndex)
	if err != nil {
		return nil, err
	}
	return []change.CheckResult{inForce("index "+w.step.Operation.DropIndex+" is gone", !found.there())}, nil
}
