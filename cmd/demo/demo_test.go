package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/cmd/demo/load"
	"github.com/gapless-deploy/gapless/internal/ledger"
	"github.com/gapless-deploy/gapless/internal/pgtest"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/store/dir"
)

func TestGrouped(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 200000: "200,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is shown as %s, want %s", n, got, want)
		}
	}
}

func TestIndented(t *testing.T) {
	var out strings.Builder
	w := &indented{out: &out, start: true}
	for _, part := range []string{"one\ntw", "o\n\nthr", "ee\n"} {
		if _, err := fmt.Fprint(w, part); err != nil {
			t.Fatal(err)
		}
	}
	if want := "  one\n  two\n\n  three\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestResultIsOneLineOfJSON(t *testing.T) {
	var out strings.Builder
	ms := 3.5
	if err := (result{Outcome: released, Switches: []switchTime{{0, 1, &ms}, {1, 5, nil}}}).write(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Count(out.String(), "\n") != 1 {
		t.Errorf("not one line: %q", out.String())
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(out.String()), &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"strategy", "fault", "requests", "dropped", "met_candidate",
		"candidate_bad", "candidate_bad_bound", "cut_by_fault", "cut_connections", "exposure_percent",
		"switches", "rows", "lost", "clobbered", "backfill_rows_per_s", "outcome", "serving", "seconds"} {
		if _, there := fields[name]; !there {
			t.Errorf("%s is missing", name)
		}
	}
	want := []any{
		map[string]any{"from": 0.0, "to": 1.0, "in_force_ms": 3.5},
		map[string]any{"from": 1.0, "to": 5.0, "in_force_ms": nil},
	}
	if diff := cmp.Diff(want, fields["switches"]); diff != "" {
		t.Error(diff)
	}
}

// The account reads each entry once, although it reads the record after each
// phase, and leaves out what was before the load.
func TestAccountReadsTheRecordOnce(t *testing.T) {
	stage, book := t.TempDir(), ledger.New(ledger.Options{Candidate: newRevision})
	store := dir.New(filepath.Join(stage, ".gapless"))
	began := time.Now()
	a := account{since: began}
	if err := a.read(stage, book); err != nil {
		t.Fatalf("without a record: %v", err)
	}
	revision := rollout.Revision{ID: newRevision, Spec: "abc"}
	record := rollout.NewRecord(service, "r1")
	add := func(data rollout.Data) {
		t.Helper()
		before := record.Head()
		var err error
		if record, err = record.Append(rollout.Head{}, time.Now(), rollout.Writer{Run: "1"}, rollout.Promote, data); err != nil {
			t.Fatal(err)
		}
		if err := store.Save(t.Context(), record, before); err != nil {
			t.Fatal(err)
		}
		if err := a.read(stage, book); err != nil {
			t.Fatal(err)
		}
	}
	add(rollout.Opened{Candidate: revision, Side: rollout.Blue})
	add(rollout.Shifted{From: 0, To: 1000, Decided: began.Add(-time.Second), InForce: began})
	add(rollout.Migrated{Step: "backfill", Evidence: json.RawMessage(`{"step":"backfill","rows_per_second":4000}`)})
	add(rollout.Migrated{Step: "archive", Evidence: json.RawMessage(`{"step":"archive","archive_table":"gapless.a"}`)})
	add(rollout.Shifted{From: 0, To: 10, Decided: began.Add(time.Second), InForce: began.Add(time.Second)})
	add(rollout.Replaced{Replacing: rollout.Replacing{From: 1, To: 2, Of: 3}, Cut: 2,
		Decided: began.Add(3 * time.Second), InForce: began.Add(4 * time.Second)})
	if a.wentBack {
		t.Error("it went back before it did")
	}
	add(rollout.RolledBack{From: 666, Decided: began.Add(5 * time.Second), InForce: began.Add(6 * time.Second)})
	add(rollout.Retired{Side: rollout.Blue, Revision: revision, Cut: 1})
	add(rollout.Ended{Outcome: rollout.Done, Serving: []rollout.Share{{Revision: revision, Weight: 1000}}})
	if a.backfill != 4000 || a.archive != "gapless.a" || a.serving != "1.1 100%" || !a.wentBack || a.cut != 3 {
		t.Errorf("read %+v", a)
	}
	var got [][2]rollout.Weight
	for _, s := range book.Summary().Switches {
		got = append(got, [2]rollout.Weight{s.From, s.To})
	}
	if diff := cmp.Diff([][2]rollout.Weight{{0, 10}, {333, 666}, {666, 0}}, got); diff != "" {
		t.Errorf("switches told to the ledger (-want +got):\n%s", diff)
	}
	// 1% for three seconds, two thirds for three more.
	if got := a.exposed(began.Add(time.Hour)); got < 2.027 || got > 2.029 {
		t.Errorf("the candidate had %g seconds of all the traffic, want 0.01*3 + 0.666*3", got)
	}
}

// compare is held to tables that were spoilt by hand, in each state that a
// release may leave.
func TestCompare(t *testing.T) {
	const rows = 64
	expanded := []string{
		"alter table address add column street_name text, add column house_number text",
		"update address set street_name = street",
	}
	contracted := append(expanded[:2:2], "create schema gapless",
		`create table gapless."archive-1" as select id, street from address`, "alter table address drop column street")
	for _, tc := range []struct {
		name            string
		sql             []string
		contracted      bool
		outcome         outcome
		lost, clobbered int
		where           string
	}{
		{name: "rolled back, all well", sql: expanded},
		{name: "old form spoilt", sql: append(expanded[:2:2], "update address set street = 'x' where id = 3"), clobbered: 1, where: "old form"},
		{name: "new form spoilt", sql: append(expanded[:2:2], "update address set house_number = 'x' where id = 3"), clobbered: 1, where: "new form"},
		{name: "failed in the middle of the backfill", outcome: failed, sql: []string{expanded[0]}},
		{name: "failed and spoilt", outcome: failed, sql: []string{expanded[0], "update address set street = 'x' where id = 3"}, clobbered: 1, where: "old form"},
		{name: "failed before expand", outcome: failed},
		{name: "row gone", sql: append(expanded[:2:2], "delete from address where id = 3"), lost: 1, where: "old form"},
		{name: "contracted, all well", sql: contracted, contracted: true},
		{name: "archive spoilt", sql: append(contracted[:5:5], `update gapless."archive-1" set street = 'x' where id = 3`),
			contracted: true, clobbered: 1, where: "archive"},
		{name: "archive not whole", sql: append(contracted[:5:5], `delete from gapless."archive-1" where id = 3`),
			contracted: true, lost: 1, where: "archive"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, err := pgx.Connect(t.Context(), pgtest.New(t))
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := conn.Close(context.Background()); err != nil {
					t.Error(err)
				}
			}()
			if err := load.Seed(t.Context(), conn, rows); err != nil {
				t.Fatal(err)
			}
			for _, sql := range tc.sql {
				if _, err := conn.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
			d := &demo{stage: &stage{conn: conn}, model: load.NewModel(rows), ledger: ledger.New(ledger.Options{})}
			if tc.contracted {
				d.contracting, d.account.archive = time.Now(), `gapless."archive-1"`
			}
			if err := d.compare(t.Context(), tc.outcome); err != nil {
				t.Fatal(err)
			}
			r := d.result(released)
			if r.Lost != tc.lost || r.Clobbered != tc.clobbered || r.Rows != rows {
				t.Errorf("%d rows, %d lost, %d clobbered; want %d, %d, %d", r.Rows, r.Lost, r.Clobbered, rows, tc.lost, tc.clobbered)
			}
			if found := d.model.Damaged(); len(found) > 0 && (found[0].ID != 3 || found[0].Where != tc.where) {
				t.Errorf("found %v, want address 3 in the %s", found[0], tc.where)
			}
		})
	}
}

func TestCommentShowsWhatIsNew(t *testing.T) {
	var c comment
	if got := c.changes("\n"); got != "" {
		t.Errorf("no comment is shown as %q", got)
	}
	first := "book: on trial\n  Users get  a\n\nWhat happened\n  When  What\n  1  expand\n\n- Record 1\n"
	if got := c.changes(first); got != first {
		t.Errorf("the first comment is shown as\n%s", got)
	}
	if got := c.changes(first); got != "" {
		t.Errorf("the same comment is shown as\n%s", got)
	}
	second := "book: released\n  Users get  a\n\nWhat happened\n  When   What\n  1      expand\n  2      promote\n\n- Record 2\n"
	want := "book: released\n  Users get  a\n\nWhat happened\n  2      promote\n\n- Record 2\n"
	if got := c.changes(second); got != want {
		t.Errorf("the second comment is shown as\n%swant\n%s", got, want)
	}
	// A wider column wraps the others anew.
	third := strings.Replace(second, "  2      promote\n", "  2      pro-        3 s\n         mote\n", 1)
	_ = c.changes(strings.Replace(third, "pro-        3 s\n         mote", "pro- mote 3 s", 1))
	if got := c.changes(third); got != "" {
		t.Errorf("what was only set anew is shown as\n%s", got)
	}
}
