package lifecycletest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// What the rules of docs/design.md make of writes, written without looking at
// the trigger.

// row holds values by the columns' names; a column that is not there is NULL.
type row map[string]string

func (r row) of(columns []string) row {
	part := row{}
	for _, c := range columns {
		if v, ok := r[c]; ok {
			part[c] = v
		}
	}
	return part
}

// with gives a row like r, but with these columns as in part.
func (r row) with(columns []string, part row) row {
	next := maps.Clone(r)
	for _, c := range columns {
		delete(next, c)
		if v, ok := part[c]; ok {
			next[c] = v
		}
	}
	return next
}

func (r row) String() string {
	var parts []string
	for _, c := range slices.Sorted(maps.Keys(r)) {
		parts = append(parts, fmt.Sprintf("%s=%q", c, r[c]))
	}
	return "{" + strings.Join(parts, " ") + "}"
}

// mapping is sync as the model knows it; f and g tell whether they have an
// answer.
type mapping struct {
	old, new []string
	f, g     func(row) (row, bool)
}

// always is a mapping that never raises.
func always(f func(row) row) func(row) (row, bool) {
	return func(r row) (row, bool) { return f(r), true }
}

// same maps one column to another as it is.
func same(from, to string) func(row) (row, bool) {
	return always(func(r row) row {
		if v, ok := r[from]; ok {
			return row{to: v}
		}
		return row{}
	})
}

// kept is a value that gapless.kept must have.
type kept struct {
	n         int
	side, why string
	value     string
}

// write is what the rules make of next, where was was before; nil for an
// INSERT, which leaves out what is as in defaults. ok is false where the write
// must be rejected.
func (m *mapping) write(n int, was row, next, defaults row) (after row, aside []kept, ok bool) {
	if m == nil {
		return next, nil, true
	}
	before := was
	if was == nil {
		before = defaults
	}
	o, nn := next.of(m.old), next.of(m.new)
	oWritten, nWritten := !maps.Equal(o, before.of(m.old)), !maps.Equal(nn, before.of(m.new))
	if was != nil && !oWritten && !nWritten {
		return next, nil, true
	}
	f, fOK := m.f(o)
	if fOK && maps.Equal(nn, f) {
		return next, nil, true
	}
	g, gOK := m.g(nn)
	if !gOK && nWritten {
		return nil, nil, false
	}
	if gOK && maps.Equal(o, g) {
		return next, nil, true
	}
	keep := func(side, why string, value row) { aside = append(aside, kept{n, side, why, value.String()}) }
	if nWritten {
		if oWritten {
			keep("old", "conflict", o)
		}
		if was != nil && len(was.of(m.old)) > 0 {
			if back, ok := m.g(was.of(m.new)); !ok || !maps.Equal(was.of(m.old), back) {
				keep("old", "residue", was.of(m.old))
			}
		}
		return next.with(m.old, g), aside, true
	}
	if was != nil && len(was.of(m.new)) > 0 {
		if there, ok := m.f(was.of(m.old)); !ok || !maps.Equal(was.of(m.new), there) {
			keep("new", "residue", was.of(m.new))
		}
	}
	if fOK {
		return next.with(m.new, f), aside, true
	}
	if oWritten || was == nil {
		keep("old", "unmapped", o)
	}
	return next.with(m.new, row{}), aside, true
}

// expanded is what expand makes of a row that only old writers wrote.
func (m *mapping) expanded(r row) row {
	if m == nil {
		return r
	}
	f, _ := m.f(r.of(m.old))
	return r.with(m.new, f)
}

// world is every row that must be there. A row is written under its own lock,
// so that the model knows in which order.
type world struct {
	mapping *mapping
	rows    map[int]*entry

	mu   sync.Mutex
	kept []kept
}

type entry struct {
	sync.Mutex
	row row // nil where there is none
}

func (w *world) keep(aside []kept) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept = append(w.kept, aside...)
}

// unmapped keeps aside what the backfill finds no new form for.
func (w *world) unmapped(m *mapping) {
	for n, e := range w.rows {
		if e.row == nil {
			continue
		}
		if _, ok := m.f(e.row.of(m.old)); !ok {
			w.kept = append(w.kept, kept{n, "old", "unmapped", e.row.of(m.old).String()})
		}
	}
}

// each replaces every row that is there.
func (w *world) each(change func(row) row) {
	for _, e := range w.rows {
		if e.row != nil {
			e.row = change(e.row)
		}
	}
}
