package database_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/pgtest"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

const (
	queueTimeout = 450 * time.Millisecond
	queueSlack   = 200 * time.Millisecond
)

// staggered holds tables by transactions of their own, each of which ends a
// little later than the one before: within the lock timeout of whoever waits for
// one after the other.
func (s *stage) staggered(t *testing.T, lock string, tables ...string) (ended func()) {
	t.Helper()
	var holding sync.WaitGroup
	for n, name := range tables {
		conn := s.connect(t)
		if _, err := conn.Exec(t.Context(), "begin; "+fmt.Sprintf(lock, name)); err != nil {
			t.Fatal(err)
		}
		holding.Go(func() {
			pause(t.Context(), queueTimeout*4/5*time.Duration(n+1))
			if _, err := conn.Exec(context.Background(), "rollback"); err != nil {
				t.Error(err)
			}
		})
	}
	return holding.Wait
}

// queued is the longest that a statement of another session waits while work is
// done.
func (s *stage) queued(t *testing.T, statement string, work func() error) (waited time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	conn := s.connect(t)
	var asking sync.WaitGroup
	asking.Go(func() {
		for ctx.Err() == nil {
			begun := time.Now()
			if _, err := conn.Exec(t.Context(), statement); err != nil {
				t.Error(err)
				return
			}
			waited = max(waited, time.Since(begun))
			pause(ctx, time.Millisecond)
		}
	})
	err := work()
	cancel()
	asking.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return waited
}

func pause(ctx context.Context, wait time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// A statement that locks one table after the other, or one partition after the
// other, keeps those who queue behind the first no longer than for one lock.
func TestNobodyQueuesForOneLockAfterTheOther(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, tables, body string
		held               []string
		statement          string // of somebody who queues
	}{{
		name: "partitions",
		tables: `create table event (id int, day int, kind text, note text, primary key (id, day)) partition by range (day);
			do $$ begin for i in 0..19 loop execute format('create table event_%s partition of event for values from (%s) to (%s)', i, i, i + 1); end loop; end $$;
			insert into event select i, i % 20, 'k' || i, 'n' from generate_series(1, 500) i`,
		body: `table: event
quiet_for: 0s
expand:
  - add_column: {name: sort, type: text}
  - add_column: {name: size, type: int, default: "3"}
  - set_default: {column: note, value: "'new'"}
  - add_check: {name: sized, expression: size > 0}
sync:
  forward: {sort: kind}
  backward: {kind: sort}
contract:
  - drop_column: kind
  - set_not_null: {column: note}
hide_for: 1s
`,
		held:      []string{"event_11", "event_17"},
		statement: `update event set note = 'x' where id = 1 and day = 1`,
	}, {
		name: "foreign keys",
		tables: `create table customer (id int primary key);
			create table purchase (id int primary key, customer int, buyer int references customer);
			insert into purchase values (1)`,
		body: `table: purchase
quiet_for: 0s
contract:
  - add_foreign_key: {name: bought, columns: [customer], references: {table: customer, columns: [id]}}
  - drop_column: buyer
`,
		held:      []string{"purchase", "customer"},
		statement: `update purchase set customer = null where id = 1`,
	}}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, database.Options{LockTimeout: queueTimeout, Attempts: 100})
			c := parse(t, "0001-x", "name: x\n"+k.body)
			// The machine may stall a writer for reasons of its own: the best of
			// three.
			best := map[string]time.Duration{}
			for try := 0; try == 0 || try < 3 && slowest(best) > queueTimeout+queueSlack; try++ {
				s.reset(t)
				s.exec(t, k.tables)
				waits := map[string]time.Duration{}
				s.oneLock(t, c, change.ExpandSteps(c), k.statement, k.held, waits)
				s.oneLock(t, c, change.RevertSteps(c), k.statement, k.held, waits)
				s.expand(t, c)
				s.oneLock(t, c, change.ContractSteps(c), k.statement, k.held, waits)
				s.oneLock(t, c, change.RestoreSteps(c), k.statement, k.held, waits)
				for step, wait := range waits {
					if before, there := best[step]; !there || wait < before {
						best[step] = wait
					}
				}
			}
			for step, wait := range best {
				t.Logf("%s: the longest wait is %s", step, wait.Round(time.Millisecond))
				if wait > queueTimeout+queueSlack {
					t.Errorf("%s: a writer waited %s behind us, allowed are %s", step, wait, queueTimeout+queueSlack)
				}
			}
		})
	}
}

func slowest(waits map[string]time.Duration) (longest time.Duration) {
	for _, wait := range waits {
		longest = max(longest, wait)
	}
	return longest
}

// oneLock applies steps while others hold tables, one after the other, and notes
// how long each has somebody wait.
func (s *stage) oneLock(t *testing.T, c change.Change, steps []change.Step, statement string, held []string, waits map[string]time.Duration) {
	t.Helper()
	for _, step := range steps {
		if slices.Contains([]change.StepKind{change.Prepare, change.Backfill, change.Fill, change.Verifying, change.Turn, change.Reverted}, step.Kind) {
			s.run(t, c, []change.Step{step})
			continue
		}
		ended := s.staggered(t, "update %s set id = id where id < 0", held...)
		waits[fmt.Sprintf("%s %s", step.Part, step.ID)] = s.queued(t, statement, func() error {
			_, err := s.db.Apply(t.Context(), c, step, nil)
			return err
		})
		ended()
	}
}

// Autovacuum that is at work on a table gives way to our DDL, as it does to
// everybody's who waits long enough, although we wait no longer than a lock
// timeout that is as long as the server's time for deadlocks.
func TestAutovacuumGivesWay(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start(t.Context(), pgtest.Options{Settings: map[string]string{"autovacuum_naptime": "1s"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := server.CreateDatabase(t.Context(), "vacuumed"); err != nil {
		t.Fatal(err)
	}
	s := stageAt(t, server.URL("vacuumed"), database.Options{Attempts: 2})
	s.addresses(t, 20_000)
	s.exec(t, `create table person (id int primary key, address bigint references address)`)
	c := parse(t, exampleID, example)
	s.run(t, c, change.ExpandSteps(c)[:1])
	// Slow enough for the test, and again and again.
	s.exec(t, `alter table address set (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 1,
		autovacuum_vacuum_scale_factor = 0, autovacuum_analyze_threshold = 1000000000)`)
	vacuumed := func(c change.Change, step change.Step) {
		t.Helper()
		s.exec(t, `update address set phone = phone where id % 10 = 0`)
		until(t, "autovacuum is at work", func() bool {
			return one[bool](t, s, `select exists (select from pg_stat_progress_vacuum where relid = to_regclass('address'))`)
		})
		if _, err := s.db.Apply(t.Context(), c, step, nil); err != nil {
			t.Errorf("%s: %v\nhint: %s", step.ID, err, rollout.HintOf(err))
		}
	}
	steps := change.ExpandSteps(c)
	vacuumed(c, steps[1])
	vacuumed(c, steps[2])
	s.run(t, c, steps[3:])
	steps = change.ContractSteps(c)
	s.run(t, c, steps[:len(steps)-1])
	vacuumed(c, steps[len(steps)-1])
	for _, body := range []string{
		"expand:\n  - add_check: {name: positive, expression: id > -9}\n",
		"expand:\n  - rename_table: {to: place}\n",
	} {
		c := parse(t, "0008-"+body[12:17], "name: x\ntable: address\nquiet_for: 0s\n"+body)
		steps := change.ExpandSteps(c)
		s.run(t, c, steps[:1])
		vacuumed(c, steps[1])
		steps = change.RevertSteps(c)
		s.run(t, c, steps[:2])
		if strings.Contains(body, "rename") {
			break
		}
		vacuumed(c, steps[2])
		s.run(t, c, steps[3:])
	}
}
