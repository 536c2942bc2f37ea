package load

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Model is what the table must hold: for each row the line that was last
// written and acknowledged. Each row has one writer at a time.
type Model struct {
	mu   sync.Mutex
	rows map[int64]*row
	// strays holds the lines of inserts that failed, or so their writers were
	// told.
	strays  []*string
	damaged map[int64]Damage
}

// row is what one address must say.
type row struct {
	line *string
	// perhaps holds what failed writes may have left: whether they were done,
	// their writer was not told.
	perhaps []*string
	// before is what line took the place of.
	before  *string
	written time.Time // zero: as it was seeded
	version int
	writing bool
}

// Harm is what became of a value.
type Harm string

// Lost: the value is gone; the row, or what was there before it, is left.
// Clobbered: something stands there that nobody wrote.
const (
	Lost      Harm = "lost"
	Clobbered Harm = "clobbered"
)

// Damage is a row that does not hold what it must.
type Damage struct {
	Harm  Harm
	ID    int64
	Where string // in which form, or through which revision, it was seen
	Want  *string
	Got   *string
}

// String shows the damage in one line.
func (d Damage) String() string {
	return fmt.Sprintf("address %d %s (%s): %s, must be %s", d.ID, d.Harm, d.Where, show(d.Got), show(d.Want))
}

// NewModel gives the model of a table whose rows 1 to n hold Line(id).
func NewModel(n int) *Model {
	m := &Model{rows: make(map[int64]*row, n), damaged: map[int64]Damage{}}
	for id := int64(1); id <= int64(n); id++ {
		m.rows[id] = &row{line: Line(int(id))}
	}
	return m
}

// Rows is how many rows the table must have.
func (m *Model) Rows() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.rows)
}

// Added tells of a row that was inserted.
func (m *Model) Added(id int64, line *string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows[id] = &row{line: line, written: at}
}

// PerhapsAdded tells of an insert that failed: such a row may be there.
func (m *Model) PerhapsAdded(line *string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.strays = append(m.strays, line)
}

// Write tells that a write of a row begins, and returns what to call with its
// outcome. Until then nothing is concluded from what others read there.
func (m *Model) Write(id int64, line *string) (end func(acknowledged bool, at time.Time)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows[id].writing = true
	return func(acknowledged bool, at time.Time) {
		m.mu.Lock()
		defer m.mu.Unlock()
		r := m.rows[id]
		r.writing = false
		r.version++
		r.written = at
		if acknowledged {
			r.before, r.line, r.perhaps = r.line, line, nil
		} else {
			r.perhaps = append(r.perhaps, line)
		}
	}
}

// Read tells that a read of a row begins, and returns what to call with what
// was read; found is false when the row was not there. It concludes nothing
// when the row was written meanwhile.
func (m *Model) Read(id int64) (end func(where string, got *string, found bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	version, writing := m.rows[id].version, m.rows[id].writing
	return func(where string, got *string, found bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if r := m.rows[id]; !writing && !r.writing && r.version == version {
			m.judge(where, id, got, found)
		}
	}
}

// Row is one row as it was found in a table.
type Row struct {
	ID   int64
	Line *string
}

// Compare holds a whole table against the model, row by row. Rows that were
// written after until are left out; a zero until leaves out none.
func (m *Model) Compare(where string, until time.Time, table []Row) {
	m.mu.Lock()
	defer m.mu.Unlock()
	met := make(map[int64]bool, len(table))
	for _, found := range table {
		met[found.ID] = true
		if m.counts(found.ID, until) {
			m.judge(where, found.ID, found.Line, true)
		}
	}
	for id := range m.rows {
		if !met[id] && m.counts(id, until) {
			m.judge(where, id, nil, false)
		}
	}
}

// counts reports whether a row was last written before until.
func (m *Model) counts(id int64, until time.Time) bool {
	r, known := m.rows[id]
	return until.IsZero() || known && r.written.Before(until)
}

func (m *Model) judge(where string, id int64, got *string, found bool) {
	d := Damage{Harm: Clobbered, ID: id, Where: where, Got: got}
	r, known := m.rows[id]
	if known {
		d.Want = r.line
		if found && (same(got, r.line) || contains(r.perhaps, got)) {
			return
		}
		if !found || got == nil || same(got, r.before) {
			d.Harm = Lost
		}
	} else if contains(m.strays, got) {
		return
	}
	if _, already := m.damaged[id]; !already {
		m.damaged[id] = d
	}
}

// Damaged lists the rows that were ever seen damaged, each once.
func (m *Model) Damaged() []Damage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.damaged), func(a, b Damage) int { return cmp.Compare(a.ID, b.ID) })
}

func contains(lines []*string, line *string) bool {
	return slices.ContainsFunc(lines, func(l *string) bool { return same(l, line) })
}

func same(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func show(line *string) string {
	if line == nil {
		return "nothing"
	}
	return fmt.Sprintf("%q", *line)
}
