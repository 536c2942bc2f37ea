package database

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// parts are those of a step that fills, as it was begun. The first time the key
// is divided into one part for each worker.
func (f *filler) parts(ctx context.Context, s *session) ([]part, error) {
	parts, err := f.loadParts(ctx, s)
	if err != nil || len(parts) > 0 {
		return parts, err
	}
	bounds, err := s.divide(ctx, f.table, f.db.options.Workers)
	if err != nil {
		return nil, err
	}
	err = pgx.BeginFunc(ctx, s.Conn, func(tx pgx.Tx) error {
		var lower []string
		for i := range len(bounds) + 1 {
			var upper []string
			if i < len(bounds) {
				upper = bounds[i]
			}
			_, err := tx.Exec(ctx, `insert into gapless.checkpoint (change, step, part, lower, upper) values ($1, $2, $3, $4, $5)`,
				f.change, f.step, i, lower, upper)
			if err != nil {
				return fmt.Errorf("begin %s: %w", f.step, err)
			}
			lower = upper
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f.loadParts(ctx, s)
}

func (f *filler) loadParts(ctx context.Context, q querier) ([]part, error) {
	rows, err := q.Query(ctx, `select part, lower, upper, reached, rows, done from gapless.checkpoint
		where change = $1 and step = $2 order by part`, f.change, f.step)
	if err != nil {
		return nil, fmt.Errorf("read how far %s is: %w", f.step, err)
	}
	parts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (part, error) {
		var p part
		err := row.Scan(&p.number, &p.within.lower, &p.within.upper, &p.reached, &p.rows, &p.done)
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("read how far %s is: %w", f.step, err)
	}
	return parts, nil
}

// sampled is how many rows a sample of a table should have.
const sampled = 20_000

// divide gives the keys that divide a table into n parts of about the same
// number of rows, by a sample. A small table is not divided.
func (s *session) divide(ctx context.Context, t table, n int) ([][]string, error) {
	if n <= 1 {
		return nil, nil
	}
	estimate, err := s.estimateRows(ctx, t)
	if err != nil {
		return nil, err
	}
	percent := min(100, 100*sampled/max(float64(estimate), 1))
	rows, err := s.Query(ctx, fmt.Sprintf(`
		with sample as (select %[1]s from %[2]s tablesample system (%[3]g)),
		ranked as (select array[%[4]s] as bound, row_number() over (order by %[1]s) as n, count(*) over () as total from sample)
		select bound from ranked where total >= 100 * $1 and n in (select i * total / $1 from generate_series(1, $1 - 1) i) order by n`,
		comma(idents(t.key, "")), t.ident(), percent, comma(t.key.texts(""))), n)
	if err != nil {
		return nil, fmt.Errorf("divide %s: %w", t.ident(), err)
	}
	bounds, err := pgx.CollectRows(rows, pgx.RowTo[[]string])
	if err != nil {
		return nil, fmt.Errorf("divide %s: %w", t.ident(), err)
	}
	return bounds, nil
}

func (s *session) estimateRows(ctx context.Context, t table) (int64, error) {
	var n int64
	err := s.QueryRow(ctx, `
		select case when reltuples > 0 and relpages > 0
		  then (reltuples / relpages * (pg_relation_size(oid) / current_setting('block_size')::int))::bigint
		  else pg_relation_size(oid) / 64 end
		from pg_class where oid = $1`, t.oid).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("estimate the rows of %s: %w", t.ident(), err)
	}
	return n, nil
}

// countRows counts the rows of a table where that takes a second or so, and
// estimates them where it would take longer.
func (s *session) countRows(ctx context.Context, t table) (int64, error) {
	const countable = 512 << 20 // bytes
	var size, n int64
	if err := s.QueryRow(ctx, `select pg_relation_size($1::oid)`, t.oid).Scan(&size); err != nil {
		return 0, fmt.Errorf("measure %s: %w", t.ident(), err)
	}
	if size > countable {
		return s.estimateRows(ctx, t)
	}
	if err := s.QueryRow(ctx, fmt.Sprintf(`select count(*) from %s`, t.ident())).Scan(&n); err != nil {
		return 0, fmt.Errorf("count the rows of %s: %w", t.ident(), err)
	}
	return n, nil
}

// filler is one run of a step that fills rows in, shared by its workers.
type filler struct {
	db           *DB
	change, step string
	table        table
	// write fills the rows of a span; row by row after a row's value made it
	// fail.
	write  func(ctx context.Context, tx pgx.Tx, within span, rowByRow bool) (int64, error)
	total  int64
	begun  time.Time
	report func(change.Progress)

	r     relation // of the backfill
	blank bool     // rows without an old form need no visit

	mu      sync.Mutex
	walked  int64 // rows looked at
	resumed int64 // of them by earlier runs
	filled  int64
	told    time.Time
	holding string
}

// tellEvery is how often progress is told.
const tellEvery = 200 * time.Millisecond

// did adds a batch to the run's count.
func (f *filler) did(walked, filled int64, last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.walked = min(f.walked+walked, max(f.total, f.walked))
	f.filled += filled
	f.holding = ""
	f.tell(last)
}

// tell reports progress; f.mu is held.
func (f *filler) tell(now bool) {
	at := f.db.options.Now()
	if !now && at.Sub(f.told) < tellEvery {
		return
	}
	f.told = at
	p := change.Progress{Step: f.step, Done: f.walked, Total: f.total, Note: f.holding}
	if seconds := at.Sub(f.begun).Seconds(); seconds > 0 && f.walked > f.resumed {
		p.Rate = float64(f.walked-f.resumed) / seconds
		p.ETA = time.Duration(float64(max(f.total-f.walked, 0)) / p.Rate * float64(time.Second))
	}
	f.report(p)
}

// hold waits for as long as something holds the backfill back.
func (f *filler) hold(ctx context.Context, s *session) error {
	const look = 500 * time.Millisecond
	ask := f.db.options.Hold
	if ask == nil {
		ask = s.lagging
	}
	for {
		reason, err := ask(ctx)
		if err != nil {
			return fmt.Errorf("ask whether the backfill must wait: %w", err)
		}
		if reason == "" {
			return nil
		}
		f.mu.Lock()
		f.holding = reason
		f.tell(false)
		f.mu.Unlock()
		if err := pause(ctx, look); err != nil {
			return err
		}
	}
}

// lagging names a standby that is far behind. A role that may not see standbys
// sees none.
func (s *session) lagging(ctx context.Context) (string, error) {
	const most = 10 * time.Second
	var reason string
	err := s.QueryRow(ctx, `
		select coalesce((select format('standby %s is %s s behind', application_name, round(extract(epoch from replay_lag)))
		  from pg_stat_replication where replay_lag > make_interval(secs => $1) order by replay_lag desc limit 1), '')`, most.Seconds()).Scan(&reason)
	return reason, err
}
