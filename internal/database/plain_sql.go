package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// plainSQL runs statements of a person's own, each in a transaction of its own,
// which notes that it ran.
type plainSQL struct{}

func (plainSQL) look(_ context.Context, i *inspector, o change.Operation) error {
	for _, sql := range []string{o.SQL.Run, o.SQL.Undo} {
		if sql == "" || sql == change.NothingToUndo {
			continue
		}
		if _, err := change.Statements(sql); err != nil {
			i.refuse("sql: %v", err)
		}
	}
	return nil
}

func (plainSQL) do(ctx context.Context, w work) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	if before, done, err := w.did(ctx, w.s); err != nil || done {
		return before, err
	}
	statements, err := change.Statements(w.step.Operation.SQL.Run)
	if err != nil {
		return e, err
	}
	for n := range statements {
		if err := w.statement(ctx, n, statements, nil); err != nil {
			return e, err
		}
	}
	e.Detail = fmt.Sprintf("%d statements", len(statements))
	return w.done(ctx, e)
}

// statement runs the n-th statement, if it has not run. What skip says may be
// left out is passed over.
func (w work) statement(ctx context.Context, n int, all []string, skip func(code string) bool) error {
	err := w.db.inTransaction(ctx, w.s, fmt.Sprintf("what statement %d of %d locks", n+1, len(all)), func(tx pgx.Tx) error {
		ran, err := ranStatements(ctx, tx, w.change.ID, w.step.ID)
		if err != nil || ran > n {
			return err
		}
		// Whatever a statement before left set.
		_, err = tx.Exec(ctx, `select set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true)`,
			milliseconds(w.s.options.LockTimeout), milliseconds(w.s.options.StatementTimeout))
		if err != nil {
			return fmt.Errorf("limit waiting: %w", err)
		}
		err = pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error { return w.runAs(ctx, inner, all[n]) })
		if err != nil && (skip == nil || !skip(sqlState(err))) {
			return err
		}
		_, err = tx.Exec(ctx, `insert into gapless.checkpoint (change, step, part, rows) values ($1, $2, 0, $3)
			on conflict (change, step, part) do update set rows = excluded.rows, at = clock_timestamp()`, w.change.ID, w.step.ID, n+1)
		if err != nil {
			return fmt.Errorf("note that statement %d ran: %w", n+1, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("statement %d of %d: %w", n+1, len(all), err)
	}
	w.progress(change.Progress{Step: w.step.ID, Done: int64(n + 1), Total: int64(len(all))})
	return nil
}

// ranStatements is how many statements of a step ran.
func ranStatements(ctx context.Context, q querier, id, step string) (n int, err error) {
	err = q.QueryRow(ctx, `select coalesce(max(rows), 0) from gapless.checkpoint where change = $1 and step = $2 and part = 0`, id, step).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("read how many statements ran: %w", err)
	}
	return n, nil
}

// undo takes back what ran. Where each statement has one that takes it back, the
// last first, only those are run whose statement ran. Else all are, and what
// they do not find, because it was not made yet, is passed over.
func (plainSQL) undo(ctx context.Context, w work) (change.Evidence, error) {
	forget := func(tx pgx.Tx, _ *change.Evidence) error { return w.forget(ctx, tx) }
	sql := w.step.Operation.SQL
	ran, err := ranStatements(ctx, w.s, w.change.ID, w.does())
	if err != nil {
		return change.Evidence{Step: w.step.ID}, err
	}
	if ran == 0 || sql.Undo == "" || sql.Undo == change.NothingToUndo {
		return w.within(ctx, "the schema gapless", forget)
	}
	run, err := change.Statements(sql.Run)
	if err != nil {
		return change.Evidence{Step: w.step.ID}, err
	}
	back, err := change.Statements(sql.Undo)
	if err != nil {
		return change.Evidence{Step: w.step.ID}, err
	}
	var skip func(code string) bool
	first := 0
	switch {
	case len(back) == len(run):
		first = len(run) - ran
	case ran < len(run):
		skip = absent
	}
	for n := first; n < len(back); n++ {
		if err := w.statement(ctx, n, back, skip); err != nil {
			return change.Evidence{Step: w.step.ID}, err
		}
	}
	return w.within(ctx, "the schema gapless", forget)
}

func (plainSQL) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	_, done, err := w.did(ctx, w.s)
	return []change.CheckResult{inForce("the statements of "+w.step.ID+" ran", done)}, err
}
