package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// addUnique adds a unique constraint: its index is built while everybody works,
// and then takes the constraint's name on.
type addUnique struct{}

// uniqueIndex is the index that a unique constraint stands on.
func uniqueIndex(a change.AddUnique) change.CreateIndex {
	return change.CreateIndex{Name: a.Name, Columns: a.Columns, Unique: true}
}

func (addUnique) look(ctx context.Context, i *inspector, o change.Operation) error {
	if !i.there() {
		return nil
	}
	a := *o.AddUnique
	what := fmt.Sprintf("add_unique %q", a.Name)
	if !i.known(what, a.Columns) {
		return nil
	}
	i.usable(what, a.Columns)
	there, err := i.s.findConstraint(ctx, i.s, i.t, a.Name)
	if err != nil {
		return err
	}
	if there.there() && (!i.begun() || there.kind != "u") {
		i.refuse("%s: table %s has a constraint of this name already", what, i.t.ident())
		return nil
	}
	return i.indexable(ctx, what, uniqueIndex(a))
}

func (addUnique) want(ctx context.Context, w work) (t table, ix indexSpec, err error) {
	if t, err = w.table(ctx); err != nil {
		return t, ix, err
	}
	err = w.readIndex(ctx, t, uniqueIndex(*w.step.Operation.AddUnique), &ix)
	return t, ix, err
}

func (r addUnique) do(ctx context.Context, w work) (change.Evidence, error) {
	t, ix, err := r.want(ctx, w)
	if err != nil {
		return change.Evidence{}, err
	}
	begun := w.db.options.Now()
	if err := w.unlessDuplicates(ctx, t, ix); err != nil {
		return change.Evidence{}, err
	}
	if t.kind == "p" {
		err = partitioned{w, t, ix, true}.ensure(ctx)
	} else {
		err = w.ensureUnique(ctx, t, ix, "")
	}
	if err != nil {
		return change.Evidence{}, err
	}
	return w.done(ctx, change.Evidence{Detail: fmt.Sprintf("unique (%s)", comma(ix.parts)), Seconds: w.db.options.Now().Sub(begun).Seconds()})
}

// ensureUnique builds a constraint's index and puts the constraint on it.
func (w work) ensureUnique(ctx context.Context, t table, ix indexSpec, deferred string) error {
	if err := w.ensureIndex(ctx, t, ix); err != nil {
		return err
	}
	return w.onTable(ctx, nobody, []table{t}, func(tx pgx.Tx) error {
		found, err := w.s.findIndex(ctx, tx, t, ix.name)
		if err != nil || found.constraint != "" {
			return err
		}
		return w.run(ctx, tx, fmt.Sprintf("alter table %s add constraint %s unique using index %[2]s%s", t.ident(), ident(ix.name), deferred))
	})
}

func (r addUnique) undo(ctx context.Context, w work) (change.Evidence, error) {
	t, ix, err := r.want(ctx, w)
	if err != nil {
		return change.Evidence{}, err
	}
	if t.kind == "p" {
		err = partitioned{w, t, ix, true}.remove(ctx)
	} else {
		err = w.removeUnique(ctx, t, ix)
	}
	if err != nil {
		return change.Evidence{}, err
	}
	return w.done(ctx, change.Evidence{})
}

// removeUnique drops the constraint with its index, or the index alone where the
// constraint was not put on it yet.
func (w work) removeUnique(ctx context.Context, t table, ix indexSpec) error {
	found, err := w.s.findIndex(ctx, w.s, t, ix.name)
	if err != nil || !found.like(t, ix) || found.constraint == "" {
		if err == nil {
			err = w.removeIndex(ctx, t, ix)
		}
		return err
	}
	return w.alter(ctx, t, fmt.Sprintf("alter table %s drop constraint %s", t.ident(), ident(found.constraint)))
}

func (r addUnique) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	t, ix, err := r.want(ctx, w)
	if err != nil {
		return nil, err
	}
	found, err := w.s.findIndex(ctx, w.s, t, ix.name)
	if err != nil {
		return nil, err
	}
	return []change.CheckResult{inForce("constraint "+ix.name+" is in force", found.valid && found.like(t, ix) && found.constraint == ix.name)}, nil
}
