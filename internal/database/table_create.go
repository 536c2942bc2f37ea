package database

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// createTable creates the change's table. Nobody uses it yet, so that only its
// foreign keys meet the locks of others: each is made in a transaction of its
// own.
type createTable struct{}

// look has PostgreSQL read the table as a temporary one. What follows in the
// change is then looked at on that.
func (createTable) look(ctx context.Context, i *inspector, o change.Operation) error {
	if i.t.oid != 0 && i.t.oid == i.st.relation {
		return nil // made by this change
	}
	place, err := i.s.findObject(ctx, i.s, i.c.Table)
	if err != nil {
		return err
	}
	if place.there() {
		i.refuse("create_table: %s is there already", place.ident())
		return nil
	}
	i.facts.Table = place.ident()
	if err := i.mayCreate(ctx, "create_table "+i.c.Table, place); err != nil {
		return err
	}
	return i.s.aside(ctx, i.s, func(tx pgx.Tx) error { return i.tryTable(ctx, tx, place, *o.CreateTable) })
}

func (i *inspector) tryTable(ctx context.Context, tx pgx.Tx, o named, t change.CreateTable) error {
	temp := pgx.Identifier{"pg_temp", o.name}.Sanitize()
	refused, err := try(ctx, tx, "create temp table "+tableText(ident(o.name), t))
	if err != nil {
		return fmt.Errorf("try table %s: %w", o.ident(), err)
	}
	if refused != nil {
		i.refuse("create_table: %s", refused)
		return nil
	}
	for n, f := range t.ForeignKeys {
		if err := i.tryReference(ctx, tx, o, f, n); err != nil {
			return err
		}
	}
	i.t = table{schema: o.schema, name: o.name, kind: "r"}
	probe := i.t
	if err := tx.QueryRow(ctx, `select $1::regclass::oid`, temp).Scan(&probe.oid); err != nil {
		return fmt.Errorf("look at %s: %w", temp, err)
	}
	if _, err := tx.Exec(ctx, `set local search_path = pg_catalog, pg_temp`); err != nil {
		return fmt.Errorf("set the search path: %w", err)
	}
	if err := i.s.describe(ctx, tx, &probe); err != nil {
		return err
	}
	i.t.columns, i.t.key = probe.columns, probe.key
	return nil
}

// tryReference tries a foreign key of the temporary table on another that is like
// the one it refers to.
func (i *inspector) tryReference(ctx context.Context, tx pgx.Tx, o named, f change.AddForeignKey, n int) error {
	far, err := i.s.farTable(ctx, tx, o, f)
	if err != nil {
		return err
	}
	i.touches("references " + far.ident())
	temp := pgx.Identifier{"pg_temp", o.name}.Sanitize()
	like := temp
	switch {
	case far.schema == o.schema && far.name == o.name:
	case !far.there():
		i.warn("foreign key %s: table %s is not there yet; it must be when expand comes to it", ident(f.Name), f.References.Table)
		return nil
	default:
		like = pgx.Identifier{"pg_temp", fmt.Sprintf("gapless_far_%d", n)}.Sanitize()
		_, err := tx.Exec(ctx, fmt.Sprintf("create temp table %s (like %s including indexes)", like, far.ident()))
		if err != nil {
			return fmt.Errorf("make a table like %s: %w", far.ident(), err)
		}
	}
	refused, err := try(ctx, tx, fmt.Sprintf("alter table %s add %s", temp, referenceText(f, like)))
	if err != nil {
		return fmt.Errorf("try foreign key %s: %w", ident(f.Name), err)
	}
	if refused != nil {
		i.refuse("foreign key %s: %s", ident(f.Name), strings.ReplaceAll(refused.String(), strings.TrimPrefix(like, `"pg_temp".`), far.ident()))
	}
	return nil
}

// farTable is the one that a foreign key of a new table refers to.
func (s *session) farTable(ctx context.Context, q querier, o named, f change.AddForeignKey) (named, error) {
	far, err := s.findObject(ctx, q, f.References.Table)
	if err != nil {
		return far, fmt.Errorf("foreign key %s: %w", ident(f.Name), err)
	}
	if !far.there() && far.name == o.name { // the new table itself
		far.schema = o.schema
	}
	return far, nil
}

// tableText is what stands after CREATE TABLE, without the foreign keys.
func tableText(name string, t change.CreateTable) string {
	var parts []string
	for _, c := range t.Columns {
		part := ident(c.Name) + " " + c.Type
		switch {
		case c.Identity != "":
			part += " generated " + c.Identity + " as identity"
		case c.Generated != "":
			part += " generated always as (" + c.Generated + "\n) stored"
		case c.Default != "":
			part += " default (" + c.Default + "\n)"
		}
		if c.NotNull {
			part += " not null"
		}
		parts = append(parts, part)
	}
	if len(t.PrimaryKey) > 0 {
		parts = append(parts, "primary key ("+quoted(t.PrimaryKey)+")")
	}
	for _, u := range t.Unique {
		parts = append(parts, fmt.Sprintf("constraint %s unique (%s)", ident(u.Name), quoted(u.Columns)))
	}
	for _, c := range t.Checks {
		parts = append(parts, fmt.Sprintf("constraint %s check (%s\n)", ident(c.Name), c.Expression))
	}
	return fmt.Sprintf("%s (%s)", name, comma(parts))
}

func referenceText(f change.AddForeignKey, far string) string {
	text := fmt.Sprintf("constraint %s foreign key (%s) references %s (%s)", ident(f.Name), quoted(f.Columns), far, quoted(f.References.Columns))
	if f.OnDelete != "" {
		text += " on delete " + f.OnDelete
	}
	if f.OnUpdate != "" {
		text += " on update " + f.OnUpdate
	}
	return text
}

func (r createTable) do(ctx context.Context, w work) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	t := *w.step.Operation.CreateTable
	o, err := r.make(ctx, w, t)
	if err != nil {
		return e, err
	}
	for _, f := range t.ForeignKeys {
		if err := r.refer(ctx, w, o, f); err != nil {
			return e, err
		}
	}
	e.Detail = "table " + o.ident()
	return w.done(ctx, e)
}

// make makes the table and registers it, in one transaction: the one registered
// is the change's own.
func (createTable) make(ctx context.Context, w work, t change.CreateTable) (o named, err error) {
	err = w.db.inTransaction(ctx, w.s, "table "+w.change.Table, func(tx pgx.Tx) error {
		st, err := standingOf(ctx, tx, w.change.ID)
		if err != nil {
			return err
		}
		if o, err = objectOf(ctx, tx, st.relation); err != nil || o.there() {
			return err
		}
		if o, err = w.s.findObject(ctx, tx, w.change.Table); err != nil {
			return err
		}
		if o.there() {
			return w.refused("give the new table another name", "%s is there already", o.ident())
		}
		if err := w.runAs(ctx, tx, "create table "+tableText(o.ident(), t)); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update gapless.change set relation = to_regclass($2) where id = $1`, w.change.ID, o.ident())
		if err != nil {
			return fmt.Errorf("register table %s: %w", o.ident(), err)
		}
		o, err = w.s.findObject(ctx, tx, pgx.Identifier{o.schema, o.name}.Sanitize())
		return err
	})
	return o, err
}

// refer makes one foreign key: first without looking at rows, as that is under
// a lock, and then as valid. The rows are looked up one by one: there are none,
// or few.
func (createTable) refer(ctx context.Context, w work, o named, f change.AddForeignKey) error {
	var valid bool
	err := w.db.inTransaction(ctx, w.s, "table "+f.References.Table, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `select convalidated from pg_constraint where conrelid = $1 and conname = $2 and contype = 'f'`, o.oid, f.Name).Scan(&valid)
		if err == nil || !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		far, err := w.s.farTable(ctx, tx, o, f)
		if err != nil {
			return err
		}
		if !far.there() {
			return w.refused("make it first, in a change of its own before this one", "foreign key %s: there is no table %s", ident(f.Name), f.References.Table)
		}
		if err := w.s.seize(ctx, tx, noWriters, []table{o.table(), far.table()}); err != nil {
			return err
		}
		return w.run(ctx, tx, fmt.Sprintf("alter table %s add %s not valid", o.ident(), referenceText(f, far.ident())))
	})
	if err != nil || valid {
		return err
	}
	return w.db.inTransaction(ctx, w.s, "table "+o.ident(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`); err != nil {
			return fmt.Errorf("begin to validate: %w", err)
		}
		return w.run(ctx, tx, fmt.Sprintf("alter table %s validate constraint %s", o.ident(), ident(f.Name)))
	})
}

// undo drops the table where it is empty, and else puts it into the archive.
func (createTable) undo(ctx context.Context, w work) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	st, err := standingOf(ctx, w.s, w.change.ID)
	if err != nil {
		return e, err
	}
	o, err := objectOf(ctx, w.s, st.relation)
	if err != nil {
		return e, err
	}
	if !o.there() {
		return w.within(ctx, "the schema gapless", func(tx pgx.Tx, _ *change.Evidence) error { return w.forget(ctx, tx) })
	}
	if err := w.free(ctx, w.s, o.target(), true); err != nil {
		return e, err
	}
	a := shelf{w: w, t: o}
	if err := a.dropReferences(ctx); err != nil {
		return e, err
	}
	return w.within(ctx, "table "+o.ident(), func(tx pgx.Tx, e *change.Evidence) error {
		if err := a.lock(ctx, tx); err != nil {
			return err
		}
		var used bool
		if err := tx.QueryRow(ctx, fmt.Sprintf(`select exists (select from %s)`, o.ident())).Scan(&used); err != nil {
			return fmt.Errorf("look for rows of %s: %w", o.ident(), err)
		}
		if used {
			if err := a.take(ctx, tx, e); err != nil {
				return err
			}
		} else if err := w.run(ctx, tx, "drop table "+o.ident()); err != nil {
			return err
		}
		e.Dropped = append(e.Dropped, "table "+o.ident())
		if _, err := tx.Exec(ctx, `update gapless.change set relation = null where id = $1`, w.change.ID); err != nil {
			return fmt.Errorf("forget table %s: %w", o.ident(), err)
		}
		return w.forget(ctx, tx)
	})
}

func (createTable) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	st, err := standingOf(ctx, w.s, w.change.ID)
	if err != nil {
		return nil, err
	}
	o, err := objectOf(ctx, w.s, st.relation)
	if err != nil {
		return nil, err
	}
	results := []change.CheckResult{inForce("table "+w.change.Table+" is there", o.is("rp"))}
	for _, f := range w.step.Operation.CreateTable.ForeignKeys {
		var valid bool
		err := w.s.QueryRow(ctx, `select exists (select from pg_constraint where conrelid = $1 and conname = $2 and contype = 'f' and convalidated)`, o.oid, f.Name).Scan(&valid)
		if err != nil {
			return nil, fmt.Errorf("look for foreign key %s: %w", ident(f.Name), err)
		}
		results = append(results, inForce("foreign key "+f.Name+" is valid", valid))
	}
	return results, nil
}
