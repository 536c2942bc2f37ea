package database

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// notNullMajor is the version from which on NOT NULL is a constraint that need
// not be valid from the start.
const notNullMajor = 18

// guard keeps NULL out of a column while rows that have it may still be there:
// before PostgreSQL 18 a check constraint of ours that stands in until the
// column is NOT NULL, from then on the NOT NULL constraint itself.
type guard struct {
	t      table
	column string
	own    bool   // a check of ours
	name   string // of the constraint; "" where the server gives the name
	there  bool
	valid  bool
	done   bool // the column takes no NULL, for good
}

// guardName is that of our check.
func guardName(change, column string) string {
	const hashed = 8
	return "~gapless_" + base(change) + "_nn_" + hash(column)[:hashed]
}

// findGuard tells how far a column is from taking no NULL. A guard that is not
// there yet would be given the name as.
func (w work) findGuard(ctx context.Context, q querier, t table, column, as string) (guard, error) {
	g := guard{t: t, column: column, name: as}
	major, err := w.s.major(ctx, q)
	if err != nil {
		return g, err
	}
	var notNull bool
	err = q.QueryRow(ctx, `select attnotnull from pg_attribute where attrelid = $1 and attname = $2 and not attisdropped`, t.oid, column).Scan(&notNull)
	if errors.Is(err, pgx.ErrNoRows) {
		return g, &RefusedError{Change: w.change.ID, Reasons: []string{fmt.Sprintf("table %s has no column %q", t.ident(), column)}}
	}
	if err != nil {
		return g, fmt.Errorf("look at column %q: %w", column, err)
	}
	look := `select conname::text, convalidated from pg_constraint where conrelid = $1 and contype = 'n'
		and conkey = array(select attnum from pg_attribute where attrelid = $1 and attname = $2)`
	key := column
	if g.own = major < notNullMajor; g.own {
		g.name = guardName(w.change.ID, column)
		look, key = `select conname::text, convalidated from pg_constraint where conrelid = $1 and contype = 'c' and conname = $2`, g.name
	}
	name := ""
	err = q.QueryRow(ctx, look, t.oid, key).Scan(&name, &g.valid)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return g, fmt.Errorf("look for what keeps NULL out of column %q: %w", column, err)
	}
	if g.there = err == nil; g.there {
		g.name = name
	}
	g.done = notNull && (g.own || g.valid || !g.there)
	return g, nil
}

// add is the statement that makes the guard.
func (g guard) add() string {
	named := ""
	if g.name != "" {
		named = "constraint " + ident(g.name) + " "
	}
	if g.own {
		return fmt.Sprintf("alter table %s add %scheck (%s is not null) not valid", g.t.ident(), named, ident(g.column))
	}
	return fmt.Sprintf("alter table %s add %snot null %s not valid", g.t.ident(), named, ident(g.column))
}

func (g guard) drop() string {
	return fmt.Sprintf("alter table %s drop constraint %s", g.t.ident(), ident(g.name))
}

// forbidNull lets a column take NULL no longer. Rows that have NULL get the
// value of fill first; without one there must be none. Rows are filled in before
// the guard stands, because with it no other column of theirs could be written.
func (w work) forbidNull(ctx context.Context, t table, column, fill, as string) (e change.Evidence, err error) {
	g, err := w.findGuard(ctx, w.s, t, column, as)
	if err != nil {
		return e, err
	}
	if !g.done && !g.there {
		if fill != "" {
			e, err = w.fillNulls(ctx, t, column, fill, w.step.ID)
		} else {
			err = w.noNulls(ctx, t, column)
		}
		if err == nil {
			err = w.alter(ctx, t, g.add())
		}
		if err != nil {
			return e, err
		}
		if g, err = w.findGuard(ctx, w.s, t, column, as); err != nil {
			return e, err
		}
	}
	if !g.done && !g.valid {
		if err := w.validateGuard(ctx, g, fill, &e); err != nil {
			return e, err
		}
	}
	return e, w.settleGuard(ctx, g)
}

// validateGuard looks at every row, and fills in those that got NULL between
// the walk and the guard.
func (w work) validateGuard(ctx context.Context, g guard, fill string, e *change.Evidence) error {
	err := w.validate(ctx, g.t, g.name)
	if violated(err) && fill != "" {
		again, fillErr := w.fillNulls(ctx, g.t, g.column, fill, w.step.ID+"/again")
		if fillErr != nil {
			return fillErr
		}
		e.Rows += again.Rows
		err = w.validate(ctx, g.t, g.name)
	}
	if !violated(err) {
		return err
	}
	if err := w.alter(ctx, g.t, g.drop()); err != nil {
		return err
	}
	return errors.Join(w.noNulls(ctx, g.t, g.column), err)
}

// settleGuard makes the column NOT NULL, which a valid guard spares reading the
// table for, and takes away a guard that is needed no longer. Both statements
// lock the same table alike.
func (w work) settleGuard(ctx context.Context, g guard) error {
	if !g.own {
		return nil
	}
	return w.onTable(ctx, nobody, []table{g.t}, func(tx pgx.Tx) error {
		now, err := w.findGuard(ctx, tx, g.t, g.column, "")
		if err != nil {
			return err
		}
		if !now.done {
			if err := w.run(ctx, tx, fmt.Sprintf("alter table %s alter column %s set not null", g.t.ident(), ident(g.column))); err != nil {
				return err
			}
		}
		if now.there {
			return w.run(ctx, tx, now.drop())
		}
		return nil
	})
}

// noNulls refuses to go on while rows have NULL in a column.
func (w work) noNulls(ctx context.Context, t table, column string) error {
	bad, err := w.s.offend(ctx, t, ident(column)+" is null")
	if err != nil {
		return err
	}
	if bad.count == 0 {
		return nil
	}
	return &RefusedError{Change: w.change.ID, Reasons: []string{fmt.Sprintf("column %q of table %s must take no NULL: %s have it", column, t.ident(), bad.rows())},
		Remedy: "give these rows a value, then run this again"}
}

// setNotNull lets a column take NULL no longer.
type setNotNull struct{}

func (setNotNull) look(ctx context.Context, i *inspector, o change.Operation) error {
	if !i.there() {
		return nil
	}
	a := *o.SetNotNull
	what := fmt.Sprintf("set_not_null %q", a.Column)
	now := i.usable(what, []string{a.Column})
	if has, _ := i.has(a.Column); !has {
		return nil
	}
	if a.Fill != "" {
		_, refusal, err := i.s.value(ctx, i.c, i.t, a.Column, a.Fill)
		if err != nil {
			return err
		}
		if refusal != "" {
			i.refuse("%s: fill: %s", what, refusal)
		}
		return i.fillable(ctx, a.Column)
	}
	c, _ := i.t.column(a.Column)
	switch {
	case !now, i.begun() && slices.Contains(i.c.NewColumns(), a.Column):
		return nil // it is not there yet, or not filled in
	case c.notNull:
		i.warn("%s: it takes no NULL already", what)
		return nil
	}
	return i.foresee(ctx, what, func(ctx context.Context) (offenders, error) { return i.s.offend(ctx, i.t, c.ident()+" is null") })
}

// value lets PostgreSQL read an expression that a column is to be given.
func (s *session) value(ctx context.Context, c change.Change, t table, column, sql string) (text, refusal string, err error) {
	err = s.look(ctx, func(tx pgx.Tx) (err error) {
		q := qualifier{tx: tx, s: s, c: c, t: t}
		if refusal, err = q.likeTable(ctx); err != nil || refusal != "" {
			return err
		}
		if text, refusal, err = q.text(ctx, sql); err != nil || refusal != "" {
			return err
		}
		if err := q.asOurselves(ctx); err != nil {
			return err
		}
		refusal, err = q.try(ctx, fmt.Sprintf("explain update %s set %s = %s", q.temp(), ident(column), text))
		return err
	})
	return text, refusal, err
}

func (setNotNull) do(ctx context.Context, w work) (change.Evidence, error) {
	a := *w.step.Operation.SetNotNull
	t, err := w.table(ctx)
	if err != nil {
		return change.Evidence{}, err
	}
	fill := ""
	if a.Fill != "" {
		var refusal string
		if fill, refusal, err = w.s.value(ctx, w.change, t, a.Column, a.Fill); err != nil {
			return change.Evidence{}, err
		}
		if refusal != "" {
			return change.Evidence{}, &RefusedError{Change: w.change.ID, Reasons: []string{"fill: " + refusal}}
		}
	}
	if err := w.noteNullable(ctx, t, a.Column); err != nil {
		return change.Evidence{}, err
	}
	e, err := w.forbidNull(ctx, t, a.Column, fill, "")
	if err != nil {
		return e, err
	}
	return w.done(ctx, e)
}

// archivedNullable is the kind under which a column is kept that took NULL before
// contract.
const archivedNullable = "takes null"

// noteNullable keeps that a column takes NULL, before anything is done about it:
// restore lets it take NULL again only where it did.
func (w work) noteNullable(ctx context.Context, t table, column string) error {
	if w.step.Part != change.PartContract {
		return nil
	}
	g, err := w.findGuard(ctx, w.s, t, column, "")
	if err != nil || g.done {
		return err
	}
	return pgx.BeginFunc(ctx, w.s.Conn, func(tx pgx.Tx) error {
		return w.keepFirst(ctx, tx, archivedNullable, "column "+ident(column), "")
	})
}

// undo has nothing to do: it is of contract, from which there is no way back.
func (setNotNull) undo(ctx context.Context, w work) (change.Evidence, error) {
	return w.done(ctx, change.Evidence{})
}

func (setNotNull) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	a := *w.step.Operation.SetNotNull
	t, err := w.table(ctx)
	if err != nil {
		return nil, err
	}
	g, err := w.findGuard(ctx, w.s, t, a.Column, "")
	if err != nil {
		return nil, err
	}
	return []change.CheckResult{inForce(fmt.Sprintf("column %s takes no NULL", a.Column), g.done)}, nil
}
