package document_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/document"
)

type colour string

func (colour) Values() []string { return []string{"red", "green"} }

type shout string

func (s *shout) UnmarshalText(text []byte) error {
	if string(text) != strings.ToUpper(string(text)) {
		return document.Fault{Message: "expected capitals", Suggestion: "write it in capitals"}
	}
	*s = shout(text)
	return nil
}

type step struct {
	Bake  time.Duration `yaml:"bake"`
	Limit time.Duration `yaml:"limit"`
	Steps []float64     `yaml:"steps"`
}

func (s *step) Default() { s.Limit = time.Hour }

type file struct {
	Name   string            `yaml:"name,required"`
	Count  int               `yaml:"count"`
	On     bool              `yaml:"on"`
	Colour colour            `yaml:"colour"`
	Shout  shout             `yaml:"shout"`
	Step   *step             `yaml:"step"`
	Env    map[string]string `yaml:"env"`
	Any    any               `yaml:"any"`
	List   []step            `yaml:"list"`
	Hidden string            `yaml:"-"`
}

func decode(t *testing.T, text string) (file, error) {
	t.Helper()
	doc, err := document.Parse("f.yaml", []byte(text))
	if err != nil {
		return file{}, err
	}
	var f file
	err = doc.Decode(&f)
	return f, err
}

func TestDecodeFillsEveryKind(t *testing.T) {
	got, err := decode(t, `
name: "a"
count: 3
on: true
colour: green
shout: LOUD
step: {bake: 1d12h, steps: [0.5, 1, 100]}
env:
  A.B: "1"
  C: |
    two
    lines
any: [1, 2.5, x, {y: null}]
list:
  - bake: 0
  - limit: 5m
    bake: 30s
`)
	if err != nil {
		t.Fatal(err)
	}
	want := file{
		Name: "a", Count: 3, On: true, Colour: "green", Shout: "LOUD",
		Step: &step{Bake: 36 * time.Hour, Limit: time.Hour, Steps: []float64{0.5, 1, 100}},
		Env:  map[string]string{"A.B": "1", "C": "two\nlines\n"},
		Any:  []any{int64(1), 2.5, "x", map[string]any{"y": nil}},
		List: []step{{Limit: time.Hour}, {Bake: 30 * time.Second, Limit: 5 * time.Minute}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeReportsEveryFaultInOrder(t *testing.T) {
	_, err := decode(t, `count: many
on: yes
colour: gren
shout: Loud
step:
  bakee: 5m
  bake: 5 minutes
  steps: 3
env: {A: 1, A: "2"}
lsit: []
list:
  - bake: -3s
    limit:
  - *other
any: !!str 3
`)
	want := strings.TrimPrefix(`
f.yaml:1:1: missing key "name"
f.yaml:1:8: count: expected a whole number, observed the text "many"
f.yaml:2:5: on: expected true or false, observed the text "yes"; write true
f.yaml:3:9: colour: expected one of red, green, observed the text "gren"; did you mean "green"?
f.yaml:4:8: shout: expected capitals; write it in capitals
f.yaml:6:3: unknown key "bakee" in step; did you mean "bake"?
f.yaml:7:9: step.bake: expected a duration, observed "5 minutes"; write it like 30s, 5m, 24h or 7d
f.yaml:8:10: step.steps: expected a list, observed the number 3; write it as [...]
f.yaml:9:10: env.A: expected text, observed the number 1; write "1"
f.yaml:9:13: key "A" is given twice in env, first on line 9; delete one of them
f.yaml:10:1: unknown key "lsit"; did you mean "list"?
f.yaml:12:11: list[0].bake: expected a duration, observed "-3s"; write it like 30s, 5m, 24h or 7d
f.yaml:13:5: list[0].limit: expected a duration, observed nothing; give a value or delete the key
f.yaml:14:5: anchors and aliases are not supported; write the value out
f.yaml:15:6: tags are not supported; delete "!!str"`, "\n")
	if err == nil {
		t.Fatal("no fault was found")
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(err.Error(), "\n")); diff != "" {
		t.Error(diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"nothing":           {"", "f.yaml:1:1: file is empty, expected a mapping"},
		"only a comment":    {"# hello\n", "f.yaml:1:1: file is empty, expected a mapping"},
		"a list":            {"- a\n", "f.yaml:1:1: expected a mapping, observed a list"},
		"a text":            {"hello", `f.yaml:1:1: expected a mapping, observed the text "hello"`},
		"two documents":     {"name: a\n---\nname: b\n", "f.yaml:2:1: file has 2 documents, expected one"},
		"an anchor":         {"name: &a x\n", "f.yaml:1:7: anchors and aliases are not supported; write the value out"},
		"a merge key":       {"name: a\n<<: {count: 1}\n", "f.yaml:2:1: a key must be plain text"},
		"a complex key":     {"name: a\n? b\n: 1\n", "f.yaml:2:1: a key must be plain text"},
		"a directive":       {"%YAML 1.2\n---\nname: a\n", "f.yaml:1:1: YAML directives are not supported; delete the line"},
		"not YAML":          {"name: a\n  count: [1\n", "f.yaml:1:7: not YAML: mapping value is not allowed in this context"},
		"Latin 1":           {"count: 1\nname: caf\xe9\n", "f.yaml:2:10: file is not UTF-8 text; save it as UTF-8"},
		"a NUL":             {"name: a\x00", "f.yaml:1:8: file has a NUL byte; save it as plain text"},
		"octal":             {"name: a\ncount: 010\n", "f.yaml:2:8: count: expected a whole number, observed the number 010"},
		"hexadecimal":       {"name: a\ncount: 0x10\n", "f.yaml:2:8: count: expected a whole number, observed the number 0x10"},
		"a fraction":        {"name: a\ncount: 1.5\n", "f.yaml:2:8: count: expected a whole number, observed the number 1.5"},
		"beyond 64 bits":    {"name: a\ncount: 99999999999999999999\n", "f.yaml:2:8: count: expected a whole number, observed the text \"99999999999999999999\""},
		"a quoted number":   {"name: a\ncount: \"3\"\n", `f.yaml:2:8: count: expected a whole number, observed the text "3"; write it without quotes`},
		"infinity":          {"name: a\nstep: {steps: [.inf]}\n", "f.yaml:2:16: step.steps[0]: expected a number, observed the number .inf"},
		"a number as text":  {"name: 1.10\n", `f.yaml:1:7: name: expected text, observed the number 1.10; write "1.10"`},
		"no value":          {"name:\n", "f.yaml:1:1: name: expected text, observed nothing; give a value or delete the key"},
		"a null section":    {"name: a\nstep: null\n", "f.yaml:2:1: step: expected a mapping, observed nothing; give a value or delete the key"},
		"a list as mapping": {"name: a\nenv: [a]\n", "f.yaml:2:6: env: expected a mapping, observed a list"},
		"after wide text":   {"any: {é漢🙂: 1, x: &a 2}\nname: a\n", "f.yaml:1:18: anchors and aliases are not supported; write the value out"},
		"CRLF":              {"name: a\r\ncount: x\r\n", `f.yaml:2:8: count: expected a whole number, observed the text "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decode(t, tc.text)
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Fatalf("want %s\n got %v", tc.want, err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("want one fault, got\n%v", err)
			}
		})
	}
}

func TestFaultFallsBackToTheNearestParent(t *testing.T) {
	doc, err := document.Parse("f.yaml", []byte("a:\n  b: {c: [1, 22]}\n  \"x.y\": 3\n"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":               "f.yaml:1:1: m",
		"a":              "f.yaml:1:1: m",
		"a.b":            "f.yaml:2:6: m",
		"a.b.c":          "f.yaml:2:10: m",
		"a.b.c[1]":       "f.yaml:2:14: m",
		"a.b.c[7]":       "f.yaml:2:10: m",
		"a.b.c[1].d[2]":  "f.yaml:2:14: m",
		"a.nothing.here": "f.yaml:1:1: m",
		`a["x.y"]`:       "f.yaml:3:10: m",
		`a["x.z"]`:       "f.yaml:1:1: m",
		"elsewhere":      "f.yaml:1:1: m",
	} {
		if got := doc.Fault(path, "m", "").Error(); got != want {
			t.Errorf("%s: want %s, got %s", path, want, got)
		}
	}
	if !doc.Has("a.b.c[1]") || doc.Has("a.b.c[2]") {
		t.Error("Has does not tell what the file gives")
	}
}

func TestDecodeRefusesWhatItCannotFill(t *testing.T) {
	doc, err := document.Parse("f.yaml", []byte("a: 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, into := range []any{nil, file{}, new(int), (*file)(nil)} {
		if err := doc.Decode(into); err == nil || document.FaultsOf(err) != nil {
			t.Errorf("%T: want an error that blames no one's file, got %v", into, err)
		}
	}
}

func TestFaultsOf(t *testing.T) {
	one := document.Fault{File: "f", Line: 1, Column: 2, Message: "m"}
	for name, err := range map[string]error{
		"one":     one,
		"several": document.Faults{one},
		"wrapped": fmt.Errorf("validate: %w", document.Faults{one}),
	} {
		if diff := cmp.Diff(document.Faults{one}, document.FaultsOf(err)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	other := document.Fault{File: "g", Line: 3, Column: 4, Message: "n"}
	joined := fmt.Errorf("validate: %w", errors.Join(one, errors.New("unrelated"), document.Faults{other}))
	if diff := cmp.Diff(document.Faults{one, other}, document.FaultsOf(joined)); diff != "" {
		t.Errorf("joined: %s", diff)
	}
	if got := document.FaultsOf(errors.New("other")); got != nil {
		t.Errorf("another error has faults: %v", got)
	}
	if err := (document.Faults{}).Err(); err != nil {
		t.Errorf("no fault is an error: %v", err)
	}
}
