package document_test

import (
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
`)
	if err == nil {
		t.Fatal("no fault")
	}
	t.Log("\n" + err.Error())
}
