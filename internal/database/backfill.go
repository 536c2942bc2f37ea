package database

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/gapless-deploy/gapless/internal/change"
)

// part is a stretch of the key that one worker fills.
type part struct {
	number  int
	within  span
	reached []string // done up to and with this key
	rows    int64    // filled so far
	done    bool
}

// rest is what is still to be done of a part.
func (p part) rest() span {
	if p.reached == nil {
		return p.within
	}
	return span{p.reached, p.within.upper}
}

// backfill gives the rows that were there before the trigger their new form.
// Rows whose new form is set are never touched.
func (db *DB) backfill(ctx context.Context, s *session, c change.Change, st standing, progress func(change.Progress)) (change.Evidence, error) {
	e := change.Evidence{Step: string(change.Backfill)}
	r, err := s.relation(ctx, c, st)
	if err != nil {
		return e, err
	}
	f := &filler{db: db, change: c.ID, step: e.Step, table: r.table, r: r, report: progress}
	f.write = f.fill
	if f.blank, err = s.blankStaysBlank(ctx, r); err != nil {
		return e, err
	}
	if err := f.run(ctx, s); err != nil {
		return e, err
	}
	return db.filled(ctx, s, f, e)
}

// run fills every part that is not done.
func (f *filler) run(ctx context.Context, s *session) error {
	f.begun = f.db.options.Now()
	parts, err := f.parts(ctx, s)
	if err != nil {
		return err
	}
	if f.total, err = s.countRows(ctx, f.table); err != nil {
		return err
	}
	for _, p := range parts {
		f.resumed += p.rows
	}
	f.walked = f.resumed
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(f.db.options.Workers)
	for i := range parts {
		if !parts[i].done {
			group.Go(func() error {
				return f.db.with(working, f.change, func(s *session) error { return f.part(working, s, &parts[i]) })
			})
		}
	}
	return group.Wait()
}

// filled notes that the backfill is done. The evidence is of the run that
// ended it; rows are of all runs.
func (db *DB) filled(ctx context.Context, s *session, f *filler, e change.Evidence) (change.Evidence, error) {
	e.Seconds = db.options.Now().Sub(f.begun).Seconds()
	if e.Seconds > 0 {
		e.RowsPerSecond = float64(f.filled) / e.Seconds
	}
	if before, done, err := finished(ctx, s, f.r.change.ID, e.Step); err != nil || done && f.filled == 0 {
		return before, err
	}
	return e, pgx.BeginFunc(ctx, s.Conn, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `select coalesce(sum(rows), 0) from gapless.checkpoint where change = $1 and step = $2`,
			f.r.change.ID, e.Step).Scan(&e.Rows)
		if err == nil {
			err = tx.QueryRow(ctx, `select count(*) from gapless.kept where change = $1 and why = 'unmapped'`, f.r.change.ID).Scan(&e.Unmapped)
		}
		if err != nil {
			return fmt.Errorf("count what was filled: %w", err)
		}
		return finish(ctx, tx, f.r.change.ID, e)
	})
}

// part fills one part, batch after batch.
func (f *filler) part(ctx context.Context, s *session, p *part) error {
	pace := newPace(f.db.options.BatchTarget)
	var seen blockers
	for tries := 0; !p.done; {
		if err := f.hold(ctx, s); err != nil {
			return err
		}
		batch, last, err := s.step(ctx, s, f.table, p.rest(), pace.size())
		if err != nil {
			return err
		}
		stop := func() {}
		if tries > 0 {
			stop = f.db.watch(ctx, s, f.db.options.LockTimeout, &seen)
		}
		begun := time.Now()
		rows, err := f.batch(ctx, s, p, batch, last)
		stop()
		if err == nil {
			pace.took(pace.size(), time.Since(begun))
			f.did(int64(pace.size()), rows, last)
			tries = 0
			continue
		}
		slow := sqlState(err) == queryCanceled && ctx.Err() == nil
		if !metLock(err) && !slow {
			return err
		}
		if tries++; tries >= f.db.options.Attempts {
			return &LockedError{Object: "rows of table " + f.table.ident(), Attempts: tries, Wait: f.db.options.LockTimeout,
				Blockers: seen.list(), Err: errors.Join(err, seen.failure())}
		}
		pace.failed()
		if err := backoff(ctx, tries); err != nil {
			return err
		}
	}
	return nil
}

// batch fills the rows of one span and moves the part's checkpoint to its end,
// in one transaction. Where f raises for one of the rows, all are filled row by
// row instead, and those stay without new form.
func (f *filler) batch(ctx context.Context, s *session, p *part, batch span, last bool) (rows int64, err error) {
	for _, rowByRow := range []bool{false, true} {
		err = pgx.BeginFunc(ctx, s.Conn, func(tx pgx.Tx) (err error) {
			if rows, err = f.write(ctx, tx, batch, rowByRow); err != nil {
				return err
			}
			tag, err := tx.Exec(ctx, `
				update gapless.checkpoint set reached = coalesce($4, reached), rows = rows + $5, done = $6, at = clock_timestamp()
				where change = $1 and step = $2 and part = $3 and reached is not distinct from $7 and not done`,
				f.change, f.step, p.number, batch.upper, rows, last, p.reached)
			if err != nil {
				return fmt.Errorf("move the checkpoint: %w", err)
			}
			if tag.RowsAffected() != 1 {
				return fmt.Errorf("part %d of %s was moved by another runner", p.number, f.step)
			}
			return nil
		})
		if err == nil || !aboutValue(err) {
			break
		}
	}
	if err != nil {
		return 0, err
	}
	p.done, p.rows = last, p.rows+rows
	if batch.upper != nil {
		p.reached = batch.upper
	}
	return rows, nil
}

// mark tells our statements on the application's tables from its own in
// pg_stat_statements.
const mark = "/* gapless */ "

// beginBatch makes a batch's settings. What it writes passes by the sync trigger
// of the change of this name.
func (f *filler) beginBatch(ctx context.Context, tx pgx.Tx, passes string) error {
	// Whoever waits for one of our rows waits no longer for us than for the
	// batch: we give up before the server looks for a deadlock, so that it is
	// never the application's transaction that ends. A lost commit is lost
	// together with its checkpoint.
	_, err := tx.Exec(ctx, `
		select set_config('gapless.backfill', $1, true), set_config('synchronous_commit', 'off', true), set_config('enable_seqscan', 'off', true),
		  set_config('lock_timeout', least($2::bigint, setting::bigint / 2) || 'ms', true) from pg_settings where name = 'deadlock_timeout'`,
		passes, f.db.options.LockTimeout.Milliseconds())
	if err != nil {
		return fmt.Errorf("begin a batch: %w", err)
	}
	return nil
}

// fill gives the rows of a span that have no new form one. The update looks at
// each row again under its lock, so that what a writer did meanwhile stands.
func (f *filler) fill(ctx context.Context, tx pgx.Tx, within span, rowByRow bool) (int64, error) {
	r := f.r
	if err := f.beginBatch(ctx, tx, r.change.ID); err != nil {
		return 0, err
	}
	condition, args := within.condition(r.table.key)
	unset := condition + " and " + allNull(r.new, "")
	if f.blank {
		unset += " and " + anyNotNull(r.old, "")
	}
	var sets []string
	for _, c := range r.new {
		sets = append(sets, c.ident()+" = "+r.f(c))
	}
	statement := fmt.Sprintf(mark+"update %s set %s where %s", r.table.ident(), comma(sets), unset)
	if rowByRow {
		call := fmt.Sprintf("%s(%s) as f", r.forwardName(), comma(idents(r.old, "")))
		unmapped := fmt.Sprintf(`
			insert into gapless.kept (change, tbl, key, side, value, why)
			select %[1]s, %[2]d::regclass, key, 'old', value, 'unmapped' from (
			  select %[3]s as key, %[4]s as value from %[5]s where %[6]s and not (select f.gapless_ok from %[7]s)) as bad
			where not exists (select from gapless.kept k where k.change = %[1]s and k.why = 'unmapped' and k.key = bad.key and k.value = bad.value)`,
			literal(r.change.ID), r.table.oid, object(r.table.key, ""), object(r.old, ""), r.table.ident(), unset, call)
		if _, err := tx.Exec(ctx, unmapped, args...); err != nil {
			return 0, fmt.Errorf("note rows without a new form: %w", err)
		}
		statement = fmt.Sprintf(mark+"update %s set (%s) = (select %s from %s) where %s and (select f.gapless_ok from %s)",
			r.table.ident(), comma(idents(r.new, "")), comma(idents(r.new, "f.")), call, unset, call)
	}
	tag, err := tx.Exec(ctx, statement, args...)
	if err != nil {
		return 0, fmt.Errorf("fill a batch of %s: %w", r.table.ident(), err)
	}
	return tag.RowsAffected(), nil
}

// blankStaysBlank tells whether f of nothing is nothing, so that rows without an
// old form need no visit.
func (s *session) blankStaysBlank(ctx context.Context, r relation) (bool, error) {
	nulls := make([]string, len(r.old))
	for i, c := range r.old {
		nulls[i] = "null::" + c.sqlType
	}
	var blank bool
	err := s.QueryRow(ctx, fmt.Sprintf("select f.gapless_ok and %s from %s(%s) as f", allNull(r.new, "f."), r.forwardName(), comma(nulls))).Scan(&blank)
	if err != nil {
		return false, fmt.Errorf("map a row without an old form: %w", err)
	}
	return blank, nil
}
