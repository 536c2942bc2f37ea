package database_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

// content is every row, both forms.
func (s *stage) content(t testing.TB) string {
	t.Helper()
	return one[string](t, s, `select md5(coalesce(string_agg(format('%s|%L|%L|%L', id, street, street_name, house_number), E'\n' order by id), '')) from address`)
}

// endRunner ends the sessions of whoever carries out a change.
func (s *stage) endRunner(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'gapless/%'`)
	return err
}

// A backfill that is killed again and again, between batches and inside them,
// gives every row what an undisturbed one gives it.
func TestBackfillResumes(t *testing.T) {
	t.Parallel()
	rows := thinned(30_000, 6_000)
	calm := newStage(t, database.Options{})
	calm.addresses(t, rows)
	c := parse(t, exampleID, example)
	calm.expand(t, c)
	want := calm.content(t)

	var batches, limit atomic.Int64
	var kill func()
	options := database.Options{BatchTarget: time.Millisecond, Hold: func(context.Context) (string, error) {
		if batches.Add(1) == limit.Load() {
			kill()
		}
		return "", nil
	}}
	for _, workers := range [][]int{{1}, {2}, {1, 5, 2}} { // in turn
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			s := newStage(t, options)
			s.addresses(t, rows)
			other := s.connect(t)
			interrupted, filled := 0, int64(-1)
			for n := int64(1); ; n++ {
				options.Workers = workers[int(n)%len(workers)]
				var err error
				if s.db, err = database.Open(t.Context(), s.url, options); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var ending sync.WaitGroup
				batches.Store(0)
				limit.Store(n)
				if kill = cancel; n%2 == 0 { // the server ends us, while the batch runs
					kill = func() {
						ending.Go(func() {
							if err := s.endRunner(t.Context(), other); err != nil {
								t.Error(err)
							}
						})
					}
				}
				err = applyAll(ctx, s, c)
				ending.Wait()
				cancel()
				if err == nil {
					break
				}
				interrupted++
				// One statement: a backend that was ended may still commit its batch.
				both := one[[]int64](t, s, `select array[(select count(*) from address where street_name is not null),
					(select coalesce(sum(rows), 0) from gapless.checkpoint where step = 'backfill')]::bigint[]`)
				now, noted := both[0], both[1]
				if now < filled {
					t.Fatalf("after %d interruptions %d rows have their new form, %d had it", interrupted, now, filled)
				}
				if noted != now && noted != 0 {
					t.Fatalf("the checkpoint says %d rows, %d have their new form", noted, now)
				}
				filled = now
			}
			if interrupted < 3 {
				t.Errorf("interrupted %d times only", interrupted)
			}
			if got := s.content(t); got != want {
				t.Error("not the rows of an undisturbed backfill")
			}
		})
	}
}

func applyAll(ctx context.Context, s *stage, c change.Change) error {
	for _, step := range change.ExpandSteps(c) {
		if _, err := s.db.Apply(ctx, c, step, nil); err != nil {
			return err
		}
	}
	return nil
}

// Contract, ended at each of a series of moments, ends in the same place.
func TestContractResumes(t *testing.T) {
	t.Parallel()
	const rows = 5_000
	s := newStage(t, database.Options{})
	s.addresses(t, rows)
	s.exec(t, `create index on address (street)`)
	c := parse(t, exampleID, example)
	s.expand(t, c)
	want := s.content(t)
	var e change.Evidence
	interrupted := 0
	for patience := 5 * time.Millisecond; ; patience += 2*time.Millisecond + patience/16 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		var err error
		for _, step := range change.ContractSteps(c) {
			if e, err = s.db.Apply(ctx, c, step, nil); err != nil {
				break
			}
		}
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			t.Fatal(err)
		}
		interrupted++
		// The application goes on meanwhile, whatever is left of the old form.
		s.exec(t, `update address set phone = 'y' where id = 1`)
	}
	t.Logf("interrupted %d times", interrupted)
	got := one[string](t, s, `select md5(string_agg(format('%s|%L|%L|%L', id, street, street_name, house_number), E'\n' order by id)) from `+e.ArchiveTable)
	if got != want {
		t.Error("the archive is not what the table held")
	}
	if e.ArchiveRows != rows+int64(len(oddStreets)) || e.ArchiveSum == "" {
		t.Errorf("%+v", e)
	}
	left := one[int](t, s, `select count(*) from pg_trigger where tgrelid = 'address'::regclass and tgname like '~gapless%'`) +
		one[int](t, s, `select count(*) from pg_proc where pronamespace = 'gapless'::regnamespace and proname not in ('note_old_form_write', 'note_state')`)
	if left != 0 {
		t.Errorf("%d triggers and functions are left", left)
	}
}
