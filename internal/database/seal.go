package database

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// seal counts and sums up an archive that nothing writes any more, and notes
// both with what contract dropped.
func (db *DB) seal(ctx context.Context, s *session, id string) (change.Evidence, error) {
	e, done, err := finished(ctx, s, id, string(change.Drop))
	if err != nil || e.ArchiveSum != "" {
		return e, err
	}
	if !done {
		return e, errors.New("the drop left no evidence")
	}
	t, err := s.archived(ctx, id)
	if err != nil {
		return e, err
	}
	e.ArchiveTable = t.ident()
	if e.ArchiveRows, e.ArchiveSum, err = db.checksum(ctx, s, t); err != nil {
		return e, err
	}
	return e, pgx.BeginFunc(ctx, s.Conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update gapless.archive set rows = $2, checksum = $3, done_at = clock_timestamp() where change = $1`,
			id, e.ArchiveRows, e.ArchiveSum)
		if err != nil {
			return fmt.Errorf("seal the archive: %w", err)
		}
		return finish(ctx, tx, id, e)
	})
}

// archived is the archive of a change, as a table.
func (s *session) archived(ctx context.Context, id string) (table, error) {
	t := table{schema: "gapless"}
	err := s.QueryRow(ctx, `select c.oid, c.relname from gapless.archive a join pg_class c on c.oid = to_regclass(a.archive_table) where a.change = $1`, id).
		Scan(&t.oid, &t.name)
	if err != nil {
		return t, fmt.Errorf("find the archive of change %s: %w", id, err)
	}
	return t, s.describe(ctx, s, &t)
}

// checksum counts a table's rows and sums up their digests (the two halves of
// each row's MD5), so that the order of the rows does not matter.
func (db *DB) checksum(ctx context.Context, s *session, t table) (rows int64, sum string, err error) {
	pace, rest := newPace(db.options.BatchTarget), span{}
	high, low := new(big.Int), new(big.Int)
	for last := false; !last; {
		var chunk span
		if chunk, last, err = s.step(ctx, s, t, rest, pace.size()); err != nil {
			return 0, "", err
		}
		condition, args := chunk.condition(t.key)
		var n int64
		var halves [2]string
		begun := time.Now()
		err = s.QueryRow(ctx, fmt.Sprintf(`
			select count(*), coalesce(sum(('x' || substr(d, 1, 16))::bit(64)::bigint::numeric), 0)::text,
			       coalesce(sum(('x' || substr(d, 17))::bit(64)::bigint::numeric), 0)::text
			from (select md5(row(%s)::text) as d from %s where %s) as digests`, comma(idents(t.columns, "")), t.ident(), condition), args...).
			Scan(&n, &halves[0], &halves[1])
		if err != nil {
			return 0, "", fmt.Errorf("sum up %s: %w", t.ident(), err)
		}
		pace.took(pace.size(), time.Since(begun))
		for i, into := range []*big.Int{high, low} {
			v, ok := new(big.Int).SetString(halves[i], 10)
			if !ok {
				return 0, "", fmt.Errorf("sum up %s: %q is no number", t.ident(), halves[i])
			}
			into.Add(into, v)
		}
		rows += n
		rest.lower = chunk.upper
	}
	return rows, hash(fmt.Sprintf("%d %s %s", rows, high, low)), nil
}
