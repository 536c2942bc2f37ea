package database

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// backoff waits before attempt n, counted from 1: twice as long each time, from
// a quarter of a second to 5s, and somewhere in the upper half of that, so that
// two who met do not meet again.
func backoff(ctx context.Context, n int) error {
	const first, most = 250 * time.Millisecond, 5 * time.Second
	wait := min(first<<min(n-1, 10), most)
	return pause(ctx, wait/2+rand.N(wait/2))
}

func pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// inTransaction runs work in a transaction that is tried again when it meets a
// lock. Work must hold one statement that waits for locks, so that nobody
// queues behind us for longer than the lock timeout.
func (db *DB) inTransaction(ctx context.Context, s *session, object string, work func(pgx.Tx) error) error {
	return db.retry(ctx, s, object, s.options.LockTimeout, func() error {
		return pgx.BeginFunc(ctx, s.Conn, work)
	})
}

// retry tries work as often as the options allow while it meets locks, and then
// names who held them.
func (db *DB) retry(ctx context.Context, s *session, object string, wait time.Duration, work func() error) error {
	var seen blockers
	for n := 1; ; n++ {
		stop := func() {}
		if n > 1 || db.options.Attempts == 1 {
			stop = db.watch(ctx, s, wait, &seen)
		}
		err := work()
		stop()
		if _, told := errors.AsType[*LockedError](err); err == nil || told || !metLock(err) {
			return err
		}
		if n == db.options.Attempts {
			return &LockedError{Object: object, Attempts: n, Wait: wait, Blockers: seen.list(), Err: errors.Join(err, seen.failure())}
		}
		if err := backoff(ctx, n); err != nil {
			return fmt.Errorf("%s is locked: %w", object, err)
		}
	}
}

// blockers are those seen last, or why none could be.
type blockers struct {
	mu   sync.Mutex
	last []Blocker
	err  error
}

func (b *blockers) failed(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = fmt.Errorf("look for who blocks: %w", err)
}

func (b *blockers) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *blockers) saw(seen []Blocker) {
	if len(seen) > 0 {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.last = seen
	}
}

func (b *blockers) list() []Blocker {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// watch looks from a second connection at who blocks s, several times during
// one wait, until stop is called. What it cannot see stays unseen: it is for
// the message only.
func (db *DB) watch(ctx context.Context, s *session, wait time.Duration, seen *blockers) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	pid := s.PgConn().PID()
	var done sync.WaitGroup
	done.Go(func() {
		const looks = 5
		err := db.with(ctx, "watch", func(w *session) error {
			for {
				now, err := w.blockersOf(ctx, pid)
				if err != nil {
					return err
				}
				seen.saw(now)
				if err := pause(ctx, max(wait/looks, 10*time.Millisecond)); err != nil {
					return err
				}
			}
		})
		if err != nil && ctx.Err() == nil {
			seen.failed(err)
		}
	})
	return func() { cancel(); done.Wait() }
}

func (s *session) blockersOf(ctx context.Context, pid uint32) ([]Blocker, error) {
	rows, err := s.Query(ctx, `
		select pid, coalesce(nullif(application_name, ''), backend_type, ''), coalesce(state, 'unknown'),
		       coalesce(extract(epoch from clock_timestamp() - coalesce(xact_start, state_change)), 0)::float8
		from pg_stat_activity where pid = any(pg_blocking_pids($1::int)) order by 4 desc`, int32(pid))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Blocker, error) {
		var b Blocker
		var age float64
		err := row.Scan(&b.PID, &b.Application, &b.State, &age)
		b.Age = time.Duration(age * float64(time.Second))
		return b, err
	})
}
