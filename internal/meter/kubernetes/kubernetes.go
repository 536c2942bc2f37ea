// Package kubernetes reads what the pods of revisions use: CPU time and memory.
// It adds that to what another meter counts, or tells it alone for a service
// without requests.
package kubernetes

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// Requests is a meter of requests, as phase.Meter.
type Requests interface {
	Counts(ctx context.Context, in rollout.Window, of ...rollout.Revision) ([]verdict.Sample, error)
}

// Options say whose pods are looked at.
type Options struct {
	Namespace string
	// Selector is what the labels of all pods of the service have in common, as
	// app=shop; empty are all pods of the namespace.
	Selector string
	// Requests counts requests; nil where there are none to count.
	Requests Requests
	// Warn is told, once each, why usage is not known; nil tells nobody.
	Warn func(string)
}

// Meter reads one service's usage. It implements phase.Meter. The cluster tells
// only the present, so that a Meter knows what it has read itself.
type Meter struct {
	o       Options
	cluster *cluster

	mu       sync.Mutex
	told     map[string]bool
	readings map[string][]reading // by revision, in order of time
	pods     map[string]pod       // as of the last look
	looked   time.Time
}

// New makes the meter of pods in the cluster that access leads to. It asks for
// nothing yet.
func New(access *rest.Config, o Options) (*Meter, error) {
	c, err := newCluster(access, o)
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", o.Namespace, err)
	}
	return &Meter{o: o, cluster: c, told: map[string]bool{}, readings: map[string][]reading{}}, nil
}

// A reading is what all ready pods of a revision used.
type reading struct {
	// Their CPU time was measured from the one time to the other.
	from, to time.Time
	cores    float64
	// measured is false where one of the pods was not.
	measured bool
	memory   int64 // bytes, mean of the pods; 0 is unknown
	pods     int
}

func (r reading) middle() time.Time { return r.from.Add(r.to.Sub(r.from) / 2) }

// fresh is how far a sample may be from the reading that stands for it: usage is
// told every 15 to 60 seconds.
const fresh = time.Minute

// kept is how many readings of a revision are remembered: those that are fresh,
// however often a phase looks.
const kept = 600

// Counts reads what the pods that are ready use now, and gives the samples of
// the meter of requests with it. Where the cluster tells no usage, or not of
// every pod, that is absent and said in a warning.
func (m *Meter) Counts(ctx context.Context, in rollout.Window, of ...rollout.Revision) ([]verdict.Sample, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.looked
	m.looked = in.Seen.At
	if err := m.look(ctx, in.Seen, of); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		m.warn("what pods use is not known: " + err.Error())
	}
	if m.o.Requests == nil {
		return m.alone(in, before, of), nil
	}
	samples, err := m.o.Requests.Counts(ctx, in, of...)
	for i := range samples {
		m.attach(&samples[i], in.Passed)
	}
	return samples, err
}

// warn tells each text once. m.mu is held.
func (m *Meter) warn(text string) {
	if m.o.Warn != nil && !m.told[text] {
		m.told[text] = true
		m.o.Warn(text)
	}
}

// alone makes samples without requests, one for each revision between two looks.
func (m *Meter) alone(in rollout.Window, before time.Time, of []rollout.Revision) []verdict.Sample {
	if before.IsZero() || before.Before(in.Since) || !m.looked.After(before) || shiftedBetween(in.Passed, before, m.looked) {
		return nil
	}
	var out []verdict.Sample
	for _, r := range of {
		s := verdict.Sample{Revision: r.Key(), From: before, To: m.looked, Weight: int(in.WeightAt(before))}
		if m.attach(&s, in.Passed) {
			out = append(out, s)
		}
	}
	return out
}

// attach gives a sample what the nearest readings tell.
func (m *Meter) attach(s *verdict.Sample, passed []rollout.Passage) bool {
	known, ok := m.nearest(*s, passed, false)
	if !ok {
		return false
	}
	s.Memory, s.Instances = known.memory, known.pods
	if known, ok = m.nearest(*s, passed, true); ok {
		s.CPU, s.HasCPU = time.Duration(known.cores*float64(s.To.Sub(s.From))), true
	}
	return true
}

// nearest is the reading that stands for a sample, of those that are fresh and of
// the sample's weight alone, and where CPU time is wanted of those that tell it.
func (m *Meter) nearest(s verdict.Sample, passed []rollout.Passage, cpu bool) (nearest reading, found bool) {
	at := s.From.Add(s.To.Sub(s.From) / 2)
	for _, r := range m.readings[s.Revision] {
		first, last := r.from, r.to
		if at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
		if cpu && !r.measured || distance(at, r.middle()) > fresh || shiftedBetween(passed, first, last) {
			continue
		}
		if !found || distance(at, r.middle()) <= distance(at, nearest.middle()) {
			nearest, found = r, true
		}
	}
	return nearest, found
}

func distance(a, b time.Time) time.Duration { return a.Sub(b).Abs() }

// shiftedBetween reports whether the weight changed after the one time and before
// the other.
func shiftedBetween(passed []rollout.Passage, from, to time.Time) bool {
	for _, p := range passed {
		if p.Since.After(from) && p.Since.Before(to) {
			return true
		}
	}
	return false
}

// look reads the usage of all pods and sums it up by revision. m.mu is held.
func (m *Meter) look(ctx context.Context, seen rollout.Observation, of []rollout.Revision) error {
	used, err := m.cluster.usage(ctx)
	if err != nil {
		return err
	}
	pods := map[string]pod{}
	for name, u := range used {
		pods[name] = m.pods[name].then(u)
	}
	for _, r := range of {
		if now, ok := sum(ready(seen, r), pods); ok {
			all := append(m.readings[r.Key()], now)
			m.readings[r.Key()] = all[max(0, len(all)-kept):]
		}
	}
	m.pods = pods
	return nil
}

// ready are the pods of a revision that serve.
func ready(seen rollout.Observation, r rollout.Revision) (names []string) {
	for _, side := range []rollout.Side{rollout.Blue, rollout.Green} {
		if seen.Sides[side].Revision != r {
			continue
		}
		for _, one := range seen.Sides[side].Instances {
			if one.Ready {
				names = append(names, one.Name)
			}
		}
	}
	return names
}

// sum adds up what pods used; there is nothing where none of them was looked at
// anew.
func sum(names []string, pods map[string]pod) (reading, bool) {
	r := reading{measured: true, pods: len(names)}
	var memory, known int64
	renewed := false
	for _, name := range names {
		p, ok := pods[name]
		r.measured = r.measured && ok && p.measured
		if !ok {
			continue
		}
		renewed = renewed || p.renewed
		r.cores += p.cores
		if r.from.IsZero() || p.from.Before(r.from) {
			r.from = p.from
		}
		if p.at.After(r.to) {
			r.to = p.at
		}
		if p.memory > 0 {
			memory, known = memory+p.memory, known+1
		}
	}
	if known > 0 {
		r.memory = memory / known
	}
	return r, renewed
}
