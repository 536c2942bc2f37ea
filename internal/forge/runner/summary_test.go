package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestCutKeepsWholeLinesAndClosesWhatIsOpen: a shortened text is the beginning
// of the whole one, by lines, and then only what closes it and the note.
func TestCutKeepsWholeLinesAndClosesWhatIsOpen(t *testing.T) {
	lines := []string{
		"```", "```mermaid", "````", "~~~", "~~~ x", "``` a`b", "<details>", "<details open><summary>s</summary>", "</details>",
		"text", "", "| a | b |", "   ```", "    ```", "<details><summary>x</summary></details>",
	}
	rapid.Check(t, func(rt *rapid.T) {
		whole := strings.Join(rapid.SliceOfN(rapid.SampledFrom(lines), 0, 40).Draw(rt, "lines"), "\n") + "\n"
		most := rapid.IntRange(0, 300).Draw(rt, "most")
		got, ok := cut(whole, most)
		if !ok {
			if most >= len(cutNote) {
				rt.Fatalf("nothing fits into %d bytes", most)
			}
			return
		}
		if len(got) > most {
			rt.Fatalf("%d bytes, at most %d", len(got), most)
		}
		if got == whole {
			return
		}
		body, noted := strings.CutSuffix(got, cutNote)
		kept := 0
		for kept < len(body) && kept < len(whole) && body[kept] == whole[kept] {
			kept++
		}
		if !noted || kept > 0 && !strings.Contains(whole[:kept], "\n") {
			rt.Fatalf("cut within a line: %q", got)
		}
		var n nesting
		for line := range strings.Lines(body) {
			n.line(strings.TrimSuffix(line, "\n"))
		}
		if n.fence != "" || n.folds != 0 {
			rt.Fatalf("left open: %+v in %q", n, got)
		}
	})
}

func TestSummaryOfAStep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "summary")
	e := testEnv(t, map[string]string{"GITHUB_STEP_SUMMARY": path})
	if err := e.AddSummary("### one"); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != "### one\n" {
		t.Errorf("got %q", got)
	}
	if err := e.AddSummary("```mermaid\n" + strings.Repeat("x\n", MaxSummary)); err != nil {
		t.Fatal(err)
	}
	got := content(t, path)
	if len(got) > MaxSummary || len(got) < MaxSummary-4 || !strings.HasSuffix(got, "x\n```\n"+cutNote) {
		t.Errorf("%d bytes, ends with %q", len(got), got[len(got)-100:])
	}
	if err := e.AddSummary("more"); err == nil || !strings.Contains(err.Error(), "nothing more fits") {
		t.Errorf("a full summary: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := e.AddSummary(strings.Repeat("x", MaxSummary-1)); err != nil {
		t.Fatal(err)
	}
	if len(content(t, path)) != MaxSummary {
		t.Errorf("a summary of just the greatest size has %d bytes", len(content(t, path)))
	}
}
