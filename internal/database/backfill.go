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

// filler is one run of a step that fills rows in, shared by its workers.
type filler struct {
	db           *DB
	change, step string
	table        table
	// write fills the rows of a span; row by row after a row's value made it
	// fail.
	write    func(ctx context.Context, tx pgx.Tx, within span, rowByRow bool, patience time.Duration) (int64, error)
	monitor  *monitor
	throttle throttle
	tally    *tally

	r     relation // of the backfill
	blank bool     // rows without an old form need no visit
}

// backfill gives the rows that were there before the trigger their new form.
// Rows whose new form is set are never touched.
func (db *DB) backfill(ctx context.Context, s *session, c change.Change, st standing, progress func(change.Progress)) (change.Evidence, error) {
	e := change.Evidence{Step: string(change.Backfill)}
	r, err := s.relation(ctx, c, st)
	if err != nil {
		return e, err
	}
	f := &filler{db: db, change: c.ID, step: e.Step, table: r.table, r: r}
	f.write = f.fill
	if f.blank, err = s.blankStaysBlank(ctx, r); err != nil {
		return e, err
	}
	if err := f.run(ctx, s, progress); err != nil {
		return e, err
	}
	e.Detail = f.tally.warned()
	return db.filled(ctx, s, f, e)
}

// run fills every part that is not done, under watch of the database's health.
func (f *filler) run(ctx context.Context, s *session, progress func(change.Progress)) error {
	parts, err := f.parts(ctx, s)
	if err != nil {
		return err
	}
	total, err := s.countRows(ctx, f.table)
	if err != nil {
		return err
	}
	f.tally = newTally(f.db.options.Now, f.step, total, parts, progress)
	return f.db.with(ctx, f.change+" health", func(own *session) error {
		var err error
		if f.monitor, err = newMonitor(ctx, f.db, own, f.change, f.table, f.tally.warn); err != nil {
			return err
		}
		return f.all(ctx, parts)
	})
}

// all fills all parts, with as many workers as there may be, each of which
// takes the next part when it has done one.
func (f *filler) all(ctx context.Context, parts []part) error {
	queue := make(chan *part, len(parts))
	for i := range parts {
		if !parts[i].done {
			queue <- &parts[i]
		}
	}
	close(queue)
	group, ctx := errgroup.WithContext(ctx)
	watching, enough := context.WithCancel(ctx)
	group.Go(func() error { return f.monitor.run(watching) })
	group.Go(func() error {
		defer enough()
		workers, ctx := errgroup.WithContext(ctx)
		for range min(f.db.options.Workers, len(queue)) {
			workers.Go(func() error {
				return f.db.with(ctx, f.change, func(s *session) error { return f.work(ctx, s, queue) })
			})
		}
		return workers.Wait()
	})
	return group.Wait()
}

func (f *filler) work(ctx context.Context, s *session, queue <-chan *part) error {
	pace := newPace(f.db.options.BatchTarget)
	for p := range queue {
		if err := f.part(ctx, s, p, pace); err != nil {
			return err
		}
	}
	return nil
}

// filled notes that the backfill is done. The evidence is of the run that
// ended it; rows are of all runs.
func (db *DB) filled(ctx context.Context, s *session, f *filler, e change.Evidence) (change.Evidence, error) {
	e.Seconds = db.options.Now().Sub(f.tally.begun).Seconds()
	if e.Seconds > 0 {
		e.RowsPerSecond = float64(f.tally.filled) / e.Seconds
	}
	if before, done, err := finished(ctx, s, f.r.change.ID, e.Step); err != nil || done && f.tally.filled == 0 {
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
func (f *filler) part(ctx context.Context, s *session, p *part, pace *pace) error {
	var seen blockers
	for tries := 0; !p.done; {
		rate, stretch, err := f.hold(ctx)
		if err != nil {
			return err
		}
		stop := func() {}
		if tries > 0 {
			stop = f.db.watch(ctx, s, f.db.options.LockTimeout, &seen)
		}
		took, err := f.next(ctx, s, p, pace, rate)
		stop()
		if err == nil {
			tries = 0
			if err := f.rest(ctx, time.Duration(stretch*float64(took))); err != nil {
				return err
			}
			continue
		}
		slow := sqlState(err) == queryCanceled && ctx.Err() == nil
		if !metLock(err) && !slow {
			return err
		}
		whole := pace.size()
		pace.failed()
		if slow && whole > 1 { // too large, not locked
			continue
		}
		if tries++; tries >= f.db.options.Attempts {
			return &LockedError{Object: "rows of table " + f.table.ident(), Attempts: tries, Wait: f.db.options.LockTimeout,
				Blockers: seen.list(), Err: errors.Join(err, seen.failure())}
		}
		if err := backoff(ctx, tries); err != nil {
			return err
		}
	}
	return nil
}

// next fills the part's next batch, and gives the time that its rows were
// locked.
func (f *filler) next(ctx context.Context, s *session, p *part, pace *pace, rate float64) (time.Duration, error) {
	size := pace.within(rate)
	batch, last, err := s.step(ctx, s, f.table, p.rest(), size)
	if err != nil {
		return 0, err
	}
	if last {
		rest, err := s.count(ctx, s, f.table, batch)
		if err != nil {
			return 0, err
		}
		size = int(rest)
	}
	begun := f.db.options.Now()
	rows, err := f.batch(ctx, s, p, batch, last, pace.patience(s.options.StatementTimeout))
	if err != nil {
		return 0, err
	}
	took := f.db.options.Now().Sub(begun)
	pace.took(size, took)
	f.throttle.spend(begun, rows, rate)
	f.tally.did(int64(size), rows, p.done)
	return took, nil
}

// batch fills the rows of one span and moves the part's checkpoint to its end,
// in one transaction. Where f raises for one of the rows, all are filled row by
// row instead, and those stay without new form.
func (f *filler) batch(ctx context.Context, s *session, p *part, batch span, last bool, patience time.Duration) (rows int64, err error) {
	for _, rowByRow := range []bool{false, true} {
		err = pgx.BeginFunc(ctx, s.Conn, func(tx pgx.Tx) (err error) {
			if rows, err = f.write(ctx, tx, batch, rowByRow, patience); err != nil {
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
