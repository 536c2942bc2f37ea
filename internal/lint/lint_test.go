package lint_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
