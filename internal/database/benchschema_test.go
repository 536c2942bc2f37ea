package database_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/pgtest"
)

var (
	benchRounds = flag.Int("schema-rounds", 0, "measure the schema side so many times, and take medians")
	benchRows   = flag.Int("schema-rows", 1_000_000, "rows of the tables that are filled")
	benchLong   = flag.Bool("schema-long", false, "fill ten times as many rows too, once")
	benchOnly   = flag.String("schema-only", "", "measure these alone, by commas: backfill, trigger, latency")
	benchShapes = flag.String("schema-shapes", "narrow,wide", "fill tables of these shapes")
	benchWrite  = flag.String("schema-write", "", "write the table into this file, between its markers; else print it")
)

// bench measures on a durable server of its own.
type bench struct {
	*stage

	t     *testing.T
	lines []string
}

// TestSchemaBenchmarks measures; "make bench-schema" runs it. Two sides that are
// compared take turns, so that what else the machine does befalls both.
func TestSchemaBenchmarks(t *testing.T) {
	if *benchRounds == 0 {
		t.Skip("make bench-schema runs it")
	}
	server, err := pgtest.Start(t.Context(), pgtest.Options{Log: os.Stderr, Durable: true, Settings: map[string]string{
		"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min", "autovacuum": "off",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	b := &bench{stage: &stage{url: server.URL("postgres")}, t: t}
	b.app = b.connect(t)
	for _, part := range []struct {
		name string
		run  func()
	}{{"backfill", b.backfills}, {"trigger", b.triggers}, {"latency", b.latencies}} {
		if *benchOnly == "" || slices.Contains(strings.Split(*benchOnly, ","), part.name) {
			part.run()
		}
	}
	b.write()
}

// add is a line of the table.
func (b *bench) add(what, ours, against, ratio, aim string) {
	line := fmt.Sprintf("| %s | %s | %s | %s | %s |", what, ours, against, ratio, aim)
	b.t.Log(line)
	b.lines = append(b.lines, line)
}

const benchBegin, benchEnd = "<!-- make bench-schema: begin -->\n", "<!-- make bench-schema: end -->\n"

func (b *bench) write() {
	table := "| what | gapless | against | ratio | aim |\n| --- | --- | --- | --- | --- |\n" + strings.Join(b.lines, "\n") + "\n"
	if *benchWrite == "" {
		fmt.Fprint(os.Stderr, table)
		return
	}
	path := filepath.Clean(*benchWrite)
	text, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(text), benchBegin)
	_, after, ended := strings.Cut(rest, benchEnd)
	if !begun || !ended {
		b.t.Fatalf("%s has no markers", path)
	}
	if err := os.WriteFile(path, []byte(before+benchBegin+table+benchEnd+after), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// build makes the table anew, as the article has it or with rows of about 500
// bytes and two more indexes.
func (b *bench) build(rows int, wide bool) {
	more, values := "", ""
	if wide {
		for i := range 10 {
			more += fmt.Sprintf(", c%d text", i)
			values += fmt.Sprintf(", md5((i + %d)::text) || 'filler'", i)
		}
	}
	b.exec(b.t, `drop table if exists address cascade; drop schema if exists gapless cascade`)
	b.exec(b.t, `create table address (id bigint primary key, street text, phone text`+more+`)`)
	b.exec(b.t, `insert into address select i, 'Some Street ' || i % 1000 || ' ' || i % 200, 'p' || i`+values+` from generate_series(1, $1::int) i`, rows)
	if wide {
		b.exec(b.t, `create index on address (phone); create index on address (c0)`)
	}
	b.exec(b.t, `vacuum analyze address`)
	b.exec(b.t, `checkpoint`)
}

const (
	addTwo    = `alter table address add column street_name text, add column house_number text`
	oneUpdate = `update address set street_name = regexp_replace(street, ' (\d+\s*[[:alpha:]]?)$', ''), house_number = substring(street from ' (\d+\s*[[:alpha:]]?)$')`
)

// spent is what filling a table took.
type spent struct {
	seconds float64
	wal     float64 // bytes
	dead    float64 // rows
}

// measured runs work and tells what it took.
func (b *bench) measured(work func()) spent {
	wal := one[string](b.t, b.stage, `select pg_current_wal_lsn()::text`)
	begun := time.Now()
	work()
	took := time.Since(begun).Seconds()
	return spent{seconds: took, wal: one[float64](b.t, b.stage, `select pg_wal_lsn_diff(pg_current_wal_lsn(), $1)::float8`, wal)}
}

// filled is what filling the table took, with the dead tuples that it left.
func (b *bench) filled(rows int, work func()) spent {
	s := b.measured(work)
	until(b.t, "the counts are known", func() bool {
		s.dead = one[float64](b.t, b.stage, `select n_dead_tup::float8 from pg_stat_user_tables where relname = 'address'`)
		return one[int](b.t, b.stage, `select n_tup_upd from pg_stat_user_tables where relname = 'address'`) >= rows
	})
	return s
}

// oneStatement is the rival: one UPDATE, no trigger.
func (b *bench) oneStatement(rows int, wide bool) spent {
	b.build(rows, wide)
	b.exec(b.t, addTwo)
	return b.filled(rows, func() { b.exec(b.t, oneUpdate) })
}

// ours is the backfill with its trigger in place, unthrottled.
func (b *bench) ours(rows int, wide bool, workers int) spent {
	b.build(rows, wide)
	b.open(database.Options{Workers: workers, Health: database.Unwatched()})
	c := parse(b.t, exampleID, example)
	steps := change.ExpandSteps(c)
	b.run(b.t, c, steps[:3])
	return b.filled(rows, func() { b.run(b.t, c, steps[3:4]) })
}

func (b *bench) open(options database.Options) {
	var err error
	if b.db, err = database.Open(b.t.Context(), b.url, options); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) backfills() {
	sizes := []int{*benchRows}
	if *benchLong {
		sizes = append(sizes, 10**benchRows)
	}
	for shape := range strings.SplitSeq(*benchShapes, ",") {
		wide := shape == "wide"
		rates := map[int]float64{}
		for i, rows := range sizes {
			rounds := *benchRounds
			if i > 0 {
				rounds = 1
			}
			rates[rows] = b.backfill(rows, wide, shape, rounds)
		}
		if *benchLong {
			small, large := sizes[0], sizes[1]
			b.add(fmt.Sprintf("rate at %s rows, %s, against that at %s", thousands(large), shape, thousands(small)),
				thousands(int(rates[large]))+" rows/s", thousands(int(rates[small]))+" rows/s", fmt.Sprintf("%.2f", rates[large]/rates[small]), "0.9")
		}
	}
}

// backfill gives the rate of one worker.
func (b *bench) backfill(rows int, wide bool, shape string, rounds int) float64 {
	what := fmt.Sprintf("backfill of %s rows, %s", thousands(rows), shape)
	rate := func(s spent) float64 { return float64(rows) / s.seconds }
	var statement, single, double []spent
	for range rounds {
		single = append(single, b.ours(rows, wide, 1))
		statement = append(statement, b.oneStatement(rows, wide))
		double = append(double, b.ours(rows, wide, 2))
	}
	each := func(list []spent, of func(spent) float64) []float64 {
		var figures []float64
		for _, s := range list {
			figures = append(figures, of(s))
		}
		return figures
	}
	ratio := func(ours []spent) string {
		var ratios []float64
		for i := range ours {
			ratios = append(ratios, rate(ours[i])/rate(statement[i]))
		}
		return spread(ratios)
	}
	plain := thousands(int(median(each(statement, rate)))) + " rows/s, one UPDATE"
	b.add(what+", 1 worker", thousands(int(median(each(single, rate))))+" rows/s", plain, ratio(single), "0.85")
	b.add(what+", 2 workers", thousands(int(median(each(double, rate))))+" rows/s", plain, ratio(double), "1.25")
	per := func(of func(spent) float64) (ours, theirs float64) {
		return median(each(single, of)) / float64(rows), median(each(statement, of)) / float64(rows)
	}
	ours, theirs := per(func(s spent) float64 { return s.wal })
	b.add("- WAL a row", fmt.Sprintf("%.0f bytes", ours), fmt.Sprintf("%.0f bytes", theirs), fmt.Sprintf("%.2f", ours/theirs), "")
	ours, theirs = per(func(s spent) float64 { return s.dead })
	b.add("- dead tuples a row", fmt.Sprintf("%.2f", ours), fmt.Sprintf("%.2f", theirs), "", "")
	b.pgroll(rows, wide, what, rounds)
	return median(each(single, rate))
}

func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

// spread is the median, with the least and the most of several.
func spread(list []float64) string {
	text := fmt.Sprintf("%.2f", median(list))
	if len(list) > 1 {
		text += fmt.Sprintf(" (%.2f to %.2f)", slices.Min(list), slices.Max(list))
	}
	return text
}

func thousands(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
