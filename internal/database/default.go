package database

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// setDefault gives a column a default for rows to come.
type setDefault struct{}

// archivedDefault is the kind under which the default before is kept; its
// definition is empty for none.
const archivedDefault = "default before"

// defaultFor lets PostgreSQL read a column's new default.
func (s *session) defaultFor(ctx context.Context, c change.Change, t table, a change.SetDefault) (read column, refusal string, err error) {
	err = s.look(ctx, func(tx pgx.Tx) (err error) {
		q := qualifier{tx: tx, s: s, c: c, t: t}
		if refusal, err = q.likeTable(ctx); err != nil || refusal != "" {
			return err
		}
		refusal, err = q.try(ctx, fmt.Sprintf("alter table %s alter column %s set default (%s\n)", q.temp(), ident(a.Column), a.Value))
		if err != nil || refusal != "" {
			return err
		}
		read, err = q.readDefault(ctx, a.Column)
		return err
	})
	return read, refusal, err
}

// readDefault reads a column of the temporary table with its default.
func (q *qualifier) readDefault(ctx context.Context, name string) (read column, err error) {
	if read, err = q.describe(ctx, name); err != nil || read.def == "" {
		return read, err
	}
	read.def, err = steady(read.def, func(def string) (string, error) {
		if _, err := q.tx.Exec(ctx, fmt.Sprintf("alter table %s alter column %s set default %s", q.temp(), ident(name), def)); err != nil {
			return "", fmt.Errorf("read default %s again: %w", def, err)
		}
		read, err = q.describe(ctx, name)
		return read.def, err
	})
	return read, err
}

func (setDefault) look(ctx context.Context, i *inspector, o change.Operation) error {
	if !i.there() {
		return nil
	}
	a := *o.SetDefault
	what := fmt.Sprintf("set_default %q", a.Column)
	if has, _ := i.has(a.Column); !has {
		i.refuse("%s: table %s has no column %q", what, i.t.ident(), a.Column)
		return nil
	}
	if err := i.ordinary(ctx, what, a.Column); err != nil {
		return err
	}
	read, refusal, err := i.s.defaultFor(ctx, i.c, i.t, a)
	if err != nil {
		return err
	}
	if refusal != "" {
		i.refuse("%s: %s", what, refusal)
	}
	if slices.Contains(i.c.NewColumns(), a.Column) && slices.ContainsFunc(i.c.Expand, func(e change.Operation) bool { return e.SetDefault != nil && *e.SetDefault == a }) {
		i.refuse("%s: it is added under sync; give add_column the default, which is set together with the sync", what)
	}
	if read.volatileDef && slices.Contains(i.c.OldColumns(), a.Column) {
		i.refuse("%s: it is under sync, and a default that gives another value each time could not be told from what somebody wrote", what)
	}
	return nil
}

// ordinary refuses a column whose values come from elsewhere, and one for which
// partitions have defaults of their own, which would be lost.
func (i *inspector) ordinary(ctx context.Context, what, name string) error {
	c, there := i.t.column(name)
	if !there {
		return nil
	}
	switch {
	case c.generated:
		i.refuse("%s: it is generated", what)
	case c.identity:
		i.refuse("%s: it is an identity column", what)
	}
	rows, err := i.s.Query(ctx, `
		select format('%I.%I', n.nspname, k.relname) from pg_partition_tree($1) p
		join pg_class k on k.oid = p.relid join pg_namespace n on n.oid = k.relnamespace
		join pg_attribute a on a.attrelid = k.oid and a.attname = $2 and not a.attisdropped
		left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
		where p.level > 0 and coalesce(pg_get_expr(d.adbin, d.adrelid), '') <> $3 order by 1 limit 3`, i.t.oid, name, c.def)
	if err != nil {
		return fmt.Errorf("look at the partitions of %s: %w", i.t.ident(), err)
	}
	own, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look at the partitions of %s: %w", i.t.ident(), err)
	}
	if len(own) > 0 && !i.begun() {
		i.refuse("%s: partitions have a default of their own, which would be lost: %s", what, comma(own))
	}
	return nil
}

func (setDefault) do(ctx context.Context, w work) (change.Evidence, error) {
	a := *w.step.Operation.SetDefault
	t, err := w.table(ctx)
	if err != nil {
		return change.Evidence{}, err
	}
	read, refusal, err := w.s.defaultFor(ctx, w.change, t, a)
	if err != nil {
		return change.Evidence{}, err
	}
	if refusal != "" {
		return change.Evidence{}, &RefusedError{Change: w.change.ID, Reasons: []string{fmt.Sprintf("set_default %q: %s", a.Column, refusal)}}
	}
	return w.once(ctx, []table{t}, func(ctx context.Context, tx pgx.Tx) (string, error) {
		if err := w.s.describe(ctx, tx, &t); err != nil {
			return "", err
		}
		c, there := t.column(a.Column)
		if !there {
			return "", fmt.Errorf("table %s has no column %q", t.ident(), a.Column)
		}
		if err := w.keepFirst(ctx, tx, archivedDefault, a.Column, c.def); err != nil {
			return "", err
		}
		if c.def == read.def {
			return "", nil
		}
		return fmt.Sprintf("alter table %s alter column %s set default %s", t.ident(), c.ident(), read.def), nil
	})
}

// undo gives the column back the default that it had.
func (setDefault) undo(ctx context.Context, w work) (change.Evidence, error) {
	a := *w.step.Operation.SetDefault
	before, kept, err := w.kept(ctx, w.s, archivedDefault, a.Column)
	if err != nil {
		return change.Evidence{}, err
	}
	if !kept {
		return w.done(ctx, change.Evidence{})
	}
	t, err := w.table(ctx)
	if err != nil {
		return change.Evidence{}, err
	}
	e, err := w.once(ctx, []table{t}, func(ctx context.Context, tx pgx.Tx) (string, error) {
		if err := w.s.describe(ctx, tx, &t); err != nil {
			return "", err
		}
		c, there := t.column(a.Column)
		switch {
		case !there || c.def == before:
			return "", nil
		case before == "":
			return fmt.Sprintf("alter table %s alter column %s drop default", t.ident(), c.ident()), nil
		}
		return fmt.Sprintf("alter table %s alter column %s set default %s", t.ident(), c.ident(), before), nil
	})
	if err != nil {
		return e, err
	}
	return w.forgetKept(ctx, e, a.Column, archivedDefault)
}

func (setDefault) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	a := *w.step.Operation.SetDefault
	t, err := w.table(ctx)
	if err != nil {
		return nil, err
	}
	read, _, err := w.s.defaultFor(ctx, w.change, t, a)
	if err != nil {
		return nil, err
	}
	c, there := t.column(a.Column)
	return []change.CheckResult{inForce(fmt.Sprintf("column %s has its new default", a.Column), there && c.def == read.def)}, nil
}

// dropDefault takes a column's default away, in contract.
type dropDefault struct{}

func (dropDefault) look(ctx context.Context, i *inspector, o change.Operation) error {
	if !i.there() {
		return nil
	}
	what := fmt.Sprintf("drop_default %q", o.DropDefault)
	if !i.usable(what, []string{o.DropDefault}) {
		return nil
	}
	if c, _ := i.t.column(o.DropDefault); c.def == "" && !c.generated && !c.identity {
		i.warn("%s: it has none", what)
	}
	return i.ordinary(ctx, what, o.DropDefault)
}

func (dropDefault) do(ctx context.Context, w work) (change.Evidence, error) {
	t, err := w.table(ctx)
	if err != nil {
		return change.Evidence{}, err
	}
	return w.once(ctx, []table{t}, func(ctx context.Context, tx pgx.Tx) (string, error) {
		if err := w.s.describe(ctx, tx, &t); err != nil {
			return "", err
		}
		c, there := t.column(w.step.Operation.DropDefault)
		if !there || c.def == "" {
			return "", nil
		}
		if err := w.keepFirst(ctx, tx, "default", "of column "+c.ident(), c.def); err != nil {
			return "", err
		}
		return fmt.Sprintf("alter table %s alter column %s drop default", t.ident(), c.ident()), nil
	})
}

// undo has nothing to do: it is of contract, from which there is no way back.
func (dropDefault) undo(ctx context.Context, w work) (change.Evidence, error) {
	return w.done(ctx, change.Evidence{})
}

func (dropDefault) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	t, err := w.table(ctx)
	if err != nil {
		return nil, err
	}
	c, there := t.column(w.step.Operation.DropDefault)
	return []change.CheckResult{inForce(fmt.Sprintf("column %s has no default", w.step.Operation.DropDefault), there && c.def == "")}, nil
}
