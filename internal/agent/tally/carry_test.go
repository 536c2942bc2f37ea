package tally

import (
	"bytes"
	"encoding/gob"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// A book that was carried to another process, in the form in which it goes
// there, tells the same as one that stayed.
func TestCarriedBookTellsWhatItWouldHaveTold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		kept := rapid.IntRange(1, 12).Draw(t, "kept")
		stays, moves := NewBook(begin, kept), NewBook(begin, kept)
		keys := []Key{{api.Blue, api.Revision{ID: "v1"}}, {api.Green, api.Revision{ID: "v2"}}}
		known := func(b *Book) { // as by launches
			for _, key := range keys {
				b.Series(key, time.Millisecond)
			}
		}
		known(stays)
		known(moves)
		count := func(b *Book, key Key, n int) {
			for i := range n {
				b.Series(key, time.Millisecond).Observe(time.Duration(i)*time.Millisecond, i%3 == 0)
			}
		}
		now := begin
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			key := keys[rapid.IntRange(0, 1).Draw(t, "key")]
			usage := map[Key]Usage{key: {CPUSeconds: 0.25, MemoryBytes: 100, Instances: 2, Known: true}}
			before, after := rapid.IntRange(0, 5).Draw(t, "before"), rapid.IntRange(0, 5).Draw(t, "after")
			count(stays, key, before)
			count(moves, key, before)
			if rapid.Bool().Draw(t, "carried") {
				now = now.Add(time.Second / 2)
				stays.Cut(now, usage)
				next := sent(t, moves.Carry(now, usage), kept)
				known(next)
				count(moves, key, after) // by the process that leaves
				next.Add(moves.Gained())
				moves = next
			} else {
				count(moves, key, after)
			}
			count(stays, key, after)
			now = now.Add(time.Second / 2)
			if rapid.Bool().Draw(t, "shifted") {
				weights := api.Weights{api.Blue: 900, api.Green: 100}
				stays.Shift(now, usage, weights)
				moves.Shift(now, usage, weights)
			} else {
				stays.Cut(now, usage)
				moves.Cut(now, usage)
			}
		}
		for _, resolution := range []api.Resolution{api.PerSplit, api.PerSecond} {
			if diff := cmp.Diff(stays.Since(begin, resolution), moves.Since(begin, resolution)); diff != "" {
				t.Fatalf("%s, stayed against carried:\n%s", resolution, diff)
			}
		}
	})
}

func sent(t *rapid.T, book Carried, kept int) *Book {
	var wire bytes.Buffer
	if err := gob.NewEncoder(&wire).Encode(book); err != nil {
		t.Fatal(err)
	}
	var got Carried
	if err := gob.NewDecoder(&wire).Decode(&got); err != nil {
		t.Fatal(err)
	}
	next := NewBook(book.Cut, kept)
	next.Resume(got)
	return next
}
