package lifecycletest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

const (
	lockTimeout = 300 * time.Millisecond
	slack       = 200 * time.Millisecond
)

// A reader and a writer run all along, while other people's transactions hold
// locks that our DDL meets. Neither waits longer than the lock timeout and a
// little.
func TestNobodyWaitsLong(t *testing.T) {
	t.Parallel()
	major := serverMajor(t)
	for i, o := range operations() {
		if testing.Short() && i%8 != 0 || o.since > major {
			continue
		}
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			// The machine may stall a client for reasons of its own: the best
			// of three.
			longest := time.Hour
			for try := 0; try < 3 && longest > lockTimeout+slack; try++ {
				c := newGround(t, database.Options{LockTimeout: lockTimeout, Attempts: 100, BatchTarget: 50 * time.Millisecond}).cell(t, o, kinds()[0], base)
				longest = min(longest, c.longestWait(t))
			}
			t.Logf("the longest wait of a reader or writer: %s", longest.Round(time.Millisecond))
			if longest > lockTimeout+slack {
				t.Errorf("a reader or writer waited %s, allowed are %s", longest, lockTimeout+slack)
			}
		})
	}
}

// longestWait is that of a client throughout expand and contract.
func (c *cell) longestWait(t *testing.T) time.Duration {
	t.Helper()
	others := c.others(t)
	defer others()
	longest := c.timed(t, c.client(t, c.o.old), change.ExpandSteps(c.c))
	c.follow()
	c.world.mapping = nil
	return max(longest, c.timed(t, c.client(t, c.o.new), change.ContractSteps(c.c)))
}

// timed applies steps while one revision reads and writes.
func (c *cell) timed(t *testing.T, writer *client, steps []change.Step) time.Duration {
	t.Helper()
	reader := c.client(t, writer.revision)
	writer.whole = true
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	var longest [2]time.Duration
	for i, act := range []func() error{
		func() error { return writer.act(t.Context()) },
		func() error {
			if len(reader.columns) == 0 {
				return nil
			}
			_, err := rowsOf(t.Context(), reader.conn, c.k, reader.ident, reader.names(), c.k.where(1))
			return err
		},
	} {
		working.Go(func() {
			for ctx.Err() == nil {
				begun := time.Now()
				if err := act(); err != nil {
					t.Error(err)
					return
				}
				longest[i] = max(longest[i], time.Since(begun))
				pause(ctx, time.Millisecond)
			}
		})
	}
	for _, step := range steps {
		if _, err := c.db.Apply(t.Context(), c.c, step, nil); err != nil {
			t.Errorf("%v\nhint: %s", err, rollout.HintOf(err))
			break
		}
	}
	cancel()
	working.Wait()
	return max(longest[0], longest[1])
}

// others hold locks on the table, on and off: one a row's, one that of a reader
// who has forgotten to commit.
func (c *cell) others(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	// A table may have gone or have another name meanwhile.
	for _, statement := range []string{
		fmt.Sprintf("update %s set %s = 'held' where %s", c.k.ident(), c.k.c("phone"), c.k.where(2)),
		fmt.Sprintf("select count(*) from %s", c.k.ident()),
	} {
		conn := c.connect(t)
		working.Go(func() {
			for ctx.Err() == nil {
				for _, sql := range []string{"begin", statement} {
					if _, err := conn.Exec(t.Context(), sql); err != nil && sql == "begin" {
						t.Error(err)
					}
				}
				pause(ctx, 100*time.Millisecond+rand.N(500*time.Millisecond))
				if _, err := conn.Exec(t.Context(), "rollback"); err != nil {
					t.Error(err)
				}
				pause(ctx, 50*time.Millisecond+rand.N(400*time.Millisecond))
			}
		})
	}
	return func() { cancel(); working.Wait() }
}

func pause(ctx context.Context, wait time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}
