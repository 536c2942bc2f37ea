package database

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
)

// concurrently runs a statement that waits for the transactions of others. It
// holds up nobody by that, so that it waits as long as ctx allows and names
// whom it waits for; with a lock timeout it would fail and leave its half.
func (db *DB) concurrently(ctx context.Context, s *session, step, object, statement string, progress func(change.Progress)) (err error) {
	if _, err := s.Exec(ctx, `select set_config('lock_timeout', '0', false), set_config('statement_timeout', '0', false)`); err != nil {
		return fmt.Errorf("wait without limit: %w", err)
	}
	begun := db.options.Now()
	var seen blockers
	stop := db.watch(ctx, s, time.Second, &seen)
	watching, quit := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		for pause(watching, time.Second) == nil {
			p := change.Progress{Step: step}
			if by := seen.list(); len(by) > 0 {
				p.Note = "waits for " + by[0].String()
			}
			progress(p)
		}
	}()
	_, err = s.Exec(ctx, statement)
	quit()
	<-told
	stop()
	if err != nil {
		if ctx.Err() != nil || metLock(err) {
			return &LockedError{Object: "index " + object, Attempts: 1, Wait: db.options.Now().Sub(begun).Round(time.Second),
				Blockers: seen.list(), Err: errors.Join(err, seen.failure())}
		}
		return fmt.Errorf("%s: %w", statement, err)
	}
	_, err = s.Exec(ctx, `select set_config('lock_timeout', $1, false), set_config('statement_timeout', $2, false)`,
		milliseconds(s.options.LockTimeout), milliseconds(s.options.StatementTimeout))
	if err != nil {
		return fmt.Errorf("limit waiting again: %w", err)
	}
	return nil
}
