package database

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// runnerLock is the advisory lock of whoever works on a database: the first
// bytes of SHA-256("gapless").
const runnerLock int64 = 0x5a745dd56059c624

// lockPrefix marks the session that holds the lock.
const lockPrefix = "lock by "

// Lock lets one runner work on the database at a time. It does not wait: the
// error is a *BusyError that names who works. The lock ends with unlock or with
// the process.
func (db *DB) Lock(ctx context.Context, holder string) (unlock func(context.Context) error, err error) {
	s, err := db.connect(ctx, lockPrefix+holder)
	if err != nil {
		return nil, err
	}
	var got bool
	if err := s.QueryRow(ctx, `select pg_try_advisory_lock($1)`, runnerLock).Scan(&got); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the database for %s: %w", holder, err), s.close(ctx))
	}
	if !got {
		busy, err := s.runner(ctx)
		return nil, errors.Join(busy, err, s.close(ctx))
	}
	return func(ctx context.Context) error { return s.close(ctx) }, nil
}

func (s *session) runner(ctx context.Context) (error, error) {
	busy := &BusyError{Holder: "unknown"}
	var application string
	var seconds float64
	err := s.QueryRow(ctx, `
		select a.pid, coalesce(a.application_name, ''), coalesce(extract(epoch from now() - a.backend_start), 0)::float8
		from pg_locks l join pg_stat_activity a using (pid)
		where l.locktype = 'advisory' and l.granted and l.objsubid = 1
		  and l.database = (select oid from pg_database where datname = current_database())
		  and ((l.classid::bigint << 32) | l.objid::bigint) = $1`, runnerLock).Scan(&busy.PID, &application, &seconds)
	if errors.Is(err, pgx.ErrNoRows) {
		return busy, nil // it has just ended
	}
	if err != nil {
		return nil, fmt.Errorf("ask who holds the lock: %w", err)
	}
	busy.Holder = strings.TrimPrefix(application, "gapless/"+lockPrefix)
	busy.Since = time.Duration(seconds * float64(time.Second))
	return busy, nil
}
