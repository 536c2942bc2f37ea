package prometheus

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"

	"github.com/gapless-deploy/gapless/internal/config"
)

const (
	// lookback is how far before a time its scrapes are read, to find the value
	// that the first of them is compared with.
	lookback = 5 * time.Minute
	// portion is how much time one query is about: a long exposure is read in
	// several.
	portion = 2 * time.Hour
	// atOnce is how many queries are made beside each other.
	atOnce = 6
)

// raw holds the series of one revision.
type raw struct{ requests, errors, timed, fast model.Matrix }

// read reads the counters scrape by scrape.
func (m *Meter) read(ctx context.Context, revisions []asked, limit bound, since, now model.Time) ([]tally, progress, error) {
	tallies, scraped := make([]tally, len(revisions)), progress{}
	for begin := since; begin < now; {
		end := min(now, begin.Add(portion))
		series, err := m.series(ctx, revisions, limit, begin, end)
		if err != nil {
			return nil, nil, err
		}
		ts, all := targets{}, []model.Matrix{}
		for _, r := range series {
			all = append(all, r.requests, r.errors, r.timed, r.fast)
		}
		for _, one := range all {
			ts.add(one)
		}
		ts.sort(all...)
		scraped.add(ts)
		for i, r := range series {
			if err := tallies[i].add(ts, revisions[i].selection, r, begin); err != nil {
				return nil, nil, err
			}
		}
		begin = end
	}
	return tallies, scraped, nil
}

// series asks for the raw values of one portion. All queries are about the same
// time, so that a series which begins with it is not taken for a new one.
func (m *Meter) series(ctx context.Context, revisions []asked, limit bound, begin, end model.Time) ([]raw, error) {
	out := make([]raw, len(revisions))
	over := end.Sub(begin) + lookback
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range revisions {
		for _, one := range []struct {
			selectors []config.Selector
			more      string
			into      *model.Matrix
		}{
			{revisions[i].requests, "", &out[i].requests},
			{revisions[i].errors, "", &out[i].errors},
			{limit.of(revisions[i].buckets), `le="+Inf"`, &out[i].timed},
			{limit.of(revisions[i].buckets), limit.matcher(), &out[i].fast},
		} {
			for _, s := range one.selectors {
				group.Go(func() error {
					found, err := m.client.matrix(ctx, query(s, one.more), end, over)
					m.mu.Lock()
					defer m.mu.Unlock()
					*one.into = append(*one.into, found...)
					return err
				})
			}
		}
	}
	return out, group.Wait()
}

// add takes in what was gained after begin.
func (t *tally) add(ts targets, s selection, r raw, begin model.Time) error {
	gained := func(series *model.SampleStream) []growth {
		all := ts.of(series.Metric).growths(series.Values)
		for len(all) > 0 && all[0].to <= begin {
			all = all[1:]
		}
		return all
	}
	for _, one := range r.requests {
		g := gained(one)
		t.requests = append(t.requests, g...)
		if len(s.errors) > 0 {
			continue
		}
		if _, ok := one.Metric[s.code]; !ok {
			return fmt.Errorf("whether requests failed is not known: %s has no label %s", one.Metric, s.code)
		}
		if s.failed(one.Metric) {
			t.errors = append(t.errors, g...)
		}
	}
	for _, part := range []struct {
		series model.Matrix
		into   *[]growth
	}{{r.errors, &t.errors}, {r.timed, &t.timed}, {r.fast, &t.fast}} {
		for _, one := range part.series {
			*part.into = append(*part.into, gained(one)...)
		}
	}
	return nil
}
