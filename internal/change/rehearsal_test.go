package change_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/change"
)

func TestRehearsalIsJudged(t *testing.T) {
	lock := func(mode string) []change.TableLock { return []change.TableLock{{Table: "public.t", Mode: mode}} }
	tests := []struct {
		name string
		r    change.Rehearsal
		want []string
	}{
		{name: "short", r: change.Rehearsal{Statements: []change.Rehearsed{{Locks: lock("ACCESS EXCLUSIVE"), Held: time.Second}}}},
		{
			name: "held",
			r:    change.Rehearsal{Statements: []change.Rehearsed{{Part: change.PartExpand, Step: "sql/1", Statement: "x", Locks: lock("SHARE"), Held: 1001 * time.Millisecond}}},
			want: []string{"expand, step sql/1 held its lock, share on public.t, for 1.001s without a row, allowed 1s: x"},
		},
		{name: "in nobody's way", r: change.Rehearsal{Statements: []change.Rehearsed{{Locks: lock("SHARE UPDATE EXCLUSIVE"), Held: time.Hour}}}},
		{
			name: "rewritten",
			r:    change.Rehearsal{Statements: []change.Rehearsed{{Part: change.PartContract, Step: "drop", Statement: "x", Rewrites: []string{"public.t"}}}},
			want: []string{"contract, step drop rewrites table public.t: x"},
		},
		{name: "failed", r: change.Rehearsal{Failed: "expand, no"}, want: []string{"its rehearsal failed: expand, no"}},
	}
	for _, test := range tests {
		test.r.Judge(time.Second)
		if diff := cmp.Diff(test.want, test.r.Refusals); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}
