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
	for tries := 0; ; tries++ {
		var got bool
		if err := s.QueryRow(ctx, `select pg_try_advisory_lock($1)`, runnerLock).Scan(&got); err != nil {
			return nil, errors.Join(fmt.Errorf("lock the database for %s: %w", holder, err), s.close(ctx))
		}
		if got {
			return s.unlock, nil
		}
		busy, err := s.runner(ctx)
		if err == nil && busy.PID == 0 && tries == 0 { // it has just ended
			continue
		}
		return nil, errors.Join(busy, err, s.close(ctx))
	}
}

// unlock gives the lock back before it ends the session: the server may take a
// moment to notice that one has ended.
func (s *session) unlock(ctx context.Context) error {
	_, err := s.Exec(ctx, `select pg_advisory_unlock($1)`, runnerLock)
	if s.IsClosed() { // its end is the lock's
		return nil
	}
	if err != nil {
		err = fmt.Errorf("unlock the database: %w", err)
	}
	return errors.Join(err, s.close(ctx))
}

// runner tells who holds the lock; PID is 0 where nobody does any more.
func (s *session) runner(ctx context.Context) (*BusyError, error) {
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
		return busy, nil
	}
	if err != nil {
		return busy, fmt.Errorf("ask who holds the lock: %w", err)
	}
	busy.Holder = strings.TrimPrefix(application, "gapless/"+lockPrefix)
	busy.Since = time.Duration(seconds * float64(time.Second))
	return busy, nil
}
