package tally

import (
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// Since returns the samples of rows that began at since or later: a row that
// straddles it is left out, so that nothing from before is counted.
func (b *Book) Since(since time.Time, resolution api.Resolution) api.Counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts := api.Counts{From: later(b.from, since), CompleteUntil: b.cut, Samples: []api.Sample{}}
	open := map[Key]*merging{}
	var order []*merging
	for i := range b.rows {
		r := &b.rows[(b.next+i)%len(b.rows)]
		if r.From.Before(since) {
			continue
		}
		known := open[r.Key]
		if known == nil || resolution == api.PerSecond || !known.takes(r) {
			known = newMerging(r)
			open[r.Key] = known
			order = append(order, known)
		}
		known.add(r)
	}
	for _, m := range order {
		sample := m.sample()
		if resolution == api.PerSecond {
			sample.Durations = nil // an hour of them would weigh megabytes
		}
		counts.Samples = append(counts.Samples, sample)
	}
	return counts
}

// merging sums rows of one revision under one split.
type merging struct {
	out       api.Sample
	split     uint64
	allKnown  bool
	cpu       float64
	memory    float64 // integral over time, in byte seconds
	instances float64 // integral over time
	seconds   float64
}

func newMerging(r *row) *merging {
	return &merging{
		split: r.Split, allKnown: true,
		out: api.Sample{
			Side: r.Key.Side, Revision: r.Key.Revision, From: r.From, To: r.From,
			Weights: r.Weights, SlowOver: api.Duration(r.SlowOver), Durations: make([]uint64, buckets),
		},
	}
}

// takes tells whether r continues the sample without a hole or a change.
func (m *merging) takes(r *row) bool {
	return m.split == r.Split && m.out.To.Equal(r.From) && m.out.SlowOver.Std() == r.SlowOver
}

func (m *merging) add(r *row) {
	m.out.To = r.To
	m.out.Requests += uint64(r.Requests)
	m.out.Errors += uint64(r.Errors)
	m.out.Slow += uint64(r.Slow)
	for i, n := range r.Durations {
		m.out.Durations[i] += uint64(n)
	}
	seconds := r.To.Sub(r.From).Seconds()
	m.seconds += seconds
	m.instances += float64(r.Usage.Instances) * seconds
	m.cpu += r.Usage.CPUSeconds
	m.memory += r.Usage.MemoryBytes * seconds
	m.allKnown = m.allKnown && r.Usage.Known
}

func (m *merging) sample() api.Sample {
	if m.seconds > 0 {
		m.out.Instances = m.instances / m.seconds
	}
	if m.allKnown && m.seconds > 0 {
		memory := m.memory / m.seconds
		m.out.CPUSeconds, m.out.MemoryBytes = &m.cpu, &memory
	}
	return m.out
}
