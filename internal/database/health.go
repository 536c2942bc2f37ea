package database

import (
	"cmp"
	"slices"
	"time"
)

// Health is how much of each signal a backfill bears. From half of it on it
// slows down, the more the worse; at all of it it stops, until the signal has
// been below three quarters for a while. Zero stands for the default, a
// negative value for not looking at the signal.
type Health struct {
	// MaxLag is how far a standby's replay may be behind. Default 10s.
	MaxLag time.Duration
	// MaxWAL is how many bytes of WAL may wait for a standby, for a replication
	// slot or to be archived. Default 4 GiB.
	MaxWAL int64
	// MaxLockWaiters is how many sessions, gapless's own left out, may have
	// waited for a lock for a tenth of a second or more. Default 10.
	MaxLockWaiters int
	// MaxProbe is how much longer than at the start a lookup by the table's key
	// may take. Default 50ms.
	MaxProbe time.Duration
	// MaxConnections is the share of the server's connections that may be in
	// use, above 0 and up to 1. It only stops. Default 0.9.
	MaxConnections float64
	// IgnoreVacuum goes on at full speed while the table is vacuumed. Otherwise
	// that slows the backfill down, and a vacuum against wraparound stops it.
	IgnoreVacuum bool
}

// Unwatched is a Health that holds nothing back.
func Unwatched() Health {
	return Health{MaxLag: -1, MaxWAL: -1, MaxLockWaiters: -1, MaxProbe: -1, MaxConnections: -1, IgnoreVacuum: true}
}

func (h Health) withDefaults() Health {
	standard(&h.MaxLag, 10*time.Second)
	standard(&h.MaxWAL, 4<<30)
	standard(&h.MaxLockWaiters, 10)
	standard(&h.MaxProbe, 50*time.Millisecond)
	standard(&h.MaxConnections, 0.9)
	return h
}

func standard[T comparable](value *T, otherwise T) { *value = cmp.Or(*value, otherwise) }

// reading is what one look at a signal saw.
type reading struct {
	signal string // which, and of what: the same from look to look
	text   string // for people
	load   float64
	slow   float64 // the load from which on the backfill slows down; it stops at 1
}

// Loads from which on a signal slows the backfill down.
const (
	fromHalf = 0.5
	stopOnly = 1.0
)

// hold is what a look at all signals comes to.
type hold struct {
	stop    bool
	stretch float64 // a pause after each batch, of so many times its duration
	why     string  // empty where nothing holds the backfill back
}

const (
	// mostStretch is the pause just below the stop.
	mostStretch = 8.0
	// calmLooks is how many looks in a row a signal must have been low to end a
	// stop, so that it does not flap.
	calmLooks = 3
)

// brake turns readings into holds. It keeps what stopped the backfill until
// that is over.
type brake struct {
	stopped map[string]*stopped
}

type stopped struct {
	last reading
	calm int // looks in a row at which it was low
}

// judge weighs the readings of one look.
func (b *brake) judge(readings []reading) hold {
	if b.stopped == nil {
		b.stopped = map[string]*stopped{}
	}
	seen := map[string]bool{}
	for _, r := range readings {
		seen[r.signal] = true
		switch s := b.stopped[r.signal]; {
		case r.load >= 1:
			b.stopped[r.signal] = &stopped{last: r}
		case s != nil:
			s.look(r)
		}
	}
	for signal, s := range b.stopped {
		if !seen[signal] { // there is no such standby any more, no vacuum
			s.look(reading{signal: signal, text: s.last.text})
		}
		if s.calm >= calmLooks {
			delete(b.stopped, signal)
		}
	}
	if len(b.stopped) > 0 {
		var all []reading
		for _, s := range b.stopped {
			all = append(all, s.last)
		}
		return hold{stop: true, why: "held back: " + worst(all).text}
	}
	return slowed(readings)
}

// look takes the newest reading of what stopped the backfill. The end of a stop
// lies below its beginning.
func (s *stopped) look(r reading) {
	low := (1 + r.slow) / 2
	if r.slow >= stopOnly {
		low = 0.95
	}
	if r.load < low {
		s.calm++
	} else {
		s.calm = 0
	}
	s.last = r
}

// slowed stretches the pauses in proportion to the worst reading between slow
// and stop.
func slowed(readings []reading) hold {
	var h hold
	for _, r := range readings {
		if r.load <= r.slow || r.slow >= stopOnly {
			continue
		}
		if stretch := mostStretch * (r.load - r.slow) / (1 - r.slow); stretch > h.stretch {
			h = hold{stretch: stretch, why: "slowed down: " + r.text}
		}
	}
	return h
}

func worst(readings []reading) reading {
	return slices.MaxFunc(readings, func(a, b reading) int {
		return cmp.Or(cmp.Compare(a.load, b.load), cmp.Compare(b.signal, a.signal))
	})
}
