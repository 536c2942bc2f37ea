package database

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// fill gives a column that was added its default in the rows that were there
// before: one value for each row. Rows that have one are never touched. Nobody
// writes NULL into it yet, because nobody knows the column but gapless.
func (w work) fill(ctx context.Context) (change.Evidence, error) {
	e, done, err := finished(ctx, w.s, w.change.ID, w.step.ID)
	if err != nil || done {
		return e, err
	}
	a := *w.step.Operation.AddColumn
	t, err := w.table(ctx)
	if err != nil {
		return e, err
	}
	wanted, _, err := w.s.additions(ctx, w.change, t)
	if err != nil {
		return e, err
	}
	i := slices.IndexFunc(wanted, func(added addition) bool { return added.name == a.Name })
	if i < 0 {
		return e, fmt.Errorf("column %q cannot be added any more", a.Name)
	}
	if wanted[i].inline {
		return w.done(ctx, change.Evidence{Detail: "added with its default, which is the same for all rows"})
	}
	if a.NotNull {
		e, err = w.forbidNull(ctx, t, a.Name, wanted[i].def, "")
	} else {
		e, err = w.fillNulls(ctx, t, a.Name, wanted[i].def, w.step.ID)
	}
	if err != nil {
		return e, err
	}
	return w.done(ctx, e)
}

// fillNulls gives the rows that have NULL in a column a value, part by part. The
// walk goes on where one of the same name stopped. The sync triggers of any
// change see what it writes.
func (w work) fillNulls(ctx context.Context, t table, name, value, walk string) (e change.Evidence, err error) {
	f := &filler{db: w.db, change: w.change.ID, step: walk, table: t, report: w.progress}
	f.write = func(ctx context.Context, tx pgx.Tx, within span, _ bool) (int64, error) {
		if err := f.beginBatch(ctx, tx, ""); err != nil {
			return 0, err
		}
		condition, args := within.condition(t.key)
		tag, err := tx.Exec(ctx, fmt.Sprintf(mark+"update %s set %[2]s = %s where %s and %[2]s is null", t.ident(), ident(name), value, condition), args...)
		if err != nil {
			return 0, fmt.Errorf("fill in column %q of %s: %w", name, t.ident(), err)
		}
		return tag.RowsAffected(), nil
	}
	if err := f.run(ctx, w.s); err != nil {
		return e, err
	}
	e.Rows, e.Seconds = f.filled, w.db.options.Now().Sub(f.begun).Seconds()
	if e.Seconds > 0 {
		e.RowsPerSecond = float64(f.filled) / e.Seconds
	}
	return e, nil
}

// fills refuses what a column cannot be filled in through.
func (i *inspector) fills(ctx context.Context, name string) error {
	if len(i.t.key) == 0 {
		i.refuse("column %q cannot be filled in: table %s has neither a primary key nor a unique index on columns that are not null", name, i.t.ident())
	}
	rows, err := i.s.Query(ctx, `
		select t.tgname::text from pg_trigger t
		where t.tgrelid = $1 and not t.tgisinternal and t.tgenabled in ('O', 'A') and t.tgname not like '~gapless\_%' and t.tgtype & 16 <> 0
		  and (cardinality(t.tgattr::int2[]) = 0
		    or exists (select from pg_attribute a where a.attrelid = t.tgrelid and a.attname = $2 and a.attnum = any(t.tgattr::int2[])))
		order by 1`, i.t.oid, name)
	if err != nil {
		return fmt.Errorf("look for triggers: %w", err)
	}
	triggers, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for triggers: %w", err)
	}
	if err := i.writable(ctx); err != nil {
		return err
	}
	for _, trigger := range triggers {
		if i.c.Accept.Triggers == "" {
			i.refuse("trigger %s of table %s would fire for each row in which column %q is filled in; say with accept.triggers why it may", ident(trigger), i.t.ident(), name)
		}
	}
	return nil
}

// writable refuses rows that break a check which is not valid: they stay as they
// are, but nothing of theirs can be written.
func (i *inspector) writable(ctx context.Context) error {
	rows, err := i.s.Query(ctx, `select conname::text from pg_constraint where conrelid = $1 and contype = 'c' and not convalidated and conname not like '~gapless\_%' order by 1`, i.t.oid)
	if err != nil {
		return fmt.Errorf("look for constraints that are not valid: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for constraints that are not valid: %w", err)
	}
	for _, name := range names {
		bad, err := i.s.against(ctx, i.t, name)
		if err != nil {
			return err
		}
		if bad.count > 0 {
			i.refuse("constraint %s of table %s is not valid: %s break it, and nothing could be filled in for them", ident(name), i.t.ident(), bad.rows())
		}
	}
	return nil
}
