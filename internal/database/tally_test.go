package database

import (
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
)

// clocked is a tally whose clock the test moves.
func clocked(total int64, parts ...part) (t *tally, now *time.Time, told *[]change.Progress) {
	at := time.Unix(1_000, 0)
	var list []change.Progress
	t = newTally(func() time.Time { return at }, string(change.Backfill), total, parts, func(p change.Progress) { list = append(list, p) })
	return t, &at, &list
}

func last(list *[]change.Progress) change.Progress { return (*list)[len(*list)-1] }

// Rate and time left are those of the last minute, so that a backfill that was
// slowed down, or goes fast again, shows it; while it stands still there are
// none.
func TestTheTimeLeftFollowsTheRate(t *testing.T) {
	tally, now, told := clocked(1_000_000, part{rows: 100_000})
	second := func(rows int64) {
		*now = now.Add(time.Second)
		tally.did(rows, rows, false)
	}
	for range 30 {
		second(10_000)
	}
	if p := last(told); p.Done != 400_000 || p.Rate != 10_000 || p.ETA != time.Minute {
		t.Errorf("%+v", p)
	}
	for range 90 {
		second(1_000)
	}
	if p := last(told); p.Done != 490_000 || p.Rate != 1_000 || p.ETA != 510*time.Second {
		t.Errorf("after it was slowed down: %+v", p)
	}
	*now = now.Add(time.Second)
	tally.held("held back: standby db2 is 14 s behind", true)
	if p := last(told); p.Rate != 0 || p.ETA != 0 || !strings.Contains(p.Note, "db2") {
		t.Errorf("while it is held back: %+v", p)
	}
	tally.held("", false)
	second(1_000)
	if p := last(told); p.Note != "" || p.Rate < 980 || p.Rate > 1_000 {
		t.Errorf("after that: %+v", p)
	}
}

// However many batches there are, progress is told five times a second at most,
// and the count never goes beyond the total: there were more rows than was
// thought.
func TestProgressIsToldAtABoundedRate(t *testing.T) {
	tally, now, told := clocked(1_000)
	for range 10_000 {
		*now = now.Add(time.Millisecond)
		tally.did(1, 1, false)
	}
	if n := len(*told); n < 45 || n > 51 {
		t.Errorf("told %d times in 10 s", n)
	}
	if p := last(told); p.Done > p.Total {
		t.Errorf("%+v", p)
	}
}
