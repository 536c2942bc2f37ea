package prometheus

import (
	"slices"

	"github.com/prometheus/common/model"
)

// A growth is what one counter gained between two scrapes of its target.
type growth struct {
	from, to model.Time
	n        float64
}

// longestGap is how many scrape intervals a growth may take: what was gained
// in more is not counted, since nobody knows when, nor whether the counter began
// anew meanwhile. It is also how long a target counts as one that will be
// scraped again.
const longestGap = 2.5

// scrapes are the times at which one target was scraped, in order, as all its
// series show them together.
type scrapes []model.Time

// targets are the scrapes by target.
type targets map[string]scrapes

// targetOf names what a series was scraped from. All series of a scrape carry
// the same time, so that one that is not there at such a time did not exist.
// Without an instance nobody knows what was scraped together.
func targetOf(m model.Metric) string {
	if m[model.JobLabel] == "" || m[model.InstanceLabel] == "" {
		return m.String()
	}
	return string(m[model.JobLabel]) + "\xff" + string(m[model.InstanceLabel]) + "\xff" + string(m["pod"])
}

// add takes in the times of series.
func (ts targets) add(series model.Matrix) {
	for _, s := range series {
		name := targetOf(s.Metric)
		for _, v := range s.Values {
			ts[name] = append(ts[name], v.Timestamp)
		}
	}
}

// sort puts the times in order, each once. Targets whose series do not fit
// together, as behind something that merges them, are taken apart: each series
// is then a target of its own.
func (ts targets) sort(all ...model.Matrix) {
	for name, times := range ts {
		slices.Sort(times)
		ts[name] = slices.Compact(times)
	}
	apart := map[string]bool{}
	for _, series := range all {
		for _, s := range series {
			name := targetOf(s.Metric)
			apart[name] = apart[name] || ts[name].misfit(s.Values)
		}
	}
	for _, series := range all {
		for _, s := range series {
			if name := targetOf(s.Metric); apart[name] {
				delete(ts, name)
				ts[s.Metric.String()] = timesOf(s.Values)
			}
		}
	}
}

// of gives the scrapes that a series was part of.
func (ts targets) of(m model.Metric) scrapes {
	if times, ok := ts[targetOf(m)]; ok {
		return times
	}
	return ts[m.String()]
}

func timesOf(values []model.SamplePair) scrapes {
	times := make(scrapes, len(values))
	for i, v := range values {
		times[i] = v.Timestamp
	}
	return times
}

// misfit reports whether a series is missing at so many of the scrapes between
// its first and its last that they are not its own.
func (t scrapes) misfit(values []model.SamplePair) bool {
	if len(values) < 3 {
		return false
	}
	first, _ := slices.BinarySearch(t, values[0].Timestamp)
	last, _ := slices.BinarySearch(t, values[len(values)-1].Timestamp)
	return 2*(last-first+1) > 3*len(values)
}

// interval is the usual time between two scrapes in milliseconds; 0 is unknown.
func (t scrapes) interval() int64 {
	if len(t) < 2 {
		return 0
	}
	gaps := make([]int64, len(t)-1)
	for i := range gaps {
		gaps[i] = int64(t[i+1] - t[i])
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2]
}

// before gives the last scrape before that time.
func (t scrapes) before(at model.Time) (model.Time, bool) {
	i, _ := slices.BinarySearch(t, at)
	if i == 0 {
		return 0, false
	}
	return t[i-1], true
}

// growths reads what a counter gained. It began at zero where it was not there
// at the scrape before, and where its value fell; its first value says nothing
// where there was no scrape before. A gap between scrapes gives no growth.
func (t scrapes) growths(values []model.SamplePair) []growth {
	most := model.Time(longestGap * float64(t.interval()))
	var out []growth
	for i, v := range values {
		from, known := t.before(v.Timestamp)
		if !known || v.Timestamp-from > most {
			continue
		}
		n := float64(v.Value)
		if i > 0 && values[i-1].Timestamp == from && values[i-1].Value <= v.Value {
			n -= float64(values[i-1].Value)
		}
		out = append(out, growth{from: from, to: v.Timestamp, n: n})
	}
	return out
}
