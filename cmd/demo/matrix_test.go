package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A program stands in for the demo: it answers for what it was asked, and
// fails where it is to crash.
func TestMatrixRunsEachCombinationAndTellsWhichFailed(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	fake := filepath.Join(dir, "demo")
	script := `#!/bin/sh
echo "asked for $*" >&2
case "$*" in *"--fault drift"*) exit 1 ;; esac
echo '{"outcome": "released", "requests": 1234, "candidate_bad": 3, "candidate_bad_bound": 9, "seconds": 51.4}'
case "$*" in *"--fault crash"*) exit 1 ;; esac
`
	if err := os.WriteFile(fake, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	err := matrix(t.Context(), fake, &output{w: &shown}, options{Rows: 5000, Rate: 20})
	if failed := 2 * len(strategies()); err == nil || err.Error() != fmt.Sprintf("%d of %d runs failed", failed, len(combinations())) {
		t.Errorf("ended by %v, want %d failed", err, failed)
	}
	lines := strings.Split(strings.TrimSpace(shown.String()), "\n")
	if len(lines) != len(combinations())+2 {
		t.Fatalf("%d lines:\n%s", len(lines), shown.String())
	}
	for i, o := range combinations() {
		fields := strings.Fields(lines[i+1])
		end, judged := "released 1,234 0 3, 9 0 51", "ok"
		if o.Fault == crash || o.Fault == drift {
			judged = "FAILED, see " + filepath.Join(dir, fmt.Sprintf("gapless-demo-%s-%s.log", o.Strategy, o.Fault))
		}
		if o.Fault == drift {
			end = "failed 0 0 0, 0 0 0"
		}
		if got, want := strings.Join(fields, " "), fmt.Sprintf("%s %s %s %s", o.Strategy, o.Fault, end, judged); got != want {
			t.Errorf("line %q, want %q", got, want)
		}
	}
	told, err := os.ReadFile(filepath.Join(dir, "gapless-demo-rolling-crash.log"))
	if want := "asked for --json --strategy rolling --fault crash --rows 5000 --rate 20\n"; err != nil || string(told) != want {
		t.Errorf("kept %q, %v; want %q", told, err, want)
	}
}
