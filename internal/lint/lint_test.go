package lint_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/grammar"
	"github.com/gapless-deploy/gapless/internal/lint"
)

var update = flag.Bool("update", false, "write the golden files anew")

// told shows findings as the golden files have them.
func told(findings []lint.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "  %d:%d %s %s: %s", f.Line, f.Column, f.Level, f.Rule, f.Message)
		if f.Suggestion != "" {
			fmt.Fprintf(&b, "; %s", f.Suggestion)
		}
		if f.Reason != "" {
			fmt.Fprintf(&b, " (%s)", f.Reason)
		}
		b.WriteByte('\n')
	}
	if len(findings) == 0 {
		b.WriteString("  clean\n")
	}
	return b.String()
}

// cases are the paragraphs of testdata/statements.sql.
func cases(t testing.TB) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "statements.sql"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n\n")[1:]
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestStatements(t *testing.T) {
	var b strings.Builder
	for _, sql := range cases(t) {
		fmt.Fprintf(&b, "%s\nexpand\n%scontract\n%s\n", sql, told(lint.Review(sql, lint.Expand)), told(lint.Review(sql, lint.Contract)))
	}
	golden(t, "statements.golden", b.String())
}

func TestOperations(t *testing.T) {
	var b strings.Builder
	for _, sql := range []string{
		"create index i on t (a);",
		"create index concurrently i on t (a);",
		"create table n (a int); create index on n (a);",
		"drop index i;",
		"begin; create table n (a int); commit;",
		"set lock_timeout = 0;",
		"vacuum t;",
		"reindex index concurrently i;",
		"alter table a add x int; alter table b add x int;", // each in its own transaction
		"drop view v; create view v as select 1;",
		"do $$ begin drop index i; set role app; end $$;",
	} {
		fmt.Fprintf(&b, "%s\nexpand\n%scontract\n%s\n", sql, told(lint.ReviewOperation(sql, lint.Expand)), told(lint.ReviewOperation(sql, lint.Contract)))
	}
	golden(t, "operations.golden", b.String())
}

// Contract only lets more pass than expand, never less; and what it lets pass is
// what breaks the running revision.
func TestContractFindsNoMoreThanExpand(t *testing.T) {
	contract := map[string]bool{"rewrite-table": true} // in expand it is change-type
	for _, r := range lint.Rules() {
		contract[r.Name] = contract[r.Name] || r.Contract
	}
	for _, sql := range cases(t) {
		found := map[string]int{}
		for _, f := range lint.Review(sql, lint.Expand) {
			found[f.Rule]++
		}
		found["rewrite-table"] += found["change-type"]
		found["unused-allow"]++ // what it allows is not found in contract
		for _, f := range lint.Review(sql, lint.Contract) {
			if found[f.Rule]--; found[f.Rule] < 0 || !contract[f.Rule] {
				t.Errorf("%s: found in contract alone: %s", sql, f.Rule)
			}
		}
	}
}

// Each rule is shown by a case, so that none is there in name only.
func TestEveryRuleHasACase(t *testing.T) {
	missing := map[string]bool{}
	for _, r := range lint.Rules() {
		missing[r.Name] = true
	}
	for _, name := range []string{"statements.golden", "operations.golden"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		for rule := range missing {
			if strings.Contains(string(data), " "+rule+": ") {
				delete(missing, rule)
			}
		}
	}
	if len(missing) > 0 {
		t.Errorf("rules without a case: %v", missing)
	}
}

// The guide's table is the rules'.
func TestGuideHasTheRules(t *testing.T) {
	var table strings.Builder
	table.WriteString("| rule | level | in contract | can be allowed | why |\n| --- | --- | --- | --- | --- |\n")
	yes := map[bool]string{true: "yes", false: "no"}
	for _, r := range lint.Rules() {
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s | %s |\n", r.Name, strings.ReplaceAll(string(r.Level), "_", " "), yes[r.Contract], yes[r.Allowable], r.Summary)
	}
	file := filepath.Join("..", "..", "docs", "guides", "lint.md")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	start := strings.Index(string(data), "| rule |")
	end := strings.LastIndex(string(data), "|\n") + 2
	if start < 0 {
		t.Fatalf("%s has no table of rules", file)
	}
	if *update {
		data = []byte(string(data[:start]) + table.String() + string(data[end:]))
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		end = strings.LastIndex(string(data), "|\n") + 2
	}
	if diff := cmp.Diff(table.String(), string(data[start:end])); diff != "" {
		t.Errorf("%s (-rules +guide; go test ./internal/lint -update writes it):\n%s", file, diff)
	}
}

// Statements put together in one text, with other text around, are found as they
// are alone, each at its place.
func TestPlacesAreInTheText(t *testing.T) {
	all := cases(t)
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		for range rapid.IntRange(1, 5).Draw(t, "cases") {
			b.WriteString(rapid.SampledFrom([]string{"", " ", "\n\n", "-- é\n", "/* x\n é */", "select 'ü';\n"}).Draw(t, "between"))
			b.WriteString(rapid.SampledFrom(all).Draw(t, "case"))
			b.WriteString("\n")
		}
		check(t, b.String())
	})
}

// check is what holds for any text.
func check(t interface {
	Helper()
	Fatalf(string, ...any)
}, sql string,
) {
	t.Helper()
	lines := strings.Split(sql, "\n")
	for _, stage := range []lint.Stage{lint.Expand, lint.Contract} {
		findings := lint.Review(sql, stage)
		stands := slices.ContainsFunc(findings, lint.Finding.Stands)
		for _, f := range findings {
			if f.Offset < 0 || f.Offset > len(sql) || f.Line < 1 || f.Line > len(lines) || f.Column < 1 || f.Column > len([]rune(lines[f.Line-1]))+1 {
				t.Fatalf("%q: %+v is not in the text", sql, f)
			}
			if before := sql[:f.Offset]; strings.Count(before, "\n")+1 != f.Line {
				t.Fatalf("%q: %+v: the offset is on another line", sql, f)
			}
			if f.Message == "" || f.Rule == "" {
				t.Fatalf("%q: %+v says nothing", sql, f)
			}
		}
		allowed := strings.Contains(sql, "gapless:allow unparsed")
		if _, err := grammar.Parse(sql); err != nil && !stands && !allowed {
			t.Fatalf("%q is not SQL (%v) and called clean", sql, err)
		}
	}
}

func FuzzReview(f *testing.F) {
	for _, sql := range cases(f) {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) { check(t, sql) })
}
