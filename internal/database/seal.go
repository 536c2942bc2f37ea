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
// both with what contract dropped. What has expired of all archives goes.
func (db *DB) seal(ctx context.Context, s *session, c change.Change) (change.Evidence, error) {
	e, done, err := finished(ctx, s, c.ID, string(change.Drop))
	if err != nil || e.ArchiveSum != "" {
		return e, err
	}
	if !done {
		return e, errors.New("the drop left no evidence")
	}
	if err := db.seals(ctx, s, c, ofContract, &e); err != nil {
		return e, err
	}
	err = pgx.BeginFunc(ctx, s.Conn, func(tx pgx.Tx) error { return finish(ctx, tx, c.ID, e) })
	if err != nil {
		return e, err
	}
	return e, db.prune(ctx, s)
}

// seals ends the archive of a kind that is not ended, if there is one.
func (db *DB) seals(ctx context.Context, s *session, c change.Change, kind archiveKind, e *change.Evidence) error {
	err := s.QueryRow(ctx, `select archive_table from gapless.archive where change = $1 and kind = $2 and done_at is null`, c.ID, string(kind)).
		Scan(&e.ArchiveTable)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the archive of change %s: %w", c.ID, err)
	}
	t, err := s.archiveTable(ctx, e.ArchiveTable)
	if err != nil {
		return err
	}
	if e.ArchiveRows, e.ArchiveSum, err = db.checksum(ctx, s, t); err != nil {
		return err
	}
	_, err = s.Exec(ctx, `update gapless.archive set rows = $2, checksum = $3, done_at = t.now,
		expires_at = t.now + nullif($4, 0) * interval '1 second' from (select clock_timestamp() as now offset 0) as t where archive_table = $1`,
		e.ArchiveTable, e.ArchiveRows, e.ArchiveSum, c.Archive.Keep.Seconds())
	if err != nil {
		return fmt.Errorf("seal the archive: %w", err)
	}
	return nil
}

// archiveTable is an archive as a table.
func (s *session) archiveTable(ctx context.Context, name string) (table, error) {
	t := table{schema: "gapless", kind: "r"}
	err := s.QueryRow(ctx, `select oid, relname from pg_class where oid = to_regclass($1)`, name).Scan(&t.oid, &t.name)
	if err != nil {
		return t, fmt.Errorf("find archive %s: %w", name, err)
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
