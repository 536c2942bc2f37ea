package prometheus

import (
	"context"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/gapless-deploy/gapless/internal/config"
)

// A bound is where a histogram parts fast requests from slow ones.
type bound struct {
	at time.Duration
	// le are the ways in which the label says so; empty where there is no histogram
	// yet.
	le []string
}

// of gives the selectors of buckets, none where there is nothing to select.
func (b bound) of(buckets []config.Selector) []config.Selector {
	if len(b.le) == 0 {
		return nil
	}
	return buckets
}

func (b bound) matcher() string {
	texts := make([]string, len(b.le))
	for i, text := range b.le {
		texts[i] = quoted(regexp.QuoteMeta(text))
	}
	return `le=~"` + strings.Join(texts, "|") + `"`
}

// bounds are those of a histogram by their duration, with the texts of le.
type bounds map[time.Duration][]string

// bound finds where slow begins: at the smallest bound that is not below the
// objective, or the largest where all are, of those that every revision has
// which has any. It tells where that is not what was asked for.
func (m *Meter) bound(ctx context.Context, revisions []asked, now model.Time) (bound, error) {
	var common bounds
	for _, r := range revisions {
		found, err := m.bounds(ctx, r.selection, now)
		if err != nil {
			return bound{}, err
		}
		common = common.both(found)
		if common != nil && len(common) == 0 {
			return bound{}, fmt.Errorf("the histograms of the two revisions have no bound in common: %s", query(r.buckets[0], ""))
		}
	}
	if len(common) == 0 {
		return bound{}, nil
	}
	chosen := choose(slices.Sorted(maps.Keys(common)), m.o.SlowOver)
	switch {
	case chosen > m.o.SlowOver:
		m.warn(fmt.Sprintf("slow requests are those over %s: the histogram has no bound at judge.slow.over, %s, and this is the next", chosen, m.o.SlowOver))
	case chosen < m.o.SlowOver:
		m.warn(fmt.Sprintf("slow requests are those over %s: the histogram has no bound as high as judge.slow.over, %s", chosen, m.o.SlowOver))
	}
	return bound{at: chosen, le: common[chosen]}, nil
}

// choose takes the smallest of the sorted bounds that is not below over.
func choose(sorted []time.Duration, over time.Duration) time.Duration {
	i, _ := slices.BinarySearch(sorted, over)
	return sorted[min(i, len(sorted)-1)]
}

// both are the bounds that two histograms share; one without any has no say.
func (b bounds) both(other bounds) bounds {
	switch {
	case len(other) == 0:
		return b
	case b == nil:
		return other
	}
	shared := bounds{}
	for at, le := range b {
		if more, ok := other[at]; ok {
			shared[at] = slices.Compact(slices.Sorted(slices.Values(slices.Concat(le, more))))
		}
	}
	return shared
}

// bounds lists the bounds that every selected histogram has now, the infinite
// one left out.
func (m *Meter) bounds(ctx context.Context, s selection, now model.Time) (bounds, error) {
	var all bounds
	for _, selector := range s.buckets {
		series, err := m.client.vector(ctx, "count by (le) ("+query(selector, "")+")", now)
		if err != nil {
			return nil, err
		}
		found := bounds{}
		for _, one := range series {
			le := string(one.Metric[model.BucketLabel])
			n, err := strconv.ParseFloat(le, 64)
			if err != nil || math.IsInf(n, 0) || math.IsNaN(n) {
				continue
			}
			at := s.unit.Of(n)
			found[at] = append(found[at], le)
		}
		all = all.both(found)
	}
	return all, nil
}
