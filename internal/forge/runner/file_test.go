package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// parseFile reads a file of values by the runner's own rules, see
// FileCommandManager.cs of actions/runner: lines end with LF alone; an empty
// line is nothing; "=" before "<<" is NAME=VALUE; else NAME<<DELIMITER, and the
// value goes up to a line that is the delimiter.
func parseFile(t failer, text string) []Value {
	var values []Value
	next := func() (string, bool) {
		if text == "" {
			return "", false
		}
		line, rest, _ := strings.Cut(text, "\n")
		text = rest
		return line, true
	}
	for line, more := next(); more; line, more = next() {
		equals, heredoc := strings.Index(line, "="), strings.Index(line, "<<")
		switch {
		case line == "":
		case equals >= 0 && (heredoc < 0 || equals < heredoc):
			values = append(values, Value{line[:equals], line[equals+1:]})
		case heredoc >= 0:
			name, delimiter := line[:heredoc], line[heredoc+2:]
			if name == "" || delimiter == "" {
				t.Fatalf("neither name nor delimiter may be empty: %q", line)
			}
			var lines []string
			for {
				inner, more := next()
				if !more {
					t.Fatalf("no line %q ends the value of %s", delimiter, name)
				}
				if inner == delimiter {
					break
				}
				lines = append(lines, inner)
			}
			values = append(values, Value{name, strings.Join(lines, "\n")})
		default:
			t.Fatalf("neither NAME=VALUE nor NAME<<DELIMITER: %q", line)
		}
	}
	return values
}

type failer interface {
	Fatalf(format string, args ...any)
}

func testEnv(t testing.TB, variables map[string]string) Env {
	t.Helper()
	e, err := Read(func(name string) string { return variables[name] })
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func content(t failer, path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return string(data)
}

// hostile are pieces that a file of values or its reader acts on.
var hostile = []string{
	"\n", "\r\n", "\r", "\n\n", "=", "<<", "<<EOF", "EOF", "weight=100", "\nweight<<EOF\n100\nEOF\n", "_GitHubActionsFileCommandDelimeter_",
	"\n_GitHubActionsFileCommandDelimeter_\nweight=100\n", "ghadelimiter_", "\x00", "\xff", "\ufeff", "\u2028", "\u0085", "ä", " ", "", "a",
}

func hostileText() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		piece := rapid.OneOf(rapid.SampledFrom(hostile), rapid.String())
		return strings.Join(rapid.SliceOfN(piece, 0, 10).Draw(t, "pieces"), "")
	})
}

// TestFilesGiveBackWhatWasWritten: any text comes back whole, and nothing else
// with it, whether it was there before or is written after.
func TestFilesGiveBackWhatWasWritten(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(dir, rapid.StringMatching(`[a-z]{12}`).Draw(rt, "file"))
		defer os.Remove(path) //nolint:errcheck // the directory goes away with the test
		e := testEnv(t, map[string]string{"GITHUB_OUTPUT": path, "GITHUB_STATE": path, "GITHUB_ENV": path})
		var want []Value
		for range rapid.IntRange(1, 3).Draw(rt, "writes") {
			var values []Value
			for range rapid.IntRange(0, 3).Draw(rt, "values") {
				name := Outputs()[rapid.IntRange(0, len(Outputs())-1).Draw(rt, "name")].Name
				values = append(values, Value{name, hostileText().Draw(rt, "text")})
			}
			write := []func(...Value) error{e.SetOutputs, e.SaveState, e.SetVariables}[rapid.IntRange(0, 2).Draw(rt, "kind")]
			if err := write(values...); err != nil {
				rt.Fatalf("%v", err)
			}
			for _, v := range values {
				want = append(want, Value{v.Name, strings.ToValidUTF8(v.Text, "\uFFFD")})
			}
		}
		if diff := cmp.Diff(want, parseFile(rt, content(rt, path))); diff != "" {
			rt.Fatalf("not what was written (-want +got):\n%s", diff)
		}
	})
}

func FuzzSetOutputs(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "output")
		e := testEnv(t, map[string]string{"GITHUB_OUTPUT": path})
		if err := e.SetOutputs(Value{OutputResult, text}, Value{OutputWeight, "5"}); err != nil {
			t.Fatal(err)
		}
		want := []Value{{OutputResult, strings.ToValidUTF8(text, "\uFFFD")}, {OutputWeight, "5"}}
		if diff := cmp.Diff(want, parseFile(t, content(t, path))); diff != "" {
			t.Fatalf("not what was written (-want +got):\n%s", diff)
		}
	})
}

// TestDelimitersAreNew: no two values share one, and one that occurs in the
// value is not used.
func TestDelimitersAreNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "output")
	e := testEnv(t, map[string]string{"GITHUB_OUTPUT": path})
	if err := e.SetOutputs(Value{OutputState, "a"}, Value{OutputState, "a"}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(content(t, path), "\n")
	if first, second := lines[0], lines[3]; first == second || len(first) < len("state<<")+26 {
		t.Errorf("delimiters %q and %q", first, second)
	}
	next := []string{"taken", "free"}
	e.delimiter = func() string { d := next[0]; next = next[1:]; return d }
	if err := e.SetOutputs(Value{OutputState, "a\ntaken\nweight=100"}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(content(t, path), "state<<free\na\ntaken\nweight=100\nfree\n") {
		t.Errorf("the delimiter occurs in the value:\n%s", content(t, path))
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	e := testEnv(t, map[string]string{"GITHUB_OUTPUT": path, "GITHUB_STATE": path})
	for _, name := range []string{"", "a\nb", "a=b", "a<<b", "a b", "ä", "1a", "\ufeffa"} {
		if err := e.SaveState(Value{"fine", "x"}, Value{name, "x"}); err == nil {
			t.Errorf("%q was taken as a name", name)
		}
	}
	if err := e.SetOutputs(Value{"wieght", "5"}); err == nil || !strings.Contains(err.Error(), `"wieght"`) {
		t.Errorf("an output that is not in the list: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Errorf("something was written:\n%s", content(t, path))
	}
	if err := (Env{}).SetOutputs(); err == nil || !strings.Contains(err.Error(), "GITHUB_OUTPUT is not set") {
		t.Errorf("without a file: %v", err)
	}
}
