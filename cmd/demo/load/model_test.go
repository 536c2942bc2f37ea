package load

import (
	"regexp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func text(s string) *string { return &s }

func TestLineHasEveryShape(t *testing.T) {
	for _, shape := range []string{`^nothing$`, `^""$`, `^"\d+"$`, `^" \d+"$`, `^"Route\d+"$`, `[a-z] \d+"$`, `[a-z]"$`,
		`[a-z] A\d+"$`, `[a-z] \d+-\d+"$`, `[a-z]  \d+"$`, `[a-z] \d+  "$`, `[a-z]\\t\d+"$`, `[a-z] \d+b"$`,
		`神保町 \d+ é"$`, `[a-z] \d+ \d+"$`} {
		wanted := regexp.MustCompile(shape)
		n := 1
		for n < 1000 && !wanted.MatchString(show(Line(n))) {
			n++
		}
		if n == 1000 {
			t.Errorf("no line looks like %s", shape)
		}
	}
}

func TestModelFindsHarm(t *testing.T) {
	at := time.Unix(1000, 0)
	for _, tc := range []struct {
		name  string
		write func(m *Model)
		id    int64
		got   *string
		found bool
		want  Harm // empty: no harm
	}{
		{name: "as seeded", id: 3, got: Line(3), found: true},
		{name: "an empty line is not no line", id: 1, got: nil, found: true, want: Lost},
		{name: "no line is not an empty one", id: 16, got: text(""), found: true, want: Clobbered},
		{name: "row gone", id: 3, want: Lost},
		{name: "row of nobody", id: 99, got: text("x"), found: true, want: Clobbered},
		{name: "a stray that an insert may have left", id: 99, got: text("x"), found: true,
			write: func(m *Model) { m.PerhapsAdded(text("x")) }},
		{name: "another stray", id: 99, got: text("y"), found: true, want: Clobbered,
			write: func(m *Model) { m.PerhapsAdded(text("x")) }},
		{name: "written", id: 3, got: text("x"), found: true,
			write: func(m *Model) { m.Write(3, text("x"))(true, at) }},
		{name: "write undone", id: 3, got: Line(3), found: true, want: Lost,
			write: func(m *Model) { m.Write(3, text("x"))(true, at) }},
		{name: "something else", id: 3, got: text("y"), found: true, want: Clobbered,
			write: func(m *Model) { m.Write(3, text("x"))(true, at) }},
		{name: "a failed write was done", id: 3, got: text("x"), found: true,
			write: func(m *Model) { m.Write(3, text("x"))(false, at) }},
		{name: "a failed write was not done", id: 3, got: Line(3), found: true,
			write: func(m *Model) { m.Write(3, text("x"))(false, at) }},
		{name: "a good write ends all doubt", id: 3, got: text("x"), found: true, want: Clobbered,
			write: func(m *Model) { m.Write(3, text("x"))(false, at); m.Write(3, text("z"))(true, at) }},
		{name: "being written", id: 3, got: text("x"), found: true,
			write: func(m *Model) { m.Write(3, text("x")) }},
		{name: "added", id: 50, got: text("x"), found: true,
			write: func(m *Model) { m.Added(50, text("x"), at) }},
		{name: "added and gone", id: 50, want: Lost,
			write: func(m *Model) { m.Added(50, text("x"), at) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := NewModel(16)
			if tc.write != nil {
				tc.write(m)
			}
			table := []Row{}
			for id, r := range m.rows {
				if id != tc.id {
					table = append(table, Row{id, r.line})
				}
			}
			if tc.found {
				table = append(table, Row{tc.id, tc.got})
			}
			if tc.name == "being written" {
				m.Read(tc.id)("there", tc.got, tc.found)
			} else {
				m.Compare("there", time.Time{}, table)
			}
			var got Harm
			if found := m.Damaged(); len(found) == 1 && found[0].ID == tc.id {
				got = found[0].Harm
			} else if len(found) != 0 {
				t.Fatalf("damaged are %v", found)
			}
			if got != tc.want {
				t.Errorf("harm %q, want %q", got, tc.want)
			}
		})
	}
}

// Whatever reads and writes overlap: a reader of a table that never fails
// concludes nothing, and one of a table that forgets is told.
func TestReadsConcludeOnlyWhatHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := NewModel(1)
		stored := Line(1)
		type reading struct {
			end func(string, *string, bool)
			got *string
		}
		var writing func(bool, time.Time)
		var wanted *string
		var open []reading
		t.Repeat(map[string]func(*rapid.T){
			"begin to write": func(t *rapid.T) {
				if writing == nil {
					wanted = Line(rapid.IntRange(0, 200).Draw(t, "line"))
					writing = m.Write(1, wanted)
				}
			},
			"end to write": func(t *rapid.T) {
				if writing != nil {
					ok := rapid.Bool().Draw(t, "acknowledged")
					if ok || rapid.Bool().Draw(t, "done all the same") {
						stored = wanted
					}
					writing(ok, time.Unix(1, 0))
					writing = nil
				}
			},
			"begin to read": func(*rapid.T) { open = append(open, reading{m.Read(1), stored}) },
			"end to read": func(t *rapid.T) {
				if len(open) > 0 {
					at := rapid.IntRange(0, len(open)-1).Draw(t, "which")
					open[at].end("there", open[at].got, true)
					open = slices.Delete(open, at, at+1)
				}
			},
			"": func(t *rapid.T) {
				if found := m.Damaged(); len(found) != 0 {
					t.Fatalf("a good table is said to be damaged: %v", found)
				}
			},
		})
	})
}

func TestCompareUntil(t *testing.T) {
	early, contract, late := time.Unix(1, 0), time.Unix(2, 0), time.Unix(3, 0)
	m := NewModel(3)
	m.Write(1, text("early"))(true, early)
	m.Write(2, text("late"))(true, late)
	m.Added(4, text("later still"), late)
	// An archive, taken at the contract.
	m.Compare("archive", contract, []Row{{1, text("early")}, {2, Line(2)}, {3, Line(3)}})
	if found := m.Damaged(); len(found) != 0 {
		t.Errorf("an archive is held to what was written after it: %v", found)
	}
	m.Compare("archive", contract, []Row{{1, text("wrong")}, {2, Line(2)}})
	if found := m.Damaged(); len(found) != 2 || found[0].Harm != Clobbered || found[1].Harm != Lost {
		t.Errorf("damaged are %v, want address 1 clobbered and 3 lost", found)
	}
}
