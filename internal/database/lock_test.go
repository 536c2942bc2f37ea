package database_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// A transaction that stays open keeps our DDL out. We give up soon each time, so
// that those behind us wait no longer than the lock timeout, and name it.
func TestDDLNeverQueuesOthersForLong(t *testing.T) {
	const timeout, slack = 500 * time.Millisecond, 200 * time.Millisecond
	s := newStage(t, database.Options{LockTimeout: timeout, Attempts: 2})
	s.addresses(t, 10)
	c := parse(t, exampleID, example)
	steps := change.ExpandSteps(c)
	s.run(t, c, steps[:1])
	lazy := s.connect(t)
	if _, err := lazy.Exec(t.Context(), `set application_name = 'lazy report'; begin; select count(*) from address`); err != nil {
		t.Fatal(err)
	}
	// The machine may stall a reader for reasons of its own: the best of three.
	longest := time.Hour
	for try := 0; try < 3 && longest > timeout+slack; try++ {
		stop := make(chan struct{})
		waited := s.slowestRead(t, stop)
		_, err := s.db.Apply(t.Context(), c, steps[1], nil)
		close(stop)
		longest = min(longest, <-waited)
		var locked *database.LockedError
		if !errors.As(err, &locked) {
			t.Fatalf("not locked: %v", err)
		}
		for _, want := range []string{"lazy report", fmt.Sprint(lazy.PgConn().PID()), "idle in transaction"} {
			if !strings.Contains(locked.Hint(), want) {
				t.Errorf("the hint %q does not name %q", locked.Hint(), want)
			}
		}
		if want := `table "public"."address" stayed locked, 2 attempts of 500ms`; !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if longest > timeout+slack {
		t.Errorf("a reader waited %s behind us", longest)
	}
	if _, err := lazy.Exec(t.Context(), `commit`); err != nil {
		t.Fatal(err)
	}
	s.run(t, c, steps)
}

// slowestRead reads until stop is closed, and then gives the longest read.
func (s *stage) slowestRead(t *testing.T, stop chan struct{}) chan time.Duration {
	reader := s.connect(t)
	waited := make(chan time.Duration, 1)
	go func() {
		var longest time.Duration
		for {
			select {
			case <-stop:
				waited <- longest
				return
			default:
			}
			begun := time.Now()
			if _, err := reader.Exec(t.Context(), `select from address limit 1`); err != nil {
				t.Error(err)
			}
			longest = max(longest, time.Since(begun))
		}
	}()
	return waited
}

func TestOneRunnerWorksAndTheOtherIsTold(t *testing.T) {
	s := newStage(t, database.Options{})
	unlock, err := s.db.Lock(t.Context(), "run 17 of main")
	if err != nil {
		t.Fatal(err)
	}
	var busy *database.BusyError
	if _, err := s.db.Lock(t.Context(), "run 18"); !errors.As(err, &busy) || busy.Holder != "run 17 of main" || busy.PID == 0 {
		t.Fatalf("%v", err)
	}
	if err := unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := s.db.Lock(t.Context(), "run 18")
	if err != nil {
		t.Fatal(err)
	}
	if err := again(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAnEditedChangeIsRefused(t *testing.T) {
	s := newStage(t, database.Options{})
	s.addresses(t, 10)
	s.expand(t, parse(t, exampleID, example))
	edited := parse(t, exampleID, example+"# edited\n")
	var refused *database.EditedError
	for _, step := range append(change.ExpandSteps(edited), change.ContractSteps(edited)...) {
		if _, err := s.db.Apply(t.Context(), edited, step, nil); !errors.As(err, &refused) {
			t.Errorf("%s: %v", step.ID, err)
		}
	}
	if _, err := s.db.Inspect(t.Context(), edited); !errors.As(err, &refused) {
		t.Errorf("inspect: %v", err)
	}
	if _, err := s.db.Verify(t.Context(), edited, change.ScopeRelease); !errors.As(err, &refused) {
		t.Errorf("verify: %v", err)
	}
	if refused.Hint() == "" {
		t.Error("no hint")
	}
}

// What an attempt that failed left invalid is dropped and built again, and an
// index that waits for somebody says for whom.
func TestAnInvalidIndexIsRebuilt(t *testing.T) {
	s := newStage(t, database.Options{IndexTimeout: 500 * time.Millisecond})
	s.addresses(t, 100)
	c := parse(t, exampleID, example)
	steps := change.ExpandSteps(c)
	build := steps[4]
	if build.Kind != change.Operate {
		t.Fatal(build.Kind)
	}
	s.run(t, c, steps[:4])
	lazy := s.connect(t)
	if _, err := lazy.Exec(t.Context(), `set application_name = 'lazy report'; begin; update address set phone = 'z' where id = 1`); err != nil {
		t.Fatal(err)
	}
	_, err := s.db.Apply(t.Context(), c, build, nil)
	if err == nil || !strings.Contains(rollout.HintOf(err), "lazy report") {
		t.Fatalf("%v\nhint: %s", err, rollout.HintOf(err))
	}
	// It is cancelled, and may not have noticed yet. While the lazy transaction
	// is open it cannot end well.
	const building = `select count(pg_terminate_backend(pid)) from pg_stat_activity
		where datname = current_database() and query ilike 'create index concurrently%' and pid <> pg_backend_pid()`
	for one[int](t, s, building) > 0 {
		s.exec(t, `select pg_stat_clear_snapshot()`)
	}
	if _, err := lazy.Exec(t.Context(), `commit`); err != nil {
		t.Fatal(err)
	}
	const valid = `select indisvalid from pg_index where indexrelid = 'address_street_name_idx'::regclass`
	if one[bool](t, s, valid) {
		t.Fatal("the test left no invalid index")
	}
	patient, err := database.Open(t.Context(), s.url, database.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := patient.Apply(t.Context(), c, build, nil); err != nil {
		t.Fatal(err)
	}
	if !one[bool](t, s, valid) {
		t.Error("the index is still invalid")
	}
}

// The application's roles need no right on gapless's schema, and their names are
// what is noted.
func TestRolesWithoutRightsWriteAndAreNoted(t *testing.T) {
	s := newStage(t, database.Options{})
	s.addresses(t, 10)
	role := pgx.Identifier{"clerk_" + fmt.Sprint(time.Now().UnixNano())}.Sanitize()
	s.exec(t, `create role `+role+` login; grant select, insert, update on address to `+role)
	t.Cleanup(func() {
		if _, err := s.app.Exec(context.Background(), `drop owned by `+role+`; drop role `+role); err != nil {
			t.Error(err)
		}
	})
	c := parse(t, exampleID, strings.Replace(example, "quiet_for: 24h", "quiet_for: 1h", 1))
	s.expand(t, c)
	clerk := s.connect(t)
	for _, sql := range []string{
		`set session authorization ` + role, `set application_name = 'old release'`,
		`insert into address (id, street) values (1001, 'Main 12')`,
		`update address set street = 'x 99' where id = 3`, // was '12-14'
		`update address set street_name = 'odd' where id = 1`,
	} {
		if _, err := clerk.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if _, err := clerk.Exec(t.Context(), `select * from gapless.kept`); err == nil {
		t.Error("the role may read kept values")
	}
	usage, err := s.db.Usage(t.Context(), c, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if len(usage.LastWriters) != 1 || usage.LastWriters[0].Application != "old release" || usage.Quiet {
		t.Errorf("%+v", usage)
	}
	if n := one[int](t, s, `select count(*) from gapless.old_form_write`); n != 1 {
		t.Errorf("%d notes of one writer within one interval", n)
	}
	state, _, err := s.db.State(t.Context(), exampleID)
	if err != nil || state != rollout.Expanded {
		t.Errorf("%v %v", state, err)
	}
}
