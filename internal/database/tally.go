package database

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
)

// tally is how far a run of the backfill has come, and tells it.
type tally struct {
	now    func() time.Time
	step   string
	total  int64
	begun  time.Time
	report func(change.Progress)

	mu       sync.Mutex
	walked   int64 // rows looked at, by earlier runs too
	filled   int64 // by this run
	told     time.Time
	marks    []mileage // of the last minute
	note     string
	stopped  bool
	warnings []string
}

// mileage is how far the walk was at a time.
type mileage struct {
	at     time.Time
	walked int64
}

const (
	// tellEvery is how often progress is told.
	tellEvery = 200 * time.Millisecond
	// rateOver is the time over which the rate is taken, and so how soon it
	// shows that the backfill goes slower or faster.
	rateOver  = time.Minute
	markEvery = time.Second
)

func newTally(now func() time.Time, step string, total int64, parts []part, report func(change.Progress)) *tally {
	t := &tally{now: now, step: step, total: total, begun: now(), report: report}
	for _, p := range parts {
		t.walked += p.rows
	}
	t.marks = []mileage{{t.begun, t.walked}}
	return t
}

// did adds a batch.
func (t *tally) did(walked, filled int64, urgent bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.walked += walked
	t.total = max(t.total, t.walked) // there are more rows than was thought
	t.filled += filled
	t.stopped = false
	t.tell(urgent)
}

// held tells what holds the backfill back, empty for nothing, and whether it
// stands still.
func (t *tally) held(why string, stopped bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.note, t.stopped = why, stopped
	if why != "" {
		t.tell(false)
	}
}

// warn tells something once.
func (t *tally) warn(warning string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.warnings = append(t.warnings, warning)
	t.report(change.Progress{Step: t.step, Done: t.walked, Total: t.total, Warning: warning})
}

func (t *tally) warned() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.warnings, "; ")
}

// tell reports progress; t.mu is held.
func (t *tally) tell(urgent bool) {
	at := t.now()
	if !urgent && at.Sub(t.told) < tellEvery {
		return
	}
	t.told = at
	p := change.Progress{Step: t.step, Done: t.walked, Total: t.total, Note: t.note}
	first := t.marks[0]
	if seconds := at.Sub(first.at).Seconds(); seconds > 0 && t.walked > first.walked && !t.stopped {
		p.Rate = float64(t.walked-first.walked) / seconds
		p.ETA = time.Duration(float64(t.total-t.walked) / p.Rate * float64(time.Second))
	}
	if at.Sub(t.marks[len(t.marks)-1].at) >= markEvery {
		t.marks = append(t.marks, mileage{at, t.walked})
	}
	for len(t.marks) > 1 && at.Sub(t.marks[1].at) >= rateOver {
		t.marks = t.marks[1:]
	}
	t.report(p)
}

// hold waits for as long as something stops the backfill, and gives the rate
// and the pauses that it must keep.
func (f *filler) hold(ctx context.Context) (rate, stretch float64, err error) {
	const ask = 100 * time.Millisecond
	for {
		why, err := f.db.options.Hold(ctx)
		if err != nil {
			return 0, 0, fmt.Errorf("ask whether the backfill must wait: %w", err)
		}
		now, rate := f.monitor.holding()
		wait, stopped := min(f.throttle.wait(f.db.options.Now(), rate), ask), now.stop || why != ""
		switch {
		case now.stop:
			why, wait = now.why, ask
		case stopped:
			wait = ask
		case wait == 0:
			f.tally.held(now.why, false)
			return rate, now.stretch, nil
		case now.why != "":
			why = now.why
		default:
			why = fmt.Sprintf("at most %s rows/s", figure(rate))
		}
		f.tally.held(why, stopped)
		if err := pause(ctx, wait); err != nil {
			return 0, 0, err
		}
	}
}

// rest is the pause after a batch where the backfill is slowed down.
func (f *filler) rest(ctx context.Context, wait time.Duration) error {
	const most = 10 * time.Second
	if wait <= 0 {
		return nil
	}
	return pause(ctx, min(wait, most))
}
