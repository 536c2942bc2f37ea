package database

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// beginWalk notes that a walk begins at the table's first row.
func (w work) beginWalk(ctx context.Context, tx pgx.Tx, step string) error {
	_, err := tx.Exec(ctx, `insert into gapless.checkpoint (change, step, part) values ($1, $2, 0)
		on conflict (change, step, part) do update set reached = null, rows = 0, done = false`, w.change.ID, step)
	if err != nil {
		return fmt.Errorf("begin to walk along the key: %w", err)
	}
	return nil
}

// walk does something with each row along a table's key, chunk by chunk, the
// checkpoint moving with each. do tells how many rows it did.
func (w work) walk(ctx context.Context, t table, step string, do func(ctx context.Context, tx pgx.Tx, within span) (int64, error)) error {
	pace := newPace(w.db.options.BatchTarget)
	total, err := w.s.countRows(ctx, t)
	if err != nil {
		return err
	}
	begun := w.db.options.Now()
	for done := false; !done; {
		var n int64
		err := w.db.retry(ctx, w.s, "table "+t.ident(), w.s.options.LockTimeout, func() error {
			start := time.Now()
			err := pgx.BeginFunc(ctx, w.s.Conn, func(tx pgx.Tx) (err error) {
				n, done, err = w.chunk(ctx, tx, t, step, pace.size(), do)
				return err
			})
			if err == nil {
				pace.took(pace.size(), time.Since(start))
			} else {
				pace.failed()
			}
			return err
		})
		if err != nil {
			return err
		}
		p := change.Progress{Step: w.step.ID, Done: min(n, total), Total: total}
		if seconds := w.db.options.Now().Sub(begun).Seconds(); seconds > 0 {
			p.Rate = float64(n) / seconds
		}
		w.progress(p)
	}
	return nil
}

// chunk does the next n rows; rows is how many are done so far.
func (w work) chunk(ctx context.Context, tx pgx.Tx, t table, step string, n int, do func(ctx context.Context, tx pgx.Tx, within span) (int64, error)) (rows int64, done bool, err error) {
	// The table first, as whoever truncates it locks them.
	if _, err := tx.Exec(ctx, fmt.Sprintf(`lock table %s in access share mode`, t.ident())); err != nil {
		return 0, false, fmt.Errorf("lock %s: %w", t.ident(), err)
	}
	var reached []string
	err = tx.QueryRow(ctx, `select reached, done, rows from gapless.checkpoint where change = $1 and step = $2 and part = 0 for update`,
		w.change.ID, step).Scan(&reached, &done, &rows)
	if err != nil {
		return 0, false, fmt.Errorf("read how far %s is: %w", step, err)
	}
	if done {
		return rows, true, nil
	}
	if _, err := tx.Exec(ctx, `set local enable_seqscan = off`); err != nil {
		return 0, false, fmt.Errorf("begin a chunk: %w", err)
	}
	next, last, err := w.s.step(ctx, tx, t, span{lower: reached}, n)
	if err != nil {
		return 0, false, err
	}
	did, err := do(ctx, tx, next)
	if err != nil {
		return 0, false, err
	}
	_, err = tx.Exec(ctx, `update gapless.checkpoint set reached = coalesce($3, reached), rows = rows + $4, done = $5, at = clock_timestamp()
		where change = $1 and step = $2 and part = 0`, w.change.ID, step, next.upper, did, last)
	if err != nil {
		return 0, false, fmt.Errorf("move the checkpoint: %w", err)
	}
	return rows + did, last, nil
}
