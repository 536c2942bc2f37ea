// Package prometheus reads what revisions did from the counters of an ingress,
// of a mesh or of the service itself, as a Prometheus has kept them. It reads
// them scrape by scrape, so that it counts as its sources did.
package prometheus

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/retry"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// Side names what one side is made of.
type Side struct {
	Deployment string
	Service    string
}

// Options say which Prometheus is asked, and for what.
type Options struct {
	Config config.Prometheus
	// Token is a bearer token, BasicAuth user:password; both may be empty.
	Token, BasicAuth string
	// CA are the authorities to trust, in PEM; empty are the machine's.
	CA []byte
	// SlowOver is from which duration on a request is slow.
	SlowOver  time.Duration
	Namespace string
	// Sides are both sides. In a rolling update both name the same Deployment;
	// revisions are then told apart by their pods.
	Sides map[rollout.Side]Side
	// Clock is the time by which is asked and waited.
	Clock retry.Clock
	// Warn is told, once each, what does not keep counts from being read; nil
	// tells nobody.
	Warn func(string)
}

// Meter reads one service's counters. It implements phase.Meter.
type Meter struct {
	o      Options
	client client

	mu   sync.Mutex
	told map[string]bool
}

// New makes a meter. It asks for nothing yet.
func New(o Options) (*Meter, error) {
	m := &Meter{o: o, told: map[string]bool{}}
	o.Warn = m.warn
	var err error
	m.client, err = newClient(o)
	return m, err
}

func (m *Meter) warn(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.o.Warn != nil && !m.told[text] {
		m.told[text] = true
		m.o.Warn(text)
	}
}

// asked is one revision with the counters that stand for it.
type asked struct {
	key string
	selection
}

// Counts returns samples of each revision as fine as its counters are scraped,
// or as Config.Step says, up to the newest scrape of all. What was counted in the
// scrapes around a shift belongs to no weight and is left out, and so is what
// was counted over a gap between scrapes. Of several revisions the last is the
// candidate, whose weight the samples carry; of a single one it is the rest of
// the traffic that counts as the candidate's, and the samples begin with the
// split that is in force.
//
// It is an error where the two cannot be told apart, and where requests are
// counted but not whether they failed or how long they took. Its errors are
// mostly QueryError.
func (m *Meter) Counts(ctx context.Context, in rollout.Window, of ...rollout.Revision) ([]verdict.Sample, error) {
	revisions, err := m.find(in.Seen, of)
	if err != nil || len(revisions) == 0 {
		return nil, err
	}
	in = passages(in, of)
	now := model.TimeFromUnixNano(m.o.Clock.Now().UnixNano())
	limit, err := m.bound(ctx, revisions, now)
	if err != nil {
		return nil, err
	}
	since := model.TimeFromUnixNano(in.Since.UnixNano())
	tallies, scraped, err := m.read(ctx, revisions, limit, since, now)
	if err != nil {
		return nil, err
	}
	until, interval := scraped.complete()
	return m.samples(revisions, tallies, in, since, until, max(interval, m.o.Config.Step.Milliseconds()))
}

// passages completes what the record knows of the weights by what is seen.
func passages(in rollout.Window, of []rollout.Revision) rollout.Window {
	side, found := sideOf(in.Seen, of, len(of)-1)
	if !found || in.Seen.Split.Zero() || in.Seen.SplitSince.IsZero() {
		return in
	}
	seen := rollout.Passage{Since: in.Seen.SplitSince, Weight: in.Seen.Split.Of(side)}
	if len(of) == 1 {
		seen.Weight = rollout.Full - seen.Weight
		in.Passed = []rollout.Passage{seen}
		if seen.Since.After(in.Since) && seen.Since.Before(in.Seen.At) { // at it: nobody noted when
			in.Since = seen.Since
		}
		return in
	}
	if n := len(in.Passed); n == 0 || seen.Since.After(in.Passed[n-1].Since) && seen.Weight != in.Passed[n-1].Weight {
		in.Passed = append(slices.Clone(in.Passed), seen)
	}
	return in
}

// sideOf finds where a revision is. Of two, one that is seen nowhere any more
// was across from the other.
func sideOf(seen rollout.Observation, of []rollout.Revision, i int) (rollout.Side, bool) {
	where := func(r rollout.Revision) (rollout.Side, bool) {
		for _, side := range []rollout.Side{rollout.Blue, rollout.Green} {
			if st, ok := seen.Sides[side]; ok && st.Revision == r {
				return side, true
			}
		}
		return "", false
	}
	if side, ok := where(of[i]); ok || len(of) != 2 {
		return side, ok
	}
	side, ok := where(of[1-i])
	return side.Other(), ok
}

// samples puts the tallies into one grid.
func (m *Meter) samples(revisions []asked, tallies []tally, in rollout.Window, since, until model.Time, step int64) ([]verdict.Sample, error) {
	growths := make([][]growth, len(tallies))
	for i, t := range tallies {
		growths[i] = t.requests
	}
	g := newGrid(since, step, until, growths...)
	var shifts []model.Time
	for _, p := range in.Passed {
		shifts = append(shifts, model.TimeFromUnixNano(p.Since.UnixNano()))
	}
	var out []verdict.Sample
	for i, t := range tallies {
		known, served := 0, 0
		for _, c := range g.cells(t, shifts) {
			if c.requests > 0 {
				if served++; !c.isTimed {
					continue // whether any was slow is not known
				}
				known++
			}
			out = append(out, verdict.Sample{
				Revision: revisions[i].key, From: c.from.Time().UTC(), To: c.to.Time().UTC(), Weight: int(in.WeightAt(c.from.Time())),
				Requests: count(c.requests), Errors: count(c.errors), Slow: count(c.timed - c.fast),
			})
		}
		if served > 0 && known == 0 {
			return nil, fmt.Errorf("requests of %s are counted, but how long they took is not: %s has nothing for them",
				revisions[i].key, query(revisions[i].buckets[0], ""))
		}
	}
	slices.SortStableFunc(out, func(a, b verdict.Sample) int { return a.From.Compare(b.From) })
	return out, nil
}

func count(n float64) int64 { return int64(math.Round(max(0, n))) }

// find gives the counters of the revisions that are there.
func (m *Meter) find(seen rollout.Observation, of []rollout.Revision) ([]asked, error) {
	var out []asked
	for i, r := range of {
		side, ok := sideOf(seen, of, i)
		if !ok {
			continue
		}
		p := place{side: side, namespace: m.o.Namespace, Side: m.o.Sides[side], pods: podsOf(m.o.Sides[side].Deployment)}
		if m.o.Sides[side].Deployment == m.o.Sides[side.Other()].Deployment {
			p.pods = podsNamed(seen.Sides[side].Instances)
		}
		s, err := p.selects(m.o.Config.Ingress)
		if q := m.o.Config.Queries; q != nil {
			s, err = p.asks(*q)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, asked{r.Key(), s})
	}
	if len(out) == 2 && slices.Equal(out[0].requests, out[1].requests) {
		return nil, &AlikeError{m.o.Config.Ingress}
	}
	return out, nil
}

// AlikeError says that both revisions are counted as one.
type AlikeError struct{ By config.Ingress }

func (e *AlikeError) Error() string {
	return fmt.Sprintf("both revisions are behind one Service and one Deployment: what %s counts does not tell them apart", e.By)
}

// Hint says what a person can do.
func (e *AlikeError) Hint() string {
	return "set meter.prometheus.ingress to application, which counts pod by pod"
}
