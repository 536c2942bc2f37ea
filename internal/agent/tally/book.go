package tally

import (
	"sync"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// Keep is how many rows of the past a book holds. With two revisions, one
// row each a second, that is eight hours in about 15 MB.
const Keep = 2 * 8 * 3600

// Usage is what a revision's instances used, read at the end of a row.
type Usage struct {
	CPUSeconds  float64 // since the row before
	MemoryBytes float64 // mean of its instances
	Instances   int     // ready ones
	Known       bool    // false: CPU and memory could not be read
}

// Book holds a series for each revision and the rows cut from them.
type Book struct {
	mu     sync.Mutex
	open   map[Key]*entry
	rows   []row // ring, oldest at next once full
	next   int
	from   time.Time // nothing is known before
	cut    time.Time // end of the last rows
	split  uint64    // counts changes of the split
	weight api.Weights
	kept   int
	bounds []time.Duration
}

// entry is a series with its totals at the last cut.
type entry struct {
	series *Series
	seen   Totals
	idle   int // cuts in a row without a request or an instance
}

// row is what a series gained between two cuts. It is carried to another
// process as it is.
type row struct {
	Key       Key
	From, To  time.Time
	Split     uint64
	Weights   api.Weights
	SlowOver  time.Duration
	Requests  uint32
	Errors    uint32
	Slow      uint32
	Durations [buckets]uint32
	Usage     Usage
}

// NewBook starts a book at now, holding at most kept rows.
func NewBook(now time.Time, kept int) *Book {
	return &Book{open: map[Key]*entry{}, from: now, cut: now, kept: kept, bounds: api.DurationBounds()}
}

// Series returns the series for key, made on first use, and sets above which
// duration it counts a request as slow (0: none).
func (b *Book) Series(key Key, slowOver time.Duration) *Series {
	b.mu.Lock()
	defer b.mu.Unlock()
	series := b.entry(key).series
	series.mu.Lock()
	series.slowOver = slowOver
	series.mu.Unlock()
	return series
}

// entry returns the one for key, made on first use. b.mu is held.
func (b *Book) entry(key Key) *entry {
	known, ok := b.open[key]
	if !ok {
		known = &entry{series: &Series{bounds: b.bounds}}
		b.open[key] = known
	}
	return known
}

// Totals returns the counts of every series since it began.
func (b *Book) Totals() map[Key]Totals {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make(map[Key]Totals, len(b.open))
	for key, known := range b.open {
		all[key] = known.series.Totals()
	}
	return all
}

// Cut ends the running rows at now; usage tells what each revision used since
// the last cut. Rows without instances and requests are left out.
func (b *Book) Cut(now time.Time, usage map[Key]Usage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.close(now, usage)
}

// Shift ends the running rows at now and opens the next under other weights.
func (b *Book) Shift(now time.Time, usage map[Key]Usage, to api.Weights) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.close(now, usage)
	b.split++
	b.weight = api.Weights{api.Blue: to[api.Blue], api.Green: to[api.Green]}
}

// forgetAfter is how many cuts a series without instances or requests is kept
// open, so that revisions long gone leave no trace.
const forgetAfter = 3600

func (b *Book) close(now time.Time, usage map[Key]Usage) {
	if !now.After(b.cut) {
		return // the clock was set back: these counts go to the next row
	}
	for key, known := range b.open {
		totals := known.series.Totals()
		gained := totals.minus(known.seen)
		used := usage[key]
		if gained.Requests == 0 && used.Instances == 0 && !used.Known {
			if known.idle++; known.idle > forgetAfter {
				delete(b.open, key)
			}
			continue
		}
		known.seen, known.idle = totals, 0
		added := row{
			Key: key, From: b.cut, To: now, Split: b.split, Weights: b.weight, SlowOver: known.series.limit(),
			Requests: uint32(gained.Requests), Errors: uint32(gained.Errors), Slow: uint32(gained.Slow), Usage: used,
		}
		for i, n := range gained.Durations {
			added.Durations[i] = uint32(n)
		}
		b.add(added)
	}
	b.cut = now
}

func (b *Book) add(added row) {
	if len(b.rows) < b.kept {
		b.rows = append(b.rows, added)
		return
	}
	b.from = later(b.from, b.rows[b.next].To)
	b.rows[b.next] = added
	b.next = (b.next + 1) % b.kept
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
