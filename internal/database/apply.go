package database

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Apply carries out one step of a change. It may be repeated at any time: what
// is done already is left as it is. progress is called from time to time, never
// by two goroutines at once; it may be nil.
//
// Its errors have a Hint where there is something to do: *LockedError,
// *EditedError, *RefusedError, *change.UnverifiedError and others.
func (db *DB) Apply(ctx context.Context, c change.Change, step change.Step, progress func(change.Progress)) (change.Evidence, error) {
	if progress == nil {
		progress = func(change.Progress) {}
	}
	var e change.Evidence
	err := db.with(ctx, c.ID, func(s *session) (err error) {
		e, err = db.apply(ctx, s, c, step, progress)
		return err
	})
	e.Step = step.ID
	if err != nil {
		return e, fmt.Errorf("%s: %w", step.ID, err)
	}
	return e, nil
}

func (db *DB) apply(ctx context.Context, s *session, c change.Change, step change.Step, progress func(change.Progress)) (change.Evidence, error) {
	if step.Kind == change.Prepare {
		return db.prepare(ctx, s, c)
	}
	work, states := "expand", []rollout.ChangeState{rollout.Expanding, rollout.Expanded}
	contract := slices.Contains([]change.StepKind{change.Begin, change.DropIndexes, change.Archive, change.Drop}, step.Kind)
	if contract {
		work, states = "contract", []rollout.ChangeState{rollout.Contracting, rollout.Contracted}
		if step.Kind == change.Begin {
			states = append(states, rollout.Expanded)
		}
	}
	st, err := admit(ctx, s, c, work, states...)
	if err != nil {
		return change.Evidence{}, err
	}
	if st.state == rollout.Contracted && step.Kind == change.Drop {
		return db.seal(ctx, s, c.ID)
	}
	if st.state == rollout.Contracted {
		e, _, err := finished(ctx, s, c.ID, step.ID)
		return e, err
	}
	if contract {
		return db.applyContract(ctx, s, c, st, step, progress)
	}
	return db.applyExpand(ctx, s, c, st, step, progress)
}

func (db *DB) applyExpand(ctx context.Context, s *session, c change.Change, st standing, step change.Step, progress func(change.Progress)) (change.Evidence, error) {
	switch step.Kind {
	case change.AddColumns:
		return db.addColumns(ctx, s, c)
	case change.Synchronise:
		return db.synchronise(ctx, s, c, st)
	case change.Backfill:
		return db.backfill(ctx, s, c, st, progress)
	case change.BuildIndex:
		if step.Index == nil {
			return change.Evidence{}, errors.New("a step without its index")
		}
		return db.buildIndex(ctx, s, c, step, progress)
	case change.Verifying:
		return db.conclude(ctx, s, c, st, progress)
	default:
		return change.Evidence{}, fmt.Errorf("no step of kind %q", step.Kind)
	}
}

// addColumns adds all columns in one statement.
func (db *DB) addColumns(ctx context.Context, s *session, c change.Change) (change.Evidence, error) {
	e := change.Evidence{Step: string(change.AddColumns)}
	t, err := resolveTable(ctx, s, c)
	if err != nil {
		return e, err
	}
	return e, db.inTransaction(ctx, s, "table "+t.ident(), func(tx pgx.Tx) error {
		if err := s.describe(ctx, tx, &t); err != nil {
			return err
		}
		statement, err := s.additions(ctx, tx, c, t)
		if err != nil || statement == "" {
			return err
		}
		if _, err := tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("add the columns: %w", err)
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
		wanted, err := s.typeName(ctx, tx, a.Type)
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

// synchronise makes the functions and triggers that keep R from then on.
func (db *DB) synchronise(ctx context.Context, s *session, c change.Change, st standing) (change.Evidence, error) {
	e := change.Evidence{Step: string(change.Synchronise)}
	t, err := resolveTable(ctx, s, c)
	if err != nil {
		return e, err
	}
	m := st.mapping
	if m.Forward == nil { // once read, an expression keeps its meaning
		var refusals []string
		if m, refusals, err = db.qualify(ctx, s, c, t); err != nil {
			return e, err
		}
		if len(refusals) > 0 {
			return e, &RefusedError{Change: c.ID, Reasons: refusals}
		}
	}
	r, err := relationOf(c, t, m)
	if err != nil {
		return e, err
	}
	functions, err := r.functions()
	if err != nil {
		return e, err
	}
	e.Detail = hash(functions + r.triggers())
	before, done, err := finished(ctx, s, c.ID, e.Step)
	if err != nil {
		return e, err
	}
	if done && before.Detail == e.Detail {
		if there, err := s.triggersThere(ctx, r); err != nil || there == len(syncTriggers(c.ID)) {
			return e, err
		}
	}
	return e, db.inTransaction(ctx, s, "table "+t.ident(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, functions+r.triggers()); err != nil {
			return fmt.Errorf("make the sync trigger: %w", err)
		}
		if _, err := tx.Exec(ctx, `update gapless.change set mapping = $2 where id = $1`, c.ID, m); err != nil {
			return fmt.Errorf("keep the mapping: %w", err)
		}
		return finish(ctx, tx, c.ID, e)
	})
}

// triggersThere counts the sync triggers that are on the table and fire always.
func (s *session) triggersThere(ctx context.Context, r relation) (n int, err error) {
	err = s.QueryRow(ctx, `select count(*) from pg_trigger where tgrelid = $1 and tgname = any($2) and tgenabled = 'A'`,
		r.table.oid, syncTriggers(r.change.ID)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("look for the sync triggers: %w", err)
	}
	return n, nil
}
