package database_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

// triggers measures what the sync trigger costs updates that are none of its
// business: one statement over all rows, and statements that update one row by
// its key. A trigger that never fires is the least that PostgreSQL takes for any
// BEFORE UPDATE trigger: it locks the row before it looks at WHEN.
func (b *bench) triggers() {
	const rows, singles = 200_000, 20_000
	setups := []struct {
		name string
		make func()
	}{
		{"none", func() { b.exec(b.t, addTwo) }},
		{"idle", func() {
			b.exec(b.t, addTwo)
			b.exec(b.t, `create or replace function idle() returns trigger language plpgsql as 'begin return new; end';
				create trigger idle before update on address for each row when (false) execute function idle()`)
		}},
		{"ours", func() {
			b.open(database.Options{})
			c := parse(b.t, exampleID, example)
			b.run(b.t, c, change.ExpandSteps(c)[:3])
		}},
	}
	all, each := map[string][]float64{}, map[string][]float64{}
	b.exec(b.t, `set synchronous_commit = off`) // else single rows measure the disk
	defer b.exec(b.t, `reset synchronous_commit`)
	for range 2 * *benchRounds {
		for _, setup := range setups {
			b.build(rows, false)
			setup.make()
			all[setup.name] = append(all[setup.name], b.measured(func() { b.exec(b.t, `update address set phone = 'other'`) }).seconds)
			each[setup.name] = append(each[setup.name], b.measured(func() {
				for i := range singles {
					b.exec(b.t, `update address set phone = 'more' where id = $1`, i*7%rows+1)
				}
			}).seconds)
		}
	}
	compare := func(what string, took map[string][]float64, n int) {
		perRow := func(name string) string {
			return fmt.Sprintf("%.1f µs a row", median(took[name])/float64(n)*1e6)
		}
		ratios := func(against string) string {
			var list []float64
			for i := range took["ours"] {
				list = append(list, took["ours"][i]/took[against][i])
			}
			return spread(list)
		}
		b.add(what+", sync trigger in place", perRow("ours"), perRow("none")+", no trigger", ratios("none"), "1.15")
		b.add("- the same", perRow("ours"), perRow("idle")+", a trigger that never fires", ratios("idle"), "")
	}
	compare("UPDATE of another column, all rows at once", all, rows)
	compare("UPDATE of another column, one row at a time", each, singles)
}

const (
	loadConnections = 4
	loadEvery       = 20 * time.Millisecond // each
	loadFor         = 15 * time.Second
	loadRate        = 5_000
)

// load is an application at a steady pace: each transaction reads a row by its
// key, updates another and commits. It gives how long each took from when it
// was due, so that a stall counts for all that it held up.
func (b *bench) load(ctx context.Context, rows int) (stop func() []time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	var mu sync.Mutex
	var took []time.Duration
	var done sync.WaitGroup
	for range loadConnections {
		conn := b.connect(b.t)
		done.Go(func() {
			tick := time.NewTicker(loadEvery)
			defer tick.Stop()
			for {
				var due time.Time
				select {
				case <-ctx.Done():
					return
				case due = <-tick.C:
				}
				err := pgx.BeginFunc(context.WithoutCancel(ctx), conn, func(tx pgx.Tx) error {
					var street *string
					if err := tx.QueryRow(ctx, `select street from address where id = $1`, rand.IntN(rows)+1).Scan(&street); err != nil {
						return err
					}
					_, err := tx.Exec(ctx, `update address set phone = 'load' where id = $1`, rand.IntN(rows)+1)
					return err
				})
				if err != nil {
					if ctx.Err() == nil {
						b.t.Error(err)
					}
					return
				}
				mu.Lock()
				took = append(took, time.Since(due))
				mu.Unlock()
			}
		})
	}
	return func() []time.Duration {
		cancel()
		done.Wait()
		slices.Sort(took)
		return took
	}
}

// latencies measures an application's transactions with and without a throttled
// backfill beside them, and the longest wait of a reader through all of expand.
func (b *bench) latencies() {
	rows := max(*benchRows/5, 100_000)
	quantile := func(d []time.Duration, q float64) float64 {
		return d[min(int(q*float64(len(d))), len(d)-1)].Seconds() * 1000
	}
	var idle, busy, idle50, busy50, ratios, longest []float64
	for range *benchRounds {
		b.build(rows, false)
		b.open(database.Options{MaxRate: loadRate, BatchTarget: 50 * time.Millisecond})
		c := parse(b.t, exampleID, example)
		steps := change.ExpandSteps(c)
		b.run(b.t, c, steps[:3])
		b.spell(b.load(b.t.Context(), rows)) // what is not in memory yet
		quiet := b.spell(b.load(b.t.Context(), rows))
		stop := b.load(b.t.Context(), rows)
		ctx, cancel := context.WithTimeout(b.t.Context(), loadFor)
		_, err := b.db.Apply(ctx, c, steps[3], nil)
		cancel()
		beside := stop()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			b.t.Fatal(err)
		}
		idle, busy = append(idle, quantile(quiet, 0.99)), append(busy, quantile(beside, 0.99))
		idle50, busy50 = append(idle50, quantile(quiet, 0.5)), append(busy50, quantile(beside, 0.5))
		ratios = append(ratios, busy[len(busy)-1]/idle[len(idle)-1])
		longest = append(longest, b.longestRead(rows))
	}
	b.add(fmt.Sprintf("p99 of %d transactions/s beside a backfill at %s rows/s", int(loadConnections*time.Second/loadEvery), thousands(loadRate)),
		fmt.Sprintf("%.1f ms", median(busy)), fmt.Sprintf("%.1f ms, no backfill", median(idle)), spread(ratios), "1.5")
	b.add("- p50", fmt.Sprintf("%.1f ms", median(busy50)), fmt.Sprintf("%.1f ms", median(idle50)), fmt.Sprintf("%.2f", median(busy50)/median(idle50)), "")
	b.add("longest wait of a reader through all of expand, unthrottled", fmt.Sprintf("%.0f ms", median(longest)), "", "", "1,200 ms")
}

// spell lets the load go on for a while.
func (b *bench) spell(stop func() []time.Duration) []time.Duration {
	timer := time.NewTimer(loadFor)
	defer timer.Stop()
	<-timer.C
	return stop()
}

// longestRead expands the whole change and gives the longest lookup meanwhile,
// in milliseconds.
func (b *bench) longestRead(rows int) float64 {
	b.build(rows, false)
	b.open(database.Options{})
	c := parse(b.t, exampleID, example)
	stop := make(chan struct{})
	waited := b.slowestRead(b.t, stop)
	b.expand(b.t, c)
	close(stop)
	return (<-waited).Seconds() * 1000
}

// pgroll measures the same change by pgroll, where there is one: all of "start",
// which adds the columns and fills them, in batches ten times as large as its
// default, which is faster.
func (b *bench) pgroll(rows int, wide bool, what string, rounds int) {
	path, err := exec.LookPath("pgroll")
	if err != nil {
		return
	}
	const migration = `{"operations": [
		{"add_column": {"table": "address", "column": {"name": "street_name", "type": "text", "nullable": true}, "up": "regexp_replace(street, ' (\\d+\\s*[[:alpha:]]?)$', '')"}},
		{"add_column": {"table": "address", "column": {"name": "house_number", "type": "text", "nullable": true}, "up": "substring(street from ' (\\d+\\s*[[:alpha:]]?)$')"}}]}`
	dir := b.t.TempDir()
	file := filepath.Join(dir, "01_split.json")
	if err := os.WriteFile(file, []byte(migration), 0o600); err != nil {
		b.t.Fatal(err)
	}
	pgroll := func(args ...string) {
		cmd := exec.CommandContext(b.t.Context(), path, append(args, "--postgres-url", b.url)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.t.Fatalf("pgroll %s: %v\n%s", args[0], err, out)
		}
	}
	var rates []float64
	for range rounds {
		b.build(rows, wide)
		b.exec(b.t, `drop schema if exists pgroll cascade; drop schema if exists public_01_split cascade`)
		pgroll("init")
		pgroll("baseline", "00_before", dir, "--yes")
		s := b.measured(func() { pgroll("start", file, "--backfill-batch-size", "10000") })
		if n := one[int](b.t, b.stage, `select count(*) from address where "_pgroll_new_street_name" is not null`); n != rows {
			b.t.Fatalf("pgroll filled %d of %d rows", n, rows)
		}
		rates = append(rates, float64(rows)/s.seconds)
		b.exec(b.t, `drop schema if exists public_01_split cascade; drop schema if exists pgroll cascade`)
	}
	b.add("- "+what+", pgroll start", "", thousands(int(median(rates)))+" rows/s", "", "")
}
