// Package storetest holds what every store of records must do: one suite that
// the test of each store runs.
package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Service is the one whose records the suite saves.
const Service = "address-book"

// Run holds stores to the contract of phase.Store. fresh gives an empty one.
func Run(t *testing.T, fresh func(*testing.T) phase.Store) {
	t.Helper()
	cases := []struct {
		name string
		test func(*testing.T, phase.Store)
	}{
		{"nothing stored", testEmpty},
		{"what was saved is loaded", testSaveLoad},
		{"the head before stays until the next is in force", testHeadBefore},
		{"saving twice is saving once", testTwice},
		{"a record that does not follow is refused", testDoesNotFollow},
		{"a broken record is refused", testBroken},
		{"two heads are told apart", testForked},
		{"records of two services are kept apart", testServices},
		{"a rollout follows the one before", testNextRollout},
		{"saving at once", testConcurrent},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.test(t, fresh(t)) })
	}
}

// Opened begins the record of a rollout after the head given.
func Opened(t testing.TB, service, id string, after rollout.Head) rollout.Record {
	t.Helper()
	return appendTo(t, rollout.NewRecord(service, id), after, rollout.Opened{
		Candidate: rollout.Revision{ID: "v2", Spec: strings.Repeat("2", 64)},
		Stable:    rollout.Revision{ID: "v1", Spec: strings.Repeat("1", 64)},
		Side:      rollout.Green, Strategy: "canary", Target: "local",
	})
}

// Grown gives r with one more entry; note tells two of them apart.
func Grown(t testing.TB, r rollout.Record, note string) rollout.Record {
	t.Helper()
	return appendTo(t, r, rollout.Head{}, rollout.Ended{Outcome: rollout.Done, Reason: note})
}

func appendTo(t testing.TB, r rollout.Record, after rollout.Head, data rollout.Data) rollout.Record {
	t.Helper()
	at := time.Date(2026, 3, 1, 9, 0, len(r.Entries), 0, time.UTC)
	next, err := r.Append(after, at, rollout.Writer{Run: "1", Attempt: 1, Actor: "ana"}, rollout.Expand, data)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func save(t *testing.T, s phase.Store, r rollout.Record, follows rollout.Head) {
	t.Helper()
	if err := s.Save(t.Context(), r, follows); err != nil {
		t.Fatalf("save seq %d: %v", r.Head().Seq, err)
	}
}

func wantRecord(t *testing.T, s phase.Store, want rollout.Record, head rollout.Head) {
	t.Helper()
	got, err := s.Load(t.Context(), want.Service, head)
	if err != nil {
		t.Fatalf("load seq %d: %v", head.Seq, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("load seq %d: not what was saved (-want +got):\n%s", head.Seq, diff)
	}
}

func wantError(t *testing.T, s phase.Store, head rollout.Head, want error) {
	t.Helper()
	_, err := s.Load(t.Context(), Service, head)
	if !errors.Is(err, want) {
		t.Fatalf("load seq %d: %v, want %v", head.Seq, err, want)
	}
}

func testEmpty(t *testing.T, s phase.Store) {
	wantError(t, s, rollout.Head{}, rollout.ErrNotFound)
	wantError(t, s, Opened(t, Service, "r1", rollout.Head{}).Head(), rollout.ErrNotFound)
}

func testSaveLoad(t *testing.T, s phase.Store) {
	r := Opened(t, Service, "r1", rollout.Head{})
	save(t, s, r, rollout.Head{})
	wantRecord(t, s, r, r.Head())
	wantRecord(t, s, r, rollout.Head{})

	other := r.Head()
	other.Hash = other.Hash[:12] + strings.Repeat("0", len(other.Hash)-12)
	wantError(t, s, other, rollout.ErrNotFound)
	other = r.Head()
	other.Rollout = "another"
	wantError(t, s, other, rollout.ErrNotFound)
}

func testHeadBefore(t *testing.T, s phase.Store) {
	r := Opened(t, Service, "r1", rollout.Head{})
	before := rollout.Head{}
	for i := range 5 {
		save(t, s, r, before)
		wantRecord(t, s, r, rollout.Head{})
		next := Grown(t, r, fmt.Sprint("step ", i))
		save(t, s, next, r.Head())
		// The head moves after Save: until then the record before is the truth.
		wantRecord(t, s, r, r.Head())
		wantRecord(t, s, next, next.Head())
		before, r = next.Head(), Grown(t, next, fmt.Sprint("on ", i))
	}
}

func testTwice(t *testing.T, s phase.Store) {
	r := Opened(t, Service, "r1", rollout.Head{})
	next := Grown(t, r, "on")
	save(t, s, r, rollout.Head{})
	save(t, s, r, rollout.Head{})
	save(t, s, next, r.Head())
	save(t, s, next, r.Head())
	wantRecord(t, s, next, rollout.Head{})
}

func testDoesNotFollow(t *testing.T, s phase.Store) {
	r := Opened(t, Service, "r1", rollout.Head{})
	other := Opened(t, Service, "r2", rollout.Head{})
	save(t, s, r, rollout.Head{})
	next := Grown(t, r, "on")
	forged := r.Head()
	forged.Hash = strings.Repeat("0", 64)
	for name, follows := range map[string]rollout.Head{
		"itself":                next.Head(),
		"another rollout":       other.Head(),
		"a head that never was": forged,
		"a later head":          {Rollout: "r1", Seq: 9, Hash: next.Head().Hash},
	} {
		if err := s.Save(t.Context(), next, follows); err == nil {
			t.Errorf("saved a record that follows %s", name)
		}
	}
	if err := s.Save(t.Context(), rollout.NewRecord(Service, "r3"), rollout.Head{}); err == nil {
		t.Error("saved a record without entries")
	}
}

func testBroken(t *testing.T, s phase.Store) {
	r := Opened(t, Service, "r1", rollout.Head{})
	save(t, s, r, rollout.Head{})
	next := Grown(t, r, "on")
	next.Entries[1].Actor = "somebody else"
	if err := s.Save(t.Context(), next, r.Head()); !errors.Is(err, rollout.ErrBroken) {
		t.Errorf("save of a changed entry: %v, want %v", err, rollout.ErrBroken)
	}
	wantRecord(t, s, r, rollout.Head{})
}

func testForked(t *testing.T, s phase.Store) {
	r := Opened(t, Service, "r1", rollout.Head{})
	save(t, s, r, rollout.Head{})
	left, right := Grown(t, r, "left"), Grown(t, r, "right")
	save(t, s, left, r.Head())
	save(t, s, right, r.Head())
	wantError(t, s, rollout.Head{}, rollout.ErrForked)
	wantRecord(t, s, left, left.Head())
	wantRecord(t, s, right, right.Head())

	// What goes on from one of them heals it: the other is an orphan.
	next := Grown(t, right, "on")
	save(t, s, next, right.Head())
	wantRecord(t, s, next, rollout.Head{})
}

func testServices(t *testing.T, s phase.Store) {
	one, two := Opened(t, Service, "r1", rollout.Head{}), Opened(t, "billing", "r1", rollout.Head{})
	two = Grown(t, two, "on")
	save(t, s, one, rollout.Head{})
	save(t, s, two, rollout.Head{})
	wantRecord(t, s, one, rollout.Head{})
	wantRecord(t, s, two, rollout.Head{})
	wantError(t, s, two.Head(), rollout.ErrNotFound)
}

func testNextRollout(t *testing.T, s phase.Store) {
	first := Grown(t, Opened(t, Service, "r1", rollout.Head{}), "settled")
	save(t, s, first, rollout.Head{})
	second := Opened(t, Service, "r2", first.Head())
	save(t, s, second, first.Head())
	wantRecord(t, s, second, rollout.Head{})
	wantRecord(t, s, first, first.Head())
}

func testConcurrent(t *testing.T, s phase.Store) {
	r := Opened(t, Service, "r1", rollout.Head{})
	save(t, s, r, rollout.Head{})
	heads := make([]rollout.Record, 8)
	for i := range heads {
		// Pairs save the same content, so that both kinds of race are there.
		heads[i] = Grown(t, r, fmt.Sprint("runner ", i/2))
	}
	var wg sync.WaitGroup
	errs := make([]error, len(heads))
	for i := range heads {
		wg.Go(func() { errs[i] = s.Save(t.Context(), heads[i], r.Head()) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, h := range heads {
		wantRecord(t, s, h, h.Head())
	}
	wantRecord(t, s, r, r.Head())
	wantError(t, s, rollout.Head{}, rollout.ErrForked)
}
