package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// addColumns adds all columns in one statement.
func (w work) addColumns(ctx context.Context) (change.Evidence, error) {
	s, c := w.s, w.change
	e := change.Evidence{Step: string(change.AddColumns)}
	t, err := resolveTable(ctx, s, c)
	if err != nil {
		return e, err
	}
	return e, w.db.inTransaction(ctx, s, "table "+t.ident(), func(tx pgx.Tx) error {
		if err := s.describe(ctx, tx, &t); err != nil {
			return err
		}
		statement, err := s.additions(ctx, tx, c, t)
		if err != nil || statement == "" {
			return err
		}
		if err := w.run(ctx, tx, statement); err != nil {
			return err
		}
		// New columns are empty, whatever was filled in before.
		if _, err := tx.Exec(ctx, `delete from gapless.checkpoint where change = $1`, c.ID); err != nil {
			return fmt.Errorf("begin the backfill anew: %w", err)
		}
		e.Detail = statement
		return finish(ctx, tx, c.ID, e)
	})
}

// additions is the statement that adds the columns that are missing. A column
// that is there must be as the change wants it.
func (s *session) additions(ctx context.Context, tx pgx.Tx, c change.Change, t table) (string, error) {
	var parts []string
	for _, a := range c.Added() {
		wanted, err := s.typeOf(ctx, tx, t, a)
		if err != nil {
			return "", err
		}
		there, ok := t.column(a.Name)
		if !ok {
			parts = append(parts, fmt.Sprintf("add column %s %s", ident(a.Name), wanted))
			continue
		}
		if reason := unlike(there, wanted); reason != "" {
			return "", &RefusedError{Change: c.ID, Reasons: []string{fmt.Sprintf("column %q is there already, %s", a.Name, reason)},
				Remedy: "give the new column another name"}
		}
	}
	if len(parts) == 0 {
		return "", nil
	}
	return fmt.Sprintf("alter table %s %s", t.ident(), comma(parts)), nil
}

// unlike tells how a column differs from one that expand would add.
func unlike(c column, wanted string) string {
	switch {
	case c.sqlType != wanted:
		return fmt.Sprintf("of type %s, wanted %s", c.sqlType, wanted)
	case c.notNull:
		return "and takes no NULL"
	case c.def != "" || c.identity:
		return "with a default"
	case c.generated:
		return "and generated"
	}
	return ""
}

// typeOf is the type of a column that expand adds.
func (s *session) typeOf(ctx context.Context, tx pgx.Tx, t table, a change.AddColumn) (string, error) {
	if a.Like == "" {
		return s.typeName(ctx, tx, a.Type)
	}
	like, ok := t.column(a.Like)
	if !ok {
		return "", fmt.Errorf("table %s has no column %q", t.ident(), a.Like)
	}
	return like.sqlType, nil
}

// typeName is a type's qualified name. It is looked up as the application
// means it.
func (s *session) typeName(ctx context.Context, tx pgx.Tx, sqlType string) (name string, err error) {
	err = pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error {
		if err := s.asApplication(ctx, inner); err != nil {
			return err
		}
		if _, err := inner.Exec(ctx, fmt.Sprintf("create temp table gapless_type (of_type %s\n) on commit drop", sqlType)); err != nil {
			return fmt.Errorf("type %s: %w", sqlType, err)
		}
		if _, err := inner.Exec(ctx, `set local search_path = pg_catalog, pg_temp`); err != nil {
			return fmt.Errorf("set the search path: %w", err)
		}
		err := inner.QueryRow(ctx, `select format_type(atttypid, atttypmod) from pg_attribute
			where attrelid = 'pg_temp.gapless_type'::regclass and attnum = 1`).Scan(&name)
		if err != nil {
			return fmt.Errorf("type %s: %w", sqlType, err)
		}
		_, err = inner.Exec(ctx, `drop table pg_temp.gapless_type`)
		return err
	})
	return name, err
}

// addColumn is looked at here; all columns are added in one step.
type addColumn struct{}

func (addColumn) look(context.Context, *inspector, change.Operation) error { return nil }

func (addColumn) do(_ context.Context, w work) (change.Evidence, error) {
	return change.Evidence{}, fmt.Errorf("step %s adds no column by itself", w.step.ID)
}

func (addColumn) undo(_ context.Context, w work) (change.Evidence, error) {
	return change.Evidence{}, fmt.Errorf("step %s removes no column by itself", w.step.ID)
}

func (addColumn) verify(context.Context, work) ([]change.CheckResult, error) { return nil, nil }

// fill gives a column its default in the rows that were there before.
func (w work) fill(context.Context) (change.Evidence, error) {
	return change.Evidence{}, fmt.Errorf("step %s is not supported yet", w.step.ID)
}
