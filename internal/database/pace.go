package database

import (
	"sync"
	"time"
)

// pace finds how many rows make a batch of the wanted duration, as GitLab's
// batch optimiser does: by an exponential average of how long a row took, with
// bounded growth. There is no least size: where a row takes a second, a batch of
// one is right.
type pace struct {
	target  time.Duration
	rows    float64
	perRow  float64 // seconds, averaged; 0 before the first batch
	careful bool    // a batch has failed: no more leaps
}

const (
	firstBatch = 5_000
	mostRows   = 2_000_000
	growth     = 1.2
	fastGrowth = 3.0 // far from the target
	smoothing  = 0.4
)

func newPace(target time.Duration) *pace { return &pace{target: target, rows: firstBatch} }

func (p *pace) size() int { return max(int(p.rows), 1) }

// took tells how long a batch of n rows took.
func (p *pace) took(n int, d time.Duration) {
	if n <= 0 || d <= 0 {
		return
	}
	seconds := d.Seconds() / float64(n)
	if p.perRow == 0 {
		p.perRow = seconds
	}
	p.perRow += smoothing * (seconds - p.perRow)
	wanted := p.target.Seconds() / p.perRow
	most := max(p.rows*growth, p.rows+1)
	if !p.careful && wanted > p.rows*fastGrowth {
		most = p.rows * fastGrowth
	}
	p.rows = min(max(min(wanted, most), 1), mostRows)
}

// failed halves the batch after one that took too long or met locks.
func (p *pace) failed() {
	p.rows = max(p.rows/2, 1)
	p.careful = true
}

// patience is how long a batch may take before it is ended and halved: its
// writers wait for it meanwhile. One row may take as long as any statement.
func (p *pace) patience(most time.Duration) time.Duration {
	const times, least = 10, 2 * time.Second
	if p.size() == 1 {
		return most
	}
	return min(max(times*p.target, least), most)
}

// throttle spaces batches out so that all workers together stay within a rate.
// It is a bucket that holds one batch. The rate may be another each time.
type throttle struct {
	mu   sync.Mutex
	paid time.Time // when what was written so far is within the rate
}

// spend notes that a batch begun at that time wrote n rows.
func (t *throttle) spend(begun time.Time, n int64, rate float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.paid.Before(begun) {
		t.paid = begun
	}
	if rate > 0 {
		t.paid = t.paid.Add(time.Duration(float64(n) / rate * float64(time.Second)))
	}
}

// wait is how long the next batch must still wait.
func (t *throttle) wait(now time.Time, rate float64) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if rate <= 0 {
		return 0
	}
	return max(t.paid.Sub(now), 0)
}

// within bounds a batch, so that under a rate rows trickle: no more of them at
// once than the rate gives in the time of a batch.
func (p *pace) within(rate float64) int {
	if rate <= 0 {
		return p.size()
	}
	return max(min(p.size(), int(rate*p.target.Seconds())), 1)
}
