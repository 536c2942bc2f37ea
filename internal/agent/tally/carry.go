package tally

import (
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// Carried is a book on its way to another process.
type Carried struct {
	From, Cut time.Time
	Split     uint64
	Weights   api.Weights
	Rows      []row // oldest first
}

// Gain is what a series gained.
type Gain struct {
	Key    Key
	Totals Totals
}

// Carry ends the running rows at now and returns a copy of the book. What is
// counted here from then on is told by [Book.Gained].
func (b *Book) Carry(now time.Time, usage map[Key]Usage) Carried {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.close(now, usage)
	rows := make([]row, 0, len(b.rows))
	rows = append(append(rows, b.rows[b.next:]...), b.rows[:b.next]...)
	return Carried{From: b.from, Cut: b.cut, Split: b.split, Weights: b.weight, Rows: rows}
}

// Resume goes on where the carried book was cut. Nothing may have been counted
// here before.
func (b *Book) Resume(from Carried) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.from, b.cut, b.split, b.weight = from.From, from.Cut, from.Split, from.Weights
	b.rows, b.next = nil, 0
	for _, r := range from.Rows {
		b.add(r)
	}
}

// Gained returns what each series counted since the last cut or call.
func (b *Book) Gained() []Gain {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []Gain
	for key, known := range b.open {
		totals := known.series.Totals()
		if gained := totals.minus(known.seen); gained.Requests > 0 {
			all = append(all, Gain{key, gained})
			known.seen = totals
		}
	}
	return all
}

// Add counts what another process gained, as of now.
func (b *Book) Add(gains []Gain) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, gain := range gains {
		b.entry(gain.Key).series.add(gain.Totals)
	}
}
