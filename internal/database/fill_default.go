package database

import (
	"context"
	"fmt"
	"slices"
	"time"

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
	f := &filler{db: w.db, change: w.change.ID, step: walk, table: t}
	f.write = func(ctx context.Context, tx pgx.Tx, within span, _ bool, patience time.Duration) (int64, error) {
		if err := f.beginBatch(ctx, tx, "", patience); err != nil {
			return 0, err
		}
		condition, args := within.condition(t.key)
		tag, err := tx.Exec(ctx, fmt.Sprintf(mark+"update %s set %[2]s = %s where %s and %[2]s is null", t.ident(), ident(name), value, condition), args...)
		if err != nil {
			return 0, fmt.Errorf("fill in column %q of %s: %w", name, t.ident(), err)
		}
		return tag.RowsAffected(), nil
	}
	if err := f.run(ctx, w.s, w.progress); err != nil {
		return e, err
	}
	e.Rows, e.Seconds = f.tally.filled, w.db.options.Now().Sub(f.tally.begun).Seconds()
	if e.Seconds > 0 {
		e.RowsPerSecond = float64(f.tally.filled) / e.Seconds
	}
	return e, nil
}

// fillable refuses a column whose rows cannot be walked, or not be written.
func (i *inspector) fillable(ctx context.Context, name string) error {
	if len(i.t.key) == 0 {
		i.refuse("column %q cannot be filled in: table %s has neither a primary key nor a unique index on columns that are not null", name, i.t.ident())
	}
	// Rows that break a check which is not valid stay as they are, but nothing
	// of theirs can be written.
	checks, err := lines(ctx, i.s, "look for constraints that are not valid", `
		select conname::text from pg_constraint where conrelid = $1 and contype = 'c' and not convalidated and conname not like '~gapless\_%' order by 1`, i.t.oid)
	if err != nil {
		return err
	}
	for _, check := range checks {
		bad, err := i.s.against(ctx, i.t, check)
		if err != nil {
			return err
		}
		if bad.count > 0 {
			i.refuse("constraint %s of table %s is not valid: %s break it, and nothing could be filled in for them", ident(check), i.t.ident(), bad.rows())
		}
	}
	return nil
}
