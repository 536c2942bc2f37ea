package database

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

func (w work) contract(ctx context.Context) (change.Evidence, error) {
	switch w.step.Kind {
	case change.Hide:
		return w.hide(ctx)
	case change.Begin:
		return w.db.begin(ctx, w.s, w.change, w.standing, w.progress)
	case change.Operate:
		return w.operate(ctx)
	case change.Finish:
		return w.finish(ctx)
	default:
	}
	r, err := w.s.relation(ctx, w.change, w.standing)
	if err != nil {
		return change.Evidence{}, err
	}
	switch w.step.Kind {
	case change.DropIndexes:
		return w.db.dropIndexes(ctx, w.s, r, w.progress)
	case change.ArchiveRows:
		return w.db.archive(ctx, w.s, r, w.progress)
	case change.Drop:
		return w.db.drop(ctx, w.s, r)
	default:
		return change.Evidence{}, fmt.Errorf("no step of kind %q in contract", w.step.Kind)
	}
}

// finish ends a contract that drops no column.
func (w work) finish(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	return e, pgx.BeginFunc(ctx, w.s.Conn, func(tx pgx.Tx) error {
		if err := move(ctx, tx, w.change.ID, rollout.Contracted, rollout.Contracting); err != nil {
			return err
		}
		return finish(ctx, tx, w.change.ID, e)
	})
}

// begin verifies once more that the new form has everything, refuses while
// something else needs the old one, and keeps the definitions of what will go.
func (db *DB) begin(ctx context.Context, s *session, c change.Change, st standing, progress func(change.Progress)) (change.Evidence, error) {
	v := verifier{db: db, s: s, c: c, scope: change.ScopeRelease, progress: progress}
	e, err := v.run(ctx, st)
	if err != nil {
		return e, err
	}
	if e.Step = string(change.Begin); !e.Passed() {
		return e, &change.UnverifiedError{Change: c.ID, Evidence: e}
	}
	if len(c.Dropped()) == 0 {
		return e, pgx.BeginFunc(ctx, s.Conn, func(tx pgx.Tx) error {
			if st.state == rollout.Expanded {
				if err := move(ctx, tx, c.ID, rollout.Contracting, rollout.Expanded); err != nil {
					return err
				}
			}
			return finish(ctx, tx, c.ID, e)
		})
	}
	return e, db.inTransaction(ctx, s, "table "+v.r.table.ident(), func(tx pgx.Tx) error {
		if st.state == rollout.Contracting { // what it may take along is settled
			if _, err := s.named(ctx, tx, v.r, true); err != nil {
				return err
			}
			return finish(ctx, tx, c.ID, e)
		}
		hanging, err := s.dependents(ctx, tx, v.r.table, c.Dropped(), true)
		if err != nil {
			return err
		}
		if err := blocked(c, hanging); err != nil {
			return err
		}
		if err := move(ctx, tx, c.ID, rollout.Contracting, rollout.Expanded); err != nil {
			return err
		}
		for _, old := range v.r.old {
			hanging = append(hanging, change.Dependent{Kind: "column", Name: old.name, Definition: definition(old)})
		}
		for _, d := range hanging {
			_, err := tx.Exec(ctx, `insert into gapless.archived_definition (change, kind, name, definition) values ($1, $2, $3, $4)`, c.ID, d.Kind, d.Name, d.Definition)
			if err != nil {
				return fmt.Errorf("archive the definition of %s %s: %w", d.Kind, d.Name, err)
			}
		}
		return finish(ctx, tx, c.ID, e)
	})
}

// definition is a column as ADD COLUMN would take it.
func definition(c column) string {
	text := c.ident() + " " + c.declared()
	if c.def != "" {
		text += " default " + c.def
	}
	if c.notNull {
		text += " not null"
	}
	return text
}

func blocked(c change.Change, hanging []change.Dependent) error {
	var reasons []string
	for _, d := range hanging {
		if d.Fate == change.Blocks {
			reasons = append(reasons, fmt.Sprintf("%s %s needs what contract drops", d.Kind, d.Name))
		}
	}
	if len(reasons) == 0 {
		return nil
	}
	return &RefusedError{Change: c.ID, Reasons: reasons, Remedy: "change or drop these first; gapless drops nothing that it did not name"}
}

// dropIndexes drops those that would vanish with the columns, without blocking
// anyone: from here on the way is forward only.
func (db *DB) dropIndexes(ctx context.Context, s *session, r relation, progress func(change.Progress)) (change.Evidence, error) {
	e := change.Evidence{Step: string(change.DropIndexes)}
	hanging, err := s.named(ctx, s, r, true)
	if err != nil {
		return e, err
	}
	waiting, cancel := context.WithTimeout(ctx, db.options.IndexTimeout)
	defer cancel()
	for _, d := range hanging {
		if d.Kind != "index" {
			continue
		}
		if err := db.concurrently(waiting, s, e.Step, d.Name, "drop index concurrently if exists "+d.Name, progress); err != nil {
			return e, err
		}
		e.Dropped = append(e.Dropped, "index "+d.Name)
	}
	before, done, err := finished(ctx, s, r.change.ID, e.Step)
	if err != nil {
		return e, err
	}
	if done { // a repeat adds to what went before
		e.Dropped = append(before.Dropped, e.Dropped...)
	}
	return e, pgx.BeginFunc(ctx, s.Conn, func(tx pgx.Tx) error { return finish(ctx, tx, r.change.ID, e) })
}

// named gives what hangs on the old columns now, and refuses what was not there,
// and so not named to anyone, when contract began.
func (s *session) named(ctx context.Context, q querier, r relation, bodies bool) ([]change.Dependent, error) {
	hanging, err := s.dependents(ctx, q, r.table, r.change.Dropped(), bodies)
	if err != nil {
		return nil, err
	}
	if err := blocked(r.change, hanging); err != nil {
		return nil, err
	}
	rows, err := q.Query(ctx, `select kind || ' ' || name from gapless.archived_definition where change = $1`, r.change.ID)
	if err != nil {
		return nil, fmt.Errorf("read what contract named: %w", err)
	}
	known, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read what contract named: %w", err)
	}
	for _, d := range hanging {
		if !slices.Contains(known, d.Kind+" "+d.Name) {
			return nil, &RefusedError{Change: r.change.ID, Reasons: []string{fmt.Sprintf("%s %s was added to what contract drops after it began", d.Kind, d.Name)},
				Remedy: "drop it, or approve the contract anew"}
		}
	}
	return hanging, nil
}

// drop removes the triggers and the old columns in one transaction: without the
// triggers, an old column that takes no NULL would fail every insert. The last
// captured rows are archived under the same lock, so that the archive is what
// the table held at that moment.
func (db *DB) drop(ctx context.Context, s *session, r relation) (change.Evidence, error) {
	e := change.Evidence{Step: string(change.Drop)}
	a := archiver{db: db, s: s, r: r}
	_, done, err := finished(ctx, s, r.change.ID, string(change.ArchiveRows))
	if err != nil {
		return e, err
	}
	if !done {
		return e, &RefusedError{Change: r.change.ID, Reasons: []string{"the old form is not archived"}, Remedy: "run the step before this one"}
	}
	if _, err := s.named(ctx, s, r, true); err != nil {
		return e, err
	}
	err = db.retry(ctx, s, "table "+r.table.ident(), s.options.LockTimeout, func() error {
		if err := a.drain(ctx, fewKeys); err != nil { // while nobody waits
			return err
		}
		return pgx.BeginFunc(ctx, s.Conn, func(tx pgx.Tx) error { return a.last(ctx, tx, &e) })
	})
	if sqlState(err) == queryCanceled && ctx.Err() == nil {
		return e, fmt.Errorf("the last rows took longer than %s to archive under the lock, nothing was dropped: %w", lockHeld, err)
	}
	if err != nil {
		return e, err
	}
	return db.seal(ctx, s, r.change.ID)
}

const (
	// lockHeld is the longest that the last transaction may keep everybody out.
	lockHeld = 2 * time.Second
	// fewKeys are so many captured rows as that transaction archives.
	fewKeys = 500
)

// last is the transaction that ends the old form.
func (a *archiver) last(ctx context.Context, tx pgx.Tx, e *change.Evidence) error {
	r, t := a.r, a.r.table.ident()
	e.Dropped = nil
	if _, err := tx.Exec(ctx, fmt.Sprintf(`lock table %s in access exclusive mode`, t)); err != nil {
		return fmt.Errorf("lock %s: %w", t, err)
	}
	if _, err := tx.Exec(ctx, `select set_config('statement_timeout', $1, true)`, milliseconds(lockHeld)); err != nil {
		return fmt.Errorf("limit the time: %w", err)
	}
	hanging, err := a.s.named(ctx, tx, r, false)
	if err != nil {
		return err
	}
	for {
		n, err := a.refresh(ctx, tx, fewKeys)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	var statements, columns []string
	for _, name := range append(syncTriggers(r.change.ID), captureTriggers(r.change.ID)...) {
		statements = append(statements, fmt.Sprintf("drop trigger if exists %s on %s", ident(name), t))
	}
	for _, c := range r.old {
		columns = append(columns, "drop column "+c.ident()+" restrict")
		e.Dropped = append(e.Dropped, "column "+c.name)
	}
	statements = append(statements, fmt.Sprintf("alter table %s %s", t, comma(columns)))
	statements = append(statements, r.dropFunctions()...)
	statements = append(statements, "drop table "+a.capture())
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	for _, d := range hanging {
		e.Dropped = append(e.Dropped, d.Kind+" "+d.Name)
	}
	if err := move(ctx, tx, r.change.ID, rollout.Contracted, rollout.Contracting); err != nil {
		return err
	}
	return finish(ctx, tx, r.change.ID, *e)
}

// dropFunctions are the statements that drop the change's functions.
func (r relation) dropFunctions() []string {
	types := func(columns []column) string {
		list := make([]string, len(columns))
		for i, c := range columns {
			list[i] = c.sqlType
		}
		return comma(list)
	}
	return []string{
		"drop function if exists " + own("sync_"+r.base()) + "()",
		"drop function if exists " + own("log_"+r.base()) + "()",
		"drop function if exists " + own("capture_"+r.base()) + "()",
		"drop function if exists " + own("emptied_"+r.base()) + "()",
		"drop function if exists " + r.forwardName() + "(" + types(r.old) + ")",
		"drop function if exists " + r.backwardName() + "(" + types(r.new) + ")",
	}
}
