package database

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A batch comes to last as long as wanted, whatever a row takes, within a few
// batches, and stays there.
func TestPaceFindsTheTarget(t *testing.T) {
	t.Parallel()
	const target = 250 * time.Millisecond
	for _, row := range []time.Duration{500 * time.Nanosecond, 10 * time.Microsecond, time.Millisecond, 40 * time.Millisecond} {
		p := newPace(target)
		want := min(target.Seconds()/row.Seconds(), mostRows)
		for n := 1; ; n++ {
			size := p.size()
			if math.Abs(float64(size)-want) <= max(want/100, 1) {
				t.Logf("%s a row: %d rows after %d batches", row, size, n)
				break
			}
			if n > 40 {
				t.Fatalf("%s a row: still %d rows, wanted %.0f", row, size, want)
			}
			p.took(size, time.Duration(size)*row)
		}
	}
}

// One batch changes the size by no more than a fifth once a batch has failed,
// and never makes it less than one row.
func TestPaceGoesCarefullyAfterAFailure(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := newPace(250 * time.Millisecond)
		for range rapid.IntRange(0, 30).Draw(t, "failures") {
			p.failed()
		}
		p.failed()
		for range 50 {
			before := p.size()
			p.took(before, time.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "took")))
			if after := p.size(); after < 1 || after > max(int(float64(before+1)*growth), before+1) {
				t.Fatalf("%d rows after %d", after, before)
			}
		}
	})
}

func TestPatienceIsShortButForASingleRow(t *testing.T) {
	t.Parallel()
	p := newPace(250 * time.Millisecond)
	if got := p.patience(30 * time.Second); got != 2500*time.Millisecond {
		t.Errorf("a batch may take %s", got)
	}
	for p.size() > 1 {
		p.failed()
	}
	if got := p.patience(30 * time.Second); got != 30*time.Second {
		t.Errorf("one row may take %s", got)
	}
}

// Whatever the workers do, the rows of any stretch of time are within the rate,
// but for the batches that were under way.
func TestThrottleKeepsTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(10, 100_000).Draw(t, "rate")
		workers := rapid.IntRange(1, 4).Draw(t, "workers")
		p := newPace(250 * time.Millisecond)
		var th throttle
		start := time.Unix(0, 0)
		free := make([]time.Time, workers) // when each worker is done with its batch
		for i := range free {
			free[i] = start
		}
		var rows int64
		now := start
		for range 200 {
			i := 0
			for j := range free {
				if free[j].Before(free[i]) {
					i = j
				}
			}
			if free[i].After(now) {
				now = free[i]
			}
			if wait := th.wait(now, rate); wait > 0 {
				free[i] = now.Add(wait)
				continue
			}
			n := int64(p.within(rate))
			took := time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "took"))
			free[i] = now.Add(took)
			th.spend(now, n, rate)
			rows += n
			allowed := rate*now.Sub(start).Seconds() + float64(n)
			if float64(rows) > allowed*1.000001+1 {
				t.Fatalf("%d rows after %s at %.0f rows/s", rows, now.Sub(start), rate)
			}
		}
	})
}

// A rate that is changed counts from the next batch on; without one nothing
// waits.
func TestThrottleTakesAnotherRate(t *testing.T) {
	var th throttle
	now := time.Unix(100, 0)
	th.spend(now, 1_000, 100)
	if got := th.wait(now, 100); got != 10*time.Second {
		t.Errorf("waits %s", got)
	}
	if got := th.wait(now, 0); got != 0 {
		t.Errorf("waits %s without a rate", got)
	}
	now = now.Add(10 * time.Second)
	th.spend(now, 1_000, 10_000)
	if got := th.wait(now, 10_000); got != 100*time.Millisecond {
		t.Errorf("waits %s", got)
	}
	now = now.Add(time.Hour) // what was not used is not saved up
	th.spend(now, 1_000, 100)
	if got := th.wait(now, 100); got != 10*time.Second {
		t.Errorf("waits %s after an hour", got)
	}
}
