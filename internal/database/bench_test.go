package database_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

const benchRows = 1_000_000

func (s *stage) benchTable(b *testing.B, rows int) {
	b.Helper()
	s.exec(b, `drop table if exists address; drop schema if exists gapless cascade`)
	s.exec(b, `create table address (id bigint primary key, street text, phone text)`)
	s.exec(b, `insert into address select i, 'Some Street ' || i % 1000 || ' ' || i % 200, 'p' || i from generate_series(1, $1::int) i`, rows)
	s.exec(b, `vacuum analyze address`)
	s.exec(b, `checkpoint`)
}

const oneUpdate = `update address set street_name = regexp_replace(street, ' (\d+\s*[[:alpha:]]?)$', ''), house_number = substring(street from ' (\d+\s*[[:alpha:]]?)$')`

// BenchmarkBackfill compares the backfill, its trigger in place, with one UPDATE
// of the same rows without any trigger: ratio is of their rows a second.
func BenchmarkBackfill(b *testing.B) {
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			s := newStage(b, database.Options{Workers: workers})
			var plain, ours time.Duration
			for b.Loop() {
				b.StopTimer()
				s.benchTable(b, benchRows)
				s.exec(b, `alter table address add column street_name text, add column house_number text`)
				begun := time.Now()
				s.exec(b, oneUpdate)
				plain += time.Since(begun)
				s.benchTable(b, benchRows)
				c := parse(b, exampleID, example)
				steps := change.ExpandSteps(c)
				s.run(b, c, steps[:3])
				b.StartTimer()
				begun = time.Now()
				s.run(b, c, steps[3:4])
				ours += time.Since(begun)
			}
			b.ReportMetric(float64(benchRows)*float64(b.N)/ours.Seconds(), "rows/s")
			b.ReportMetric(float64(benchRows)*float64(b.N)/plain.Seconds(), "update-rows/s")
			b.ReportMetric(plain.Seconds()/ours.Seconds(), "ratio")
		})
	}
}

// BenchmarkUnrelatedUpdate compares updates of another column with and without
// the sync trigger: ratio is of the times, median against median.
func BenchmarkUnrelatedUpdate(b *testing.B) {
	const rows, rounds = 200_000, 5
	s := newStage(b, database.Options{})
	c := parse(b, exampleID, example)
	for b.Loop() {
		took := map[bool][]time.Duration{}
		for range rounds {
			for _, with := range []bool{false, true} {
				b.StopTimer()
				s.benchTable(b, rows)
				if with {
					s.run(b, c, change.ExpandSteps(c)[:3])
				} else {
					s.exec(b, `alter table address add column street_name text, add column house_number text`)
				}
				b.StartTimer()
				begun := time.Now()
				s.exec(b, `update address set phone = 'other'`)
				took[with] = append(took[with], time.Since(begun))
			}
		}
		b.ReportMetric(median(took[true]).Seconds()/median(took[false]).Seconds(), "ratio")
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
