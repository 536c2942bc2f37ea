package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// prune removes the archives that have expired, with the values that sync set
// aside for them. One that somebody reads is left for the next time, and one that
// a change is being brought back out of until that is over.
func (db *DB) prune(ctx context.Context, s *session) error {
	var there bool
	if err := s.QueryRow(ctx, `select to_regclass('gapless.archive') is not null`).Scan(&there); err != nil || !there {
		return err
	}
	rows, err := s.Query(ctx, `
		select n, archive_table, kind, change from gapless.archive a where expires_at < clock_timestamp()
		  and not exists (select from gapless.change c where c.id = a.change and c.state = 'restoring') order by n`)
	if err != nil {
		return fmt.Errorf("look for archives that have expired: %w", err)
	}
	type archive struct {
		N                   int64
		Table, Kind, Change string
	}
	expired, err := pgx.CollectRows(rows, pgx.RowToStructByPos[archive])
	if err != nil {
		return fmt.Errorf("look for archives that have expired: %w", err)
	}
	for _, a := range expired {
		err := s.deleteAll(ctx, "gapless.archived_kept", "archive", a.N)
		if err == nil && a.Kind == string(ofContract) {
			err = s.forgetKept(ctx, a.Change, a.N)
		}
		if err != nil {
			return err
		}
		err = pgx.BeginFunc(ctx, s.Conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `delete from gapless.archive where n = $1`, a.N); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "drop table if exists "+a.Table)
			return err
		})
		if err != nil && !metLock(err) {
			return fmt.Errorf("remove archive %s, which has expired: %w", a.Table, err)
		}
	}
	return nil
}

// forgetKept deletes what sync set aside for a change whose archive has expired,
// unless the change was brought back out of that: then it goes on setting aside,
// and a later archive tells when all of it may go.
func (s *session) forgetKept(ctx context.Context, id string, archive int64) error {
	var last bool
	err := s.QueryRow(ctx, `select exists (select from gapless.archive where n = $1 and restored_at is null)`, archive).Scan(&last)
	if err != nil {
		return fmt.Errorf("look whether change %s was brought back: %w", id, err)
	}
	if !last {
		return nil
	}
	return s.deleteAll(ctx, "gapless.kept", "change", id)
}

// deleteAll deletes the rows of one of our tables that have a value in a
// column, some at a time.
func (s *session) deleteAll(ctx context.Context, name, column string, value any) error {
	const some = 10_000
	for {
		tag, err := s.Exec(ctx, fmt.Sprintf("delete from %[1]s where n in (select n from %[1]s where %[2]s = $1 limit %[3]d)", name, column, some), value)
		if err != nil {
			return fmt.Errorf("delete from %s: %w", name, err)
		}
		if tag.RowsAffected() < some {
			return nil
		}
	}
}
