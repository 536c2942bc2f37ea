package lifecycletest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/database"
)

var update = flag.Bool("update", false, "write the table of what is supported")

const (
	matrixFile  = "../../docs/reference/operations.md"
	matrixBegin = "<!-- begin: what is supported; written by a test, see internal/lifecycletest -->\n"
	matrixEnd   = "<!-- end: what is supported -->\n"
)

// matrix is the table of what is supported: for each operation and kind of
// table, whether a plan takes it, and why not.
type matrix struct {
	lines   []string
	reasons []string
}

func (m *matrix) add(o operation, cells [][]string) {
	line := "| " + o.title()
	for _, reasons := range cells {
		line += " | "
		var notes []string
		for _, reason := range reasons {
			i := slices.Index(m.reasons, reason)
			if i < 0 {
				i = len(m.reasons)
				m.reasons = append(m.reasons, reason)
			}
			notes = append(notes, strconv.Itoa(i+1))
		}
		if notes == nil {
			line += "yes"
		} else {
			line += "refused " + strings.Join(notes, ", ")
		}
	}
	m.lines = append(m.lines, line+" |")
}

func (m *matrix) String() string {
	var b strings.Builder
	head, rule := "| operation", "| ---"
	for _, k := range kinds() {
		head, rule = head+" | "+k.name, rule+" | ---"
	}
	fmt.Fprintf(&b, "\n%s |\n%s |\n%s\n\n", head, rule, strings.Join(m.lines, "\n"))
	for i, reason := range m.reasons {
		fmt.Fprintf(&b, "%d. %s\n", i+1, reason)
	}
	return b.String() + "\n"
}

// refusals are why a plan refuses the cell, with the table's names left out.
func (c *cell) refusals(t *testing.T) []string {
	t.Helper()
	facts, err := c.db.Inspect(t.Context(), c.c)
	if err != nil {
		t.Fatalf("%s, %s: %v", c.o.name, c.k.name, err)
	}
	names := []string{c.k.ident(), "the table", `"` + c.k.table + `"`, "the table"}
	for _, name := range []string{"extra", "qty", "street", "road", "amount", "feeling", "name", "number", "few", "only", "placed", "full", "first", "last", "mood"} {
		names = append(names, strconv.Quote(c.k.raw(name)), strconv.Quote(name), c.k.beside(name), strconv.Quote(name))
	}
	reasons := slices.Clone(facts.Refusals)
	for i, reason := range reasons {
		reasons[i] = strings.ReplaceAll(strings.NewReplacer(names...).Replace(reason), "table the table", "the table")
	}
	return reasons
}

// What the documentation says is supported is: where it says yes, TestLifecycle
// goes through it all, and elsewhere a plan refuses.
func TestMatrix(t *testing.T) {
	var m matrix
	major, g := serverMajor(t), newGround(t, database.Options{})
	for _, o := range operations() {
		cells := make([][]string, len(kinds()))
		for i, k := range kinds() {
			t.Run(o.name+"/"+k.name, func(t *testing.T) {
				g.reset(t)
				cells[i] = g.cell(t, o, k, 10).refusals(t)
				if o.since > major && len(cells[i]) == 0 {
					t.Errorf("PostgreSQL %d has none of it, and the plan does not refuse", major)
				}
			})
		}
		if o.since <= major {
			m.add(o, cells)
		}
	}
	if t.Failed() {
		return
	}
	page, err := os.ReadFile(matrixFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(page, []byte(matrixBegin))
	old, after, ended := bytes.Cut(rest, []byte(matrixEnd))
	if !ok || !ended {
		t.Fatalf("%s has lost the lines %q and %q", matrixFile, matrixBegin, matrixEnd)
	}
	if *update {
		page = slices.Concat(before, []byte(matrixBegin+m.String()+matrixEnd), after)
		if err := os.WriteFile(matrixFile, page, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(known(string(old), major), m.String()); diff != "" {
		t.Errorf("%s is not true any more; where this is meant, -update writes it anew:\n%s", matrixFile, diff)
	}
}

// known is the table without what this PostgreSQL does not have.
func known(table string, major int) string {
	for _, o := range operations() {
		if o.since <= major {
			continue
		}
		before, rest, _ := strings.Cut(table, "| "+o.title()+" |")
		_, after, _ := strings.Cut(rest, "\n")
		table = before + after
	}
	return table
}

// title is the operation as the table has it.
func (o operation) title() string {
	if o.since == 0 {
		return o.name
	}
	return fmt.Sprintf("%s (PostgreSQL %d)", o.name, o.since)
}
