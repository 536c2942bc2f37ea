package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// leastParts is into how many parts the key of all but small tables is divided.
// They are many more than there are workers, so that at the end none of these
// fills a large part alone, and so that a backfill that goes on with other
// workers has parts for them.
const leastParts, partsPerWorker = 16, 4

// parts are those of the step, as it was begun.
func (f *filler) parts(ctx context.Context, s *session) ([]part, error) {
	parts, err := f.loadParts(ctx, s)
	if err != nil || len(parts) > 0 {
		return parts, err
	}
	bounds, err := s.divide(ctx, f.table, max(leastParts, partsPerWorker*f.db.options.Workers))
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

// sample is the clause that gives about so many rows of a table of this size.
// It reads whole blocks, of all partitions alike.
func sample(rows int64) (clause string, percent float64) {
	percent = min(100, 100*sampled/max(float64(rows), 1))
	return fmt.Sprintf("tablesample system (%g)", percent), percent
}

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
	clause, _ := sample(estimate)
	rows, err := s.Query(ctx, fmt.Sprintf(`
		with sample as (select %[1]s from %[2]s %[3]s),
		ranked as (select array[%[4]s] as bound, row_number() over (order by %[1]s) as n, count(*) over () as total from sample)
		select bound from ranked where total >= 100 * $1 and n in (select i * total / $1 from generate_series(1, $1 - 1) i) order by n`,
		comma(idents(t.key, "")), t.ident(), clause, comma(t.key.texts(""))), n)
	if err != nil {
		return nil, fmt.Errorf("divide %s: %w", t.ident(), err)
	}
	bounds, err := pgx.CollectRows(rows, pgx.RowTo[[]string])
	if err != nil {
		return nil, fmt.Errorf("divide %s: %w", t.ident(), err)
	}
	return bounds, nil
}

// sampleKeys gives keys of at most n rows from all over a table; of a small one,
// the first rows.
func (s *session) sampleKeys(ctx context.Context, t table, n int) ([][]string, error) {
	keys, err := s.divide(ctx, t, n+1)
	if err != nil || len(keys) > 0 {
		return keys, err
	}
	order := comma(idents(t.key, ""))
	rows, err := s.Query(ctx, fmt.Sprintf(`select array[%s] from %s order by %s limit $1`, comma(t.key.texts("")), t.ident(), order), n)
	if err == nil {
		keys, err = pgx.CollectRows(rows, pgx.RowTo[[]string])
	}
	if err != nil {
		return nil, fmt.Errorf("find rows of %s: %w", t.ident(), err)
	}
	return keys, nil
}

// storage are the table and all below it: partitions, and what inherits.
func (s *session) storage(ctx context.Context, t table) ([]uint32, error) {
	rows, err := s.Query(ctx, `
		with recursive tree as (select $1::oid as oid union select inhrelid from pg_inherits join tree on inhparent = tree.oid)
		select oid from tree`, t.oid)
	if err != nil {
		return nil, fmt.Errorf("find the partitions of %s: %w", t.ident(), err)
	}
	oids, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
	if err != nil {
		return nil, fmt.Errorf("find the partitions of %s: %w", t.ident(), err)
	}
	return oids, nil
}

// estimateRows tells about how many rows a table has, at once, from its size
// and what was last known of its density.
func (s *session) estimateRows(ctx context.Context, t table) (int64, error) {
	oids, err := s.storage(ctx, t)
	if err != nil {
		return 0, err
	}
	var n int64
	err = s.QueryRow(ctx, `
		select coalesce(sum(case when reltuples > 0 and relpages > 0
		  then reltuples / relpages * (pg_relation_size(oid) / current_setting('block_size')::int)
		  else pg_relation_size(oid) / 64 end), 0)::bigint
		from pg_class where oid = any($1) and relkind in ('r', 'm', 't')`, oids).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("estimate the rows of %s: %w", t.ident(), err)
	}
	return n, nil
}

// countRows counts the rows of a table where that takes a second or so, and
// counts a sample where it would take longer.
func (s *session) countRows(ctx context.Context, t table) (int64, error) {
	const countable = 512 << 20 // bytes
	oids, err := s.storage(ctx, t)
	if err != nil {
		return 0, err
	}
	var size, n int64
	if err := s.QueryRow(ctx, `select coalesce(sum(pg_relation_size(oid)), 0)::bigint from unnest($1::oid[]) oid`, oids).Scan(&size); err != nil {
		return 0, fmt.Errorf("measure %s: %w", t.ident(), err)
	}
	clause, percent := "", 100.0
	if size > countable {
		estimate, err := s.estimateRows(ctx, t)
		if err != nil {
			return 0, err
		}
		clause, percent = sample(estimate)
	}
	if err := s.QueryRow(ctx, fmt.Sprintf(`select count(*) from %s %s`, t.ident(), clause)).Scan(&n); err != nil {
		return 0, fmt.Errorf("count the rows of %s: %w", t.ident(), err)
	}
	return int64(float64(n) * 100 / percent), nil
}
