package runner

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// command is one that the runner has read.
type command struct {
	name, text string
	properties map[string]string
}

var registered = []string{
	"add-mask", "group", "endgroup", "error", "warning", "notice", "debug", "stop-commands", "set-output", "save-state",
	"set-env", "add-path", "add-matcher", "remove-matcher", "echo",
}

// readCommands reads a stream as the runner does, see ActionCommand.cs of
// actions/runner: lines end with CR, LF or both; after white space "::", or
// "##[" wherever it stands.
func readCommands(stream string) []command {
	var all []command
	for _, line := range regexp.MustCompile("\r\n|\r|\n").Split(stream, -1) {
		if c, ok := second(line); ok {
			all = append(all, c)
		} else if c, ok := first(line); ok {
			all = append(all, c)
		}
	}
	return all
}

func second(line string) (command, bool) {
	// Wider than the runner's: signs that are not seen might be passed over.
	line = strings.TrimLeftFunc(line, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.In(r, unicode.Cf)
	})
	rest, ok := strings.CutPrefix(line, "::")
	if !ok {
		return command{}, false
	}
	info, text, ok := strings.Cut(rest, "::")
	name, properties, _ := strings.Cut(info, " ")
	if !ok || !slices.Contains(registered, strings.ToLower(name)) {
		return command{}, false
	}
	c := command{name: name, text: strings.NewReplacer("%0D", "\r", "%0A", "\n", "%25", "%").Replace(text), properties: map[string]string{}}
	for pair := range strings.SplitSeq(strings.TrimSpace(properties), ",") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			c.properties[key] = strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%").Replace(value)
		}
	}
	return c, true
}

func first(line string) (command, bool) {
	_, rest, ok := strings.Cut(line, "##[")
	if !ok {
		return command{}, false
	}
	info, text, ok := strings.Cut(rest, "]")
	name, _, _ := strings.Cut(info, " ")
	return command{name: name, text: text}, ok && slices.Contains(registered, strings.ToLower(name))
}

// orders are pieces that make commands.
var orders = []string{
	"::", ":", "##[", "#", "##", "[", "]", "error", "add-mask", "::error::x", "::stop-commands::x", "##[error]x", "::x::", "\n", "\r", "\r\n",
	" ", "\t", "\u00a0", "\u0085", "\u200b", "\ufeff", "\x00", "\x7f", "\x1b[0m", "%0A", "%", ",", "=", "file=a", "text", "ä",
}

func orderText() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		piece := rapid.OneOf(rapid.SampledFrom(orders), rapid.String())
		return strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "pieces"), "")
	})
}

// TestTextGivesNoOrders: whatever is written, in pieces cut anywhere and
// between commands, the runner reads the commands only, each as it was meant.
func TestTextGivesNoOrders(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var out bytes.Buffer
		l := NewLog(&out)
		var want []command
		for range rapid.IntRange(1, 6).Draw(rt, "parts") {
			text := orderText().Draw(rt, "text")
			if rapid.Bool().Draw(rt, "order") {
				// The runner trims the last property, hence the full stop.
				if err := l.Annotate(Annotation{Level: Warning, File: text, Title: text + ".", Line: 3, Message: text}); err != nil {
					rt.Fatalf("%v", err)
				}
				c := command{"warning", text, map[string]string{"line": "3", "title": text + "."}}
				if text != "" {
					c.properties["file"] = text
				}
				want = append(want, c)
				continue
			}
			for rest := []byte(text); len(rest) > 0; {
				n := rapid.IntRange(1, len(rest)).Draw(rt, "piece")
				if wrote, err := l.Write(rest[:n]); err != nil || wrote != n {
					rt.Fatalf("wrote %d of %d: %v", wrote, n, err)
				}
				rest = rest[n:]
			}
		}
		if diff := cmp.Diff(want, readCommands(out.String()), cmp.AllowUnexported(command{})); diff != "" {
			rt.Fatalf("the runner reads other commands (-want +got):\n%s\nof %q", diff, out.String())
		}
	})
}

// TestTheReaderOfThisTestReadsCommands: else the property could not fail.
func TestTheReaderOfThisTestReadsCommands(t *testing.T) {
	for _, line := range []string{"::error::x", " \t::error file=a::x", "text ##[error]x", "text\r::error::x", "\u00a0::error::x"} {
		if len(readCommands(line)) != 1 {
			t.Errorf("%q is read as no command", line)
		}
	}
}

func TestOrdersInText(t *testing.T) {
	for text, want := range map[string]string{
		"::error::x\n":            ": :error::x\n",
		" \t::error::x":           " \t: :error::x",
		"50%\r::error::x":         "50%\r: :error::x",
		"a\r\n::error::x":         "a\r\n: :error::x",
		"\u00a0::error::x":        "\u00a0: :error::x",
		"\u200b::add-mask::x":     "\u200b: :add-mask::x",
		"done ##[error]x":         "done ## [error]x",
		"###[group]x":             "### [group]x",
		"::stop-commands::x\n::x": ": :stop-commands::x\n: :x",
	} {
		for cut := range len(text) {
			var out bytes.Buffer
			l := NewLog(&out)
			for _, piece := range []string{text[:cut], text[cut:]} {
				if _, err := l.Write([]byte(piece)); err != nil {
					t.Fatal(err)
				}
			}
			if out.String() != want {
				t.Errorf("%q, written in two at %d: want %q, got %q", text, cut, want, out.String())
			}
		}
	}
}

func TestOrdinaryTextIsLeftAlone(t *testing.T) {
	var out bytes.Buffer
	l := NewLog(&out)
	text := "std::vector a::b\n- step: 1\n# heading\n#[derive]\n  10:15:00 up\n"
	if _, err := l.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if out.String() != text {
		t.Errorf("became %q", out.String())
	}
}

func TestOrders(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(*Log) error
		want string
	}{
		"group": {func(l *Log) error { return l.Group("expand 100%") }, "::group::expand 100%25\n"},
		"end":   {(*Log).EndGroup, "::endgroup::\n"},
		"mask":  {func(l *Log) error { return l.Mask("p:a,ss%word") }, "::add-mask::p:a,ss%25word\n"},
		"short": {func(l *Log) error { return l.Mask("1234567") }, ""},
		"blank": {func(l *Log) error { return l.Mask("          ") }, ""},
		"lines": {
			func(l *Log) error { return l.Mask("first-line\r\nx\nlast-line") },
			"::add-mask::first-line%0D%0Ax%0Alast-line\n::add-mask::first-line\n::add-mask::last-line\n",
		},
		"with file": {func(l *Log) error {
			return l.Annotate(Annotation{Level: Error, File: "db/a,b.yaml", Line: 3, EndLine: 4, Column: 7, Title: "t: u", Message: "one\ntwo"})
		}, "::error col=7,endLine=4,file=db/a%2Cb.yaml,line=3,title=t%3A u::one%0Atwo\n"},
		"bare": {func(l *Log) error { return l.Annotate(Annotation{Level: Notice, Message: "m"}) }, "::notice::m\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := tc.do(NewLog(&out)); err != nil {
				t.Fatal(err)
			}
			if out.String() != tc.want {
				t.Errorf("want %q, got %q", tc.want, out.String())
			}
		})
	}
}
