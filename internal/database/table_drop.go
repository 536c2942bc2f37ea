package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// dropTable takes the change's table away into the archive.
type dropTable struct{}

func (dropTable) look(ctx context.Context, i *inspector, o change.Operation) error {
	if i.t.schema == "gapless" { // taken away already
		return nil
	}
	if i.t.inherits || i.t.kind != "r" {
		i.refuse("drop_table: %s takes part in inheritance or is partitioned: detach and drop its parts first", i.t.ident())
		return nil
	}
	published, err := publishedByName(ctx, i.s, i.t.oid)
	if err != nil {
		return err
	}
	if len(published) > 0 && i.c.Accept.Published == "" {
		i.refuse("drop_table: %s is published (%s); say under accept.published why it may leave them", i.t.ident(), comma(published))
	}
	t := named{oid: i.t.oid, schema: i.t.schema, name: i.t.name}
	a := shelf{t: t}
	names, definitions, err := a.references(ctx, i.s)
	if err != nil {
		return err
	}
	for n, name := range names {
		i.facts.Dependents = append(i.facts.Dependents, change.Dependent{Kind: "foreign key", Name: ident(name) + " of " + t.ident(), Definition: definitions[n], Fate: change.Dropped})
	}
	return i.drops(ctx, o, doomed{target: t.target(), kind: "table", label: t.ident()})
}

func (dropTable) do(ctx context.Context, w work) (change.Evidence, error) {
	e, done, err := w.did(ctx, w.s)
	if err != nil || done {
		return e, err
	}
	o, err := objectOf(ctx, w.s, w.standing.relation)
	if err != nil {
		return e, err
	}
	if !o.there() {
		return e, w.refused("", "its table is gone without a trace in the archive")
	}
	if err := w.free(ctx, w.s, o.target(), true); err != nil {
		return e, err
	}
	published, err := publishedByName(ctx, w.s, o.oid)
	if err != nil {
		return e, err
	}
	if len(published) > 0 && w.change.Accept.Published == "" {
		return e, w.refused("take it out of them, or say under accept.published why it may leave them", "%s is published (%s)", o.ident(), comma(published))
	}
	a := shelf{w: w, t: o}
	if err := a.unpublish(ctx); err != nil {
		return e, err
	}
	if err := a.dropReferences(ctx); err != nil {
		return e, err
	}
	return w.within(ctx, "table "+o.ident(), func(tx pgx.Tx, e *change.Evidence) error {
		if err := a.lock(ctx, tx); err != nil {
			return err
		}
		if err := w.free(ctx, tx, o.target(), false); err != nil {
			return err
		}
		if left, _, err := a.references(ctx, tx); err != nil || len(left) > 0 {
			return w.referencesLeft(err, left)
		}
		e.Dropped = append(e.Dropped, "table "+o.ident())
		return a.take(ctx, tx, e)
	})
}

// referencesLeft is a foreign key that came after the others were dropped.
func (w work) referencesLeft(err error, left []string) error {
	if err != nil {
		return err
	}
	return w.refused("run this again", "foreign keys were added meanwhile: %s", quoted(left))
}

func (dropTable) verify(context.Context, work) ([]change.CheckResult, error) { return nil, nil }

// noWayBack is asking an operation of contract to be taken back as expand's are.
func noWayBack(w work) error {
	return fmt.Errorf("%s is an operation of contract: it is not taken back", w.step.Operation.Kind())
}
