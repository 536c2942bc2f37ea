// Package tally counts what each revision was asked and answered, second by
// second, and keeps it for some hours.
package tally

import (
	"sort"
	"sync"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// Key is whom a request is counted for.
type Key struct {
	Side     api.Side
	Revision api.Revision
}

// buckets is the number of duration classes: the bounds and what is above.
const buckets = 22

// Totals are the counts of a series since it began.
type Totals struct {
	Requests, Errors, Slow uint64
	Seconds                float64 // sum of durations
	Durations              [buckets]uint64
}

// Series takes the counts of one revision on one side. It is safe for
// concurrent use; a request's counts are seen whole or not at all.
type Series struct {
	bounds []time.Duration

	mu       sync.Mutex
	slowOver time.Duration
	totals   Totals
}

// Observe counts one request that has ended.
func (s *Series) Observe(took time.Duration, failed bool) {
	class := sort.Search(len(s.bounds), func(i int) bool { return took <= s.bounds[i] })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.totals.Requests++
	s.totals.Seconds += took.Seconds()
	s.totals.Durations[class]++
	if failed {
		s.totals.Errors++
	}
	if s.slowOver > 0 && took > s.slowOver {
		s.totals.Slow++
	}
}

// Totals returns the counts since the series began.
func (s *Series) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.totals
}

func (s *Series) limit() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slowOver
}

func (s *Series) add(gained Totals) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.totals = s.totals.plus(gained)
}

func (t Totals) plus(more Totals) Totals {
	t.Requests += more.Requests
	t.Errors += more.Errors
	t.Slow += more.Slow
	t.Seconds += more.Seconds
	for i := range t.Durations {
		t.Durations[i] += more.Durations[i]
	}
	return t
}

func (t Totals) minus(earlier Totals) Totals {
	t.Requests -= earlier.Requests
	t.Errors -= earlier.Errors
	t.Slow -= earlier.Slow
	t.Seconds -= earlier.Seconds
	for i := range t.Durations {
		t.Durations[i] -= earlier.Durations[i]
	}
	return t
}
