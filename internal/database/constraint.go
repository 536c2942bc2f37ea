package database

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// constraint is a constraint as the catalogue has it.
type constraint struct {
	oid       uint32
	name      string
	kind      string // contype
	validated bool
	columns   []string
	// definition is what would create it again, every name qualified, without
	// NOT VALID.
	definition string
	index      uint32 // that it stands on, 0 for none
	inherited  bool   // from a table that this one is a partition or a child of
}

func (c constraint) there() bool { return c.oid != 0 }

const notValid = " NOT VALID"

// findConstraint finds a constraint of the table by its name. Definitions are
// written under the search path of our own sessions.
func (s *session) findConstraint(ctx context.Context, q querier, t table, name string) (c constraint, err error) {
	err = q.QueryRow(ctx, `
		select k.oid, k.conname::text, k.contype::text, k.convalidated, pg_get_constraintdef(k.oid), k.conindid, k.coninhcount > 0,
		  coalesce(array(select a.attname::text from unnest(k.conkey) with ordinality c(attnum, n)
		    join pg_attribute a on a.attrelid = k.conrelid and a.attnum = c.attnum order by c.n), '{}')
		from pg_constraint k where k.conrelid = $1 and k.conname = $2`, t.oid, name).
		Scan(&c.oid, &c.name, &c.kind, &c.validated, &c.definition, &c.index, &c.inherited, &c.columns)
	if errors.Is(err, pgx.ErrNoRows) {
		return constraint{}, nil
	}
	if err != nil {
		return c, fmt.Errorf("look for constraint %s: %w", ident(name), err)
	}
	c.definition = strings.TrimSuffix(c.definition, notValid)
	return c, nil
}

// wanted is a constraint that an operation adds: its definition as PostgreSQL
// writes it, what it is called in messages, and the rows that it would reject.
type wanted struct {
	name, definition, what string
	offenders              func(ctx context.Context) (offenders, error)
}

// refuseOther refuses a constraint that has the name and is another one.
func (w work) refuseOther(t table, name string) error {
	return &RefusedError{Change: w.change.ID, Reasons: []string{fmt.Sprintf("constraint %s of table %s is there already, and another one", ident(name), t.ident())},
		Remedy: "give the constraint another name"}
}

// addConstraint adds a check or a foreign key: first for rows to come, which
// takes an instant, then for those that are there, while everybody goes on.
// Rows that break it are told of before anything is done.
func (w work) addConstraint(ctx context.Context, t table, want wanted) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID, Detail: want.definition}
	there, err := w.s.findConstraint(ctx, w.s, t, want.name)
	switch {
	case err != nil:
		return e, err
	case there.there() && there.definition != want.definition:
		return e, w.refuseOther(t, want.name)
	case there.there() && there.validated:
		return w.done(ctx, e)
	case !there.there():
		bad, err := want.offenders(ctx)
		if err != nil {
			return e, err
		}
		if bad.count > 0 {
			return e, w.rejected(want.what, bad)
		}
		if err = w.lay(ctx, t, want); err != nil {
			return e, err
		}
	}
	err = w.validate(ctx, t, want.name)
	if !violated(err) {
		if err != nil {
			return e, err
		}
		return w.done(ctx, e)
	}
	// Rows came in between. Were the constraint left, no other column of theirs
	// could be written.
	bad, lookErr := want.offenders(ctx)
	if dropErr := w.lift(ctx, t, want); dropErr != nil || lookErr != nil || bad.count == 0 {
		return e, errors.Join(err, lookErr, dropErr)
	}
	return e, w.rejected(want.what, bad)
}

// lay adds a constraint for rows to come. A foreign key lets readers pass.
func (w work) lay(ctx context.Context, t table, want wanted) error {
	tables, err := w.s.lockedBy(ctx, w.s, t, want.definition)
	if err != nil {
		return err
	}
	mode := nobody
	if _, is := referred(want.definition); is {
		mode = noWriters
	}
	return w.onTable(ctx, mode, tables, func(tx pgx.Tx) error {
		return w.run(ctx, tx, fmt.Sprintf("alter table %s add constraint %s %s not valid", t.ident(), ident(want.name), want.definition))
	})
}

// lift drops a constraint again.
func (w work) lift(ctx context.Context, t table, want wanted) error {
	tables, err := w.s.lockedBy(ctx, w.s, t, want.definition)
	if err != nil {
		return err
	}
	return w.onTable(ctx, nobody, tables, func(tx pgx.Tx) error {
		return w.run(ctx, tx, fmt.Sprintf("alter table %s drop constraint %s", t.ident(), ident(want.name)))
	})
}

// alter runs one statement that locks the table, with all its partitions, for an
// instant.
func (w work) alter(ctx context.Context, t table, statement string) error {
	return w.onTable(ctx, nobody, []table{t}, func(tx pgx.Tx) error { return w.run(ctx, tx, statement) })
}

// alterAlone runs one statement that locks none of the table's partitions.
func (w work) alterAlone(ctx context.Context, t table, statement string) error {
	return w.db.inTransaction(ctx, w.s, "table "+t.ident(), func(tx pgx.Tx) error { return w.run(ctx, tx, statement) })
}

// validate reads the whole table, under a lock that lets readers and writers go
// on.
func (w work) validate(ctx context.Context, t table, name string) error {
	return w.onTable(ctx, noOtherDDL, []table{t}, func(tx pgx.Tx) error {
		if err := w.s.runs(ctx, tx, w.db.options.IndexTimeout); err != nil {
			return err
		}
		return w.run(ctx, tx, fmt.Sprintf("alter table %s validate constraint %s", t.ident(), ident(name)))
	})
}

// violated tells whether err is about rows that break a constraint.
func violated(err error) bool {
	return slices.Contains([]string{"23502", "23503", "23505", "23514"}, sqlState(err))
}

// withdraw drops a constraint that addConstraint made, and no other.
func (w work) withdraw(ctx context.Context, t table, want wanted) (change.Evidence, error) {
	tables, err := w.s.lockedBy(ctx, w.s, t, want.definition)
	if err != nil {
		return change.Evidence{Step: w.step.ID}, err
	}
	return w.once(ctx, tables, func(ctx context.Context, tx pgx.Tx) (string, error) {
		there, err := w.s.findConstraint(ctx, tx, t, want.name)
		if err != nil || !there.there() || there.definition != want.definition {
			return "", err
		}
		return fmt.Sprintf("alter table %s drop constraint %s", t.ident(), ident(want.name)), nil
	})
}

// standsFor tells whether a constraint is in force for every row.
func (w work) standsFor(ctx context.Context, t table, want wanted) ([]change.CheckResult, error) {
	there, err := w.s.findConstraint(ctx, w.s, t, want.name)
	if err != nil {
		return nil, err
	}
	return []change.CheckResult{inForce("constraint "+want.name+" is in force", there.validated && there.definition == want.definition)}, nil
}

// free refuses a constraint whose name is taken.
func (i *inspector) free(ctx context.Context, want wanted) error {
	there, err := i.s.findConstraint(ctx, i.s, i.t, want.name)
	if err != nil || !there.there() || i.begun() && there.definition == want.definition {
		return err
	}
	i.refuse("%s: table %s has a constraint of this name already", want.what, i.t.ident())
	return nil
}

// begun tells whether the change was begun, so that what it makes may be there.
func (i *inspector) begun() bool { return i.st.state != rollout.Absent }

// there tells whether the table is there; else the change creates it.
func (i *inspector) there() bool { return i.t.oid != 0 }

// has tells whether the table has a column, or gets it from this change; there
// tells whether it has it now.
func (i *inspector) has(name string) (has, there bool) {
	_, there = i.t.column(name)
	return there || slices.ContainsFunc(i.c.Added(), func(a change.AddColumn) bool { return a.Name == name }), there
}

// usable refuses columns that are not there, or that contract drops.
func (i *inspector) usable(what string, columns []string) (now bool) {
	now = true
	for _, name := range columns {
		has, there := i.has(name)
		if !has {
			i.refuse("%s: table %s has no column %q", what, i.t.ident(), name)
		}
		if slices.Contains(i.c.Dropped(), name) {
			i.refuse("%s: contract drops column %q", what, name)
		}
		now = now && there
	}
	return now
}
