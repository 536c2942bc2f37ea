package database

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// undo puts the table back where it was, then its foreign keys and
// publications. A foreign key that rows do not keep to any more is left
// unchecked for those that are there.
func (dropTable) undo(ctx context.Context, w work) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	back, err := w.archivedOf(ctx, false, "table", "foreign key", "publication")
	if err != nil {
		return e, err
	}
	var unchecked []string
	for _, d := range back {
		o, err := objectOf(ctx, w.s, w.standing.relation)
		if err != nil {
			return e, err
		}
		valid := true
		switch {
		case d.Kind == "table" && o.schema == "gapless":
			err = w.db.inTransaction(ctx, w.s, "archive "+o.ident(), func(tx pgx.Tx) error { return w.run(ctx, tx, d.Definition) })
		case d.Kind == "foreign key":
			valid, err = w.referAgain(ctx, o, d)
		case d.Kind == "publication":
			err = w.publishAgain(ctx, o, d)
		}
		if err != nil {
			return e, fmt.Errorf("%s %s: %w", d.Kind, d.Name, err)
		}
		if !valid {
			unchecked = append(unchecked, d.Name)
		}
	}
	return w.within(ctx, "the schema gapless", func(tx pgx.Tx, e *change.Evidence) error {
		if len(unchecked) > 0 {
			e.Detail = "rows do not keep any more to foreign key " + strings.Join(unchecked, ", ")
		}
		return w.forget(ctx, tx)
	})
}

// referAgain makes a foreign key again without looking at rows, and then looks
// at them while readers and writers go on.
func (w work) referAgain(ctx context.Context, o named, d change.Dependent) (valid bool, err error) {
	name, _, _ := strings.Cut(d.Name, " of ")
	err = w.db.inTransaction(ctx, w.s, "foreign key "+d.Name, func(tx pgx.Tx) error {
		has, _, err := (&shelf{t: o}).references(ctx, tx)
		if err != nil || slices.ContainsFunc(has, func(n string) bool { return ident(n) == name }) {
			return err
		}
		tables, err := w.s.lockedBy(ctx, tx, o.table(), d.Definition)
		if err != nil {
			return err
		}
		if err := w.s.seize(ctx, tx, noWriters, tables); err != nil {
			return err
		}
		return w.run(ctx, tx, strings.TrimSuffix(d.Definition, " NOT VALID")+" not valid")
	})
	if err != nil || strings.HasSuffix(d.Definition, " NOT VALID") {
		return true, err
	}
	err = w.db.inTransaction(ctx, w.s, "table "+o.ident(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local statement_timeout = 0`); err != nil {
			return fmt.Errorf("wait without limit: %w", err)
		}
		return w.run(ctx, tx, fmt.Sprintf("alter table %s validate constraint %s", o.ident(), name))
	})
	if sqlState(err) == foreignKeyViolation {
		return false, nil
	}
	return true, err
}

const foreignKeyViolation = "23503"

func (w work) publishAgain(ctx context.Context, o named, d change.Dependent) error {
	publication, _, _ := strings.Cut(d.Name, " of ")
	return w.db.inTransaction(ctx, w.s, "publication "+publication, func(tx pgx.Tx) error {
		published, err := publishedByName(ctx, tx, o.oid)
		if err != nil || slices.Contains(published, publication) {
			return err
		}
		return w.run(ctx, tx, d.Definition)
	})
}
