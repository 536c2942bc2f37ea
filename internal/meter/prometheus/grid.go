package prometheus

import (
	"slices"

	"github.com/prometheus/common/model"
)

// A tally is what one revision counted, scrape by scrape. Timed are requests
// whose duration is known, fast those of them that were not slow.
type tally struct {
	requests, errors, timed, fast []growth
}

// A cell is what one revision did in one stretch of the grid.
type cell struct {
	from, to           model.Time
	requests, errors   float64
	timed, fast        float64
	isCounted, isTimed bool // whether there was a scrape of these
}

// A grid cuts the time since a moment into steps that all revisions share.
// Targets are scraped at different times: what a target gained is put into the
// step in which it was scraped. Steps in which one was not scraped, though it
// gained something over them, are joined.
type grid struct {
	since model.Time
	step  int64 // milliseconds
	cuts  []model.Time
}

// newGrid cuts the time up to the moment until which all is known.
func newGrid(since model.Time, step int64, until model.Time, growths ...[]growth) grid {
	g := grid{since: since, step: step}
	if step <= 0 || until < since {
		return g
	}
	joined := map[int64]bool{}
	for _, of := range growths {
		for _, one := range of {
			for i := max(0, g.index(one.from)) + 1; i < g.index(one.to); i++ {
				joined[i] = true
			}
		}
	}
	for i := int64(0); i <= (int64(until)-int64(since))/step; i++ {
		if !joined[i] {
			g.cuts = append(g.cuts, since+model.Time(i*step))
		}
	}
	return g
}

// index numbers the step that a scrape belongs to: the first one, which ends
// step after since, is 1.
func (g grid) index(at model.Time) int64 {
	d := int64(at - g.since)
	if d <= 0 {
		return d / g.step
	}
	return (d + g.step - 1) / g.step
}

// cells puts what a revision counted into the grid. Steps around a shift, in
// which something was gained partly before it, are left out, and so are those
// without a scrape.
func (g grid) cells(t tally, shifts []model.Time) []cell {
	if len(g.cuts) < 2 {
		return nil
	}
	cells := make([]cell, len(g.cuts)-1)
	for i := range cells {
		cells[i] = cell{from: g.cuts[i], to: g.cuts[i+1]}
	}
	mixed := make([]bool, len(cells))
	for i, c := range cells {
		mixed[i] = slices.ContainsFunc(shifts, func(s model.Time) bool { return c.from < s && s < c.to })
	}
	each := func(growths []growth, add func(*cell, float64)) {
		for _, one := range growths {
			i, _ := slices.BinarySearch(g.cuts, one.to)
			if i == 0 || i == len(g.cuts) {
				continue // before the grid, or not complete
			}
			add(&cells[i-1], one.n)
			if slices.ContainsFunc(shifts, func(s model.Time) bool { return one.from < s && s < one.to }) {
				mixed[i-1] = true
			}
		}
	}
	each(t.requests, func(c *cell, n float64) { c.requests, c.isCounted = c.requests+n, true })
	each(t.errors, func(c *cell, n float64) { c.errors += n })
	each(t.timed, func(c *cell, n float64) { c.timed, c.isTimed = c.timed+n, true })
	each(t.fast, func(c *cell, n float64) { c.fast += n })
	var out []cell
	for i, c := range cells {
		if c.isCounted && !mixed[i] {
			out = append(out, c)
		}
	}
	return out
}

// progress is how far each target has been scraped, and how often it is.
type progress map[string]struct {
	last     model.Time
	interval int64 // milliseconds; 0 is unknown
}

func (p progress) add(ts targets) {
	for name, times := range ts {
		if len(times) == 0 {
			continue
		}
		one := p[name]
		one.last = max(one.last, times[len(times)-1])
		if interval := times.interval(); interval > 0 {
			one.interval = interval
		}
		p[name] = one
	}
}

// complete is the time until which every target was scraped that will be
// scraped again; one that was not for longest is taken to be gone. The interval
// is the usual one of those targets.
func (p progress) complete() (until model.Time, interval int64) {
	var newest model.Time
	for _, one := range p {
		newest = max(newest, one.last)
	}
	until = newest
	var intervals []int64
	for _, one := range p {
		if one.last+model.Time(longestGap*float64(one.interval)) < newest {
			continue
		}
		until = min(until, one.last)
		if one.interval > 0 {
			intervals = append(intervals, one.interval)
		}
	}
	if len(intervals) == 0 {
		return until, 0
	}
	slices.Sort(intervals)
	return until, intervals[len(intervals)/2]
}
