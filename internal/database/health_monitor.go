package database

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// lookEvery is how often the health of the database is looked at.
	lookEvery = 500 * time.Millisecond
	// lookWithin bounds each query of a look.
	lookWithin = 2 * time.Second
	// lockWithin bounds a look's wait for a lock.
	lockWithin = 500 * time.Millisecond
	// deafAfter is how old the last look may be. Nothing is known then, and the
	// backfill waits.
	deafAfter = 10 * time.Second
)

// monitor looks, for all workers of a backfill, at what must slow it down or
// stop it: the database's health and what people asked for. It has a session of
// its own.
type monitor struct {
	db      *DB
	s       *session
	change  string
	table   table
	health  Health
	signals []signal
	brake   brake
	warn    func(string)

	storage []uint32      // the table and what it is stored in
	keys    [][]string    // rows to look up
	next    int           // of keys
	usual   time.Duration // of a lookup
	lookups []time.Duration

	mu      sync.Mutex
	now     hold
	control control
	seen    time.Time // when the last look began
}

// newMonitor looks for the first time, so that a pause is in force from the
// beginning.
func newMonitor(ctx context.Context, db *DB, s *session, change string, t table, warn func(string)) (*monitor, error) {
	m := &monitor{db: db, s: s, change: change, table: t, health: db.options.Health, warn: warn}
	m.signals = m.watched()
	var err error
	if m.storage, err = s.storage(ctx, t); err != nil {
		return nil, err
	}
	if m.keys, err = s.sampleKeys(ctx, t, probeKeys); err != nil {
		return nil, err
	}
	if _, err := s.Exec(ctx, `select set_config('statement_timeout', $1, false), set_config('lock_timeout', $2, false)`,
		milliseconds(lookWithin), milliseconds(lockWithin)); err != nil {
		return nil, fmt.Errorf("limit the looks at the database's health: %w", err)
	}
	return m, m.look(ctx)
}

// run looks until ctx ends.
func (m *monitor) run(ctx context.Context) error {
	for {
		if pause(ctx, lookEvery) != nil {
			return nil //nolint:nilerr // the workers tell why
		}
		if err := m.look(ctx); err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // as above
			}
			return err
		}
	}
}

// look reads all signals once.
func (m *monitor) look(ctx context.Context) error {
	begun := m.db.options.Now()
	ordered, err := m.s.control(ctx, m.change)
	if err != nil {
		return err
	}
	var readings []reading
	var hidden []string
	known := m.signals[:0:0]
	for _, signal := range m.signals {
		seen, err := signal.look(ctx)
		switch {
		case err == nil:
			readings = append(readings, seen...)
		case errors.Is(err, errHidden) || sqlState(err) == insufficientPrivilege:
			hidden = append(hidden, signal.name)
			continue
		case sqlState(err) == queryCanceled && ctx.Err() == nil:
			readings = append(readings, reading{signal.name, fmt.Sprintf("asking for %s took longer than %s", signal.name, lookWithin), 1, fromHalf})
		default:
			return fmt.Errorf("ask for %s: %w", signal.name, err)
		}
		known = append(known, signal)
	}
	m.signals = known // what is hidden is told once and not asked for again
	if len(hidden) > 0 {
		m.warn(fmt.Sprintf("the backfill is not held back by %s: the role may not see that; grant it pg_monitor", strings.Join(hidden, ", ")))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now, m.control, m.seen = m.brake.judge(readings), ordered, begun
	return nil
}

// holding is what holds the backfill back now, and the most rows a second that
// it may write, 0 for any.
func (m *monitor) holding() (hold, float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rate := m.db.options.MaxRate
	if m.control.maxRate > 0 {
		rate = m.control.maxRate
	}
	if m.control.paused {
		return hold{stop: true, why: m.control.String()}, rate
	}
	if age := m.db.options.Now().Sub(m.seen); age > deafAfter {
		return hold{stop: true, why: fmt.Sprintf("held back: nothing is known of the database's health for %s s", figure(age.Seconds()))}, rate
	}
	return m.now, rate
}
