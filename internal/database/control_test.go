package database_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// A pause stops a running backfill and keeps the next one from beginning; it is
// no failure, holds no transaction open, and says who asked and how to go on.
func TestPauseAndResume(t *testing.T) {
	for _, id := range []string{exampleID, database.EveryChange} {
		t.Run(id, func(t *testing.T) {
			s := newStage(t, database.Options{})
			j := depart(t, s, only(database.Health{}))
			until(t, "rows are filled", func() bool { return j.filled(t) > 0 })
			if err := s.db.Pause(t.Context(), id, "anna", "load test until noon"); err != nil {
				t.Fatal(err)
			}
			j.stands(t, "paused by anna since ")
			named := id
			if id == database.EveryChange {
				named = "--all"
			}
			j.says(t, " (load test until noon): resume with gapless resume "+named)
			if err := s.db.Resume(t.Context(), id, "ben", nil); err != nil {
				t.Fatal(err)
			}
			j.arrives(t)
			if got := one[string](t, s, `select concat_ws(' ', by, paused, coalesce(why, '-')) from gapless.control where change = '`+id+`'`); id != exampleID && got != "ben f -" {
				t.Errorf("the row says %q", got)
			}
		})
	}
}

// The row may be written by hand, and may change the rate of a running
// backfill, up and down.
func TestTheRateIsChangedLive(t *testing.T) {
	s := newStage(t, database.Options{})
	j := depart(t, s, only(database.Health{}))
	j.says(t, "at most 600 rows/s")
	s.exec(t, `insert into gapless.control (change, max_rate) values ('*', 40)`)
	j.says(t, "at most 40 rows/s")
	s.exec(t, `insert into gapless.control (change, max_rate) values ($1, 50)`, exampleID)
	j.says(t, "at most 50 rows/s")
	s.exec(t, `update gapless.control set paused = true, why = null where change = $1`, exampleID)
	j.stands(t, "paused by postgres since ")
	s.exec(t, `delete from gapless.control`)
	j.says(t, "at most 600 rows/s")
	j.arrives(t)
}

func TestPauseKnowsWhatWasBegun(t *testing.T) {
	s := newStage(t, database.Options{})
	refused := func(id, want string) {
		t.Helper()
		err := s.db.Pause(t.Context(), id, "anna", "")
		var not *database.NotBegunError
		if !errors.As(err, &not) || !errors.Is(err, rollout.ErrInput) || err.Error() != want {
			t.Errorf("%v, wanted %s", err, want)
		}
	}
	refused(database.EveryChange, "no change was ever begun in this database")
	refused("0001-no", `change "0001-no" was never begun in this database`)
	s.addresses(t, 10)
	c := parse(t, exampleID, example)
	s.run(t, c, change.ExpandSteps(c)[:1])
	refused("0001-no", `change "0001-no" was never begun in this database`)
	s.exec(t, `drop table gapless.control`) // begun by an older gapless
	if err := s.db.Pause(t.Context(), exampleID, "anna", ""); err != nil {
		t.Fatal(err)
	}
	if got := one[bool](t, s, `select paused from gapless.control where change = $1`, exampleID); !got {
		t.Error("it is not paused")
	}
}

// All workers together stay within the rate.
func TestMaxRateIsOverAllWorkers(t *testing.T) {
	const rows, rate = 4_000, 2_000
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			s := newStage(t, database.Options{Workers: workers, MaxRate: rate, Health: database.Unwatched()})
			s.addresses(t, rows)
			c := parse(t, exampleID, example)
			steps := change.ExpandSteps(c)
			s.run(t, c, steps[:3])
			begun := time.Now()
			e := s.run(t, c, steps[3:4])
			took := time.Since(begun)
			// What one batch of each worker may be ahead.
			ahead := float64(workers) * 0.25
			if least := float64(rows)/rate - ahead; took.Seconds() < least {
				t.Errorf("%d rows took %s, at %d rows/s it is %.2f s", rows, took, rate, least)
			}
			if e.Rows != rows+int64(len(oddStreets))-1 {
				t.Errorf("%d rows were filled", e.Rows)
			}
		})
	}
}

// The progress ends at all rows, never goes beyond them, and never back.
func TestProgressIsTold(t *testing.T) {
	s := newStage(t, database.Options{BatchTarget: 5 * time.Millisecond, MaxRate: 20_000, Health: database.Unwatched()})
	s.addresses(t, 20_000)
	s.exec(t, `analyze address`)
	c := parse(t, exampleID, example)
	steps := change.ExpandSteps(c)
	s.run(t, c, steps[:3])
	var seen []change.Progress
	if _, err := s.db.Apply(t.Context(), c, steps[3], func(p change.Progress) { seen = append(seen, p) }); err != nil {
		t.Fatal(err)
	}
	total := int64(20_000 + len(oddStreets))
	for i, p := range seen {
		if p.Total != total || p.Done > total || i > 0 && p.Done < seen[i-1].Done {
			t.Errorf("%+v", p)
		}
		if strings.Contains(p.Note, "held") {
			t.Errorf("held back: %q", p.Note)
		}
	}
	if last := seen[len(seen)-1]; last.Done != total || last.ETA != 0 {
		t.Errorf("it ends with %+v", last)
	}
}

// A change that is made anew under the same name does not begin paused.
func TestAPauseEndsWithTheChange(t *testing.T) {
	s := newStage(t, database.Options{})
	s.addresses(t, 10)
	c := parse(t, exampleID, example)
	s.expand(t, c)
	for _, of := range []string{c.ID, database.EveryChange} {
		if err := s.db.Pause(t.Context(), of, "dana", "too loud"); err != nil {
			t.Fatal(err)
		}
	}
	s.run(t, c, change.RevertSteps(c))
	if got := one[string](t, s, `select string_agg(change, ' ') from gapless.control`); got != database.EveryChange {
		t.Errorf("paused: %s", got)
	}
}
