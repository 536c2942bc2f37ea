package lifecycletest

import (
	"flag"
	"fmt"
	"os"
	"regexp"
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

// entry is what a cell of the table says, with its reasons by their numbers.
func (m *matrix) entry(since, major int, reasons []string) string {
	var notes []string
	for _, reason := range reasons {
		i := slices.Index(m.reasons, reason)
		if i < 0 {
			i = len(m.reasons)
			m.reasons = append(m.reasons, reason)
		}
		notes = append(notes, strconv.Itoa(i+1))
	}
	switch {
	case since > major || since > 0 && notes == nil:
		return fmt.Sprintf("from %d", since)
	case notes == nil:
		return "yes"
	}
	return "refused " + strings.Join(notes, ", ")
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

var aColumn = regexp.MustCompile(`column "[a-z]+"`)

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
		reason = strings.ReplaceAll(strings.NewReplacer(names...).Replace(reason), "table the table", "the table")
		reasons[i] = aColumn.ReplaceAllString(reason, "the column")
	}
	return reasons
}

// What the documentation says is supported is: where it says yes, TestLifecycle
// goes through it all, and elsewhere a plan refuses. When there is little time,
// only some cells are looked at.
func TestMatrix(t *testing.T) {
	page, err := os.ReadFile(matrixFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), matrixBegin)
	old, after, ended := strings.Cut(rest, matrixEnd)
	if !ok || !ended {
		t.Fatalf("%s has lost the lines %q and %q", matrixFile, matrixBegin, matrixEnd)
	}
	m := &matrix{}
	if testing.Short() { // numbers as they are
		for _, note := range regexp.MustCompile(`(?m)^\d+\. (.*)$`).FindAllStringSubmatch(old, -1) {
			m.reasons = append(m.reasons, note[1])
		}
	}
	major, g := serverMajor(t), newGround(t, database.Options{})
	for i, o := range operations() {
		line := "| " + o.name
		for j, k := range kinds() {
			if testing.Short() && !inShort(i, j) {
				line += " | " + told(old, o.name, j)
				continue
			}
			g.reset(t)
			reasons, since := g.cell(t, o, k, 10).refusals(t), o.from(k)
			if since > major && len(reasons) == 0 {
				t.Errorf("%s, %s: it is from PostgreSQL %d, this is %d, and the plan does not refuse", o.name, k.name, since, major)
			}
			if since > major {
				reasons = nil
			}
			line += " | " + m.entry(since, major, reasons)
		}
		m.lines = append(m.lines, line+" |")
	}
	if *update && !testing.Short() {
		if err := os.WriteFile(matrixFile, []byte(before+matrixBegin+m.String()+matrixEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(old, m.String()); diff != "" {
		t.Errorf("%s is not true any more; where this is meant, -update writes it anew:\n%s", matrixFile, diff)
	}
}

// told is what the page says of a cell.
func told(page, name string, kind int) string {
	_, rest, _ := strings.Cut(page, "\n| "+name+" | ")
	line, _, _ := strings.Cut(rest, " |\n")
	if cells := strings.Split(line, " | "); kind < len(cells) {
		return cells[kind]
	}
	return "untold"
}
