package rollout_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

func TestParseWeight(t *testing.T) {
	for text, want := range map[string]rollout.Weight{
		"0": 0, "0.1": 1, "0.1%": 1, " 5 ": 50, "5%": 50, "5.0": 50, "33.3": 333, "99.9%": 999, "100": 1000, "100.0%": 1000, "1e1": 100,
	} {
		if got, err := rollout.ParseWeight(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d tenths", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "%", "five", "5%%", "-1", "-0.1", "100.1", "0.05", "33.33", "NaN", "Inf", "+Inf", "-Inf", "1e400", "1e-7", "5,5", "0x", "5 5",
	} {
		if got, err := rollout.ParseWeight(text); err == nil {
			t.Errorf("%q is taken for %s", text, got)
		} else if !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("%q: the error %q does not name it", text, err)
		}
	}
}

// Each of the 1,001 weights is written as it is read.
func TestWeightsGoRound(t *testing.T) {
	for w := rollout.Weight(0); w <= rollout.Full; w++ {
		if got, err := rollout.ParseWeight(w.String()); err != nil || got != w {
			t.Fatalf("%s is read as %s, %v", w, got, err)
		}
		data, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		var got rollout.Weight
		if err := json.Unmarshal(data, &got); err != nil || got != w {
			t.Fatalf("JSON %s is read as %s, %v", data, got, err)
		}
		if want := strings.TrimSuffix(w.String(), "%"); string(data) != want {
			t.Fatalf("JSON %s, want %s", data, want)
		}
	}
}

func TestWeightJSONRefuses(t *testing.T) {
	for _, data := range []string{`null`, `"much"`, `""`, `true`, `{}`, `[5]`, `100.1`, `-1`, `0.05`} {
		w := rollout.Weight(7)
		if err := json.Unmarshal([]byte(data), &w); err == nil {
			t.Errorf("%s is taken for %s", data, w)
		}
	}
}

func TestSplitsAddUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := rollout.Weight(rapid.IntRange(0, int(rollout.Full)).Draw(rt, "w"))
		for _, side := range []rollout.Side{rollout.Blue, rollout.Green} {
			s := rollout.SplitTo(side, w)
			if s.Of(side) != w || s.Of(side)+s.Of(side.Other()) != rollout.Full || s.Zero() {
				rt.Fatalf("split of %s to %s: %+v", w, side, s)
			}
		}
	})
	if rollout.Side("").Other() != rollout.Blue || (rollout.Split{Blue: 5}).Of("red") != 0 {
		t.Error("no side: the first goes to blue, and takes nothing")
	}
}

func TestServing(t *testing.T) {
	sides := map[rollout.Side]rollout.SideState{rollout.Blue: {Revision: v2}, rollout.Green: {Revision: v1}}
	for name, c := range map[string]struct {
		seen rollout.Observation
		want []rollout.Share
	}{
		"nothing":      {rollout.Observation{Sides: sides}, nil},
		"one":          {rollout.Observation{Sides: sides, Split: rollout.Split{Green: 1000}}, []rollout.Share{{Revision: v1, Weight: 1000}}},
		"stable first": {rollout.Observation{Sides: sides, Split: rollout.SplitTo(rollout.Blue, 50), Mark: &rollout.Mark{Stable: v1}}, []rollout.Share{{Revision: v1, Weight: 950}, {Revision: v2, Weight: 50}}},
		"no mark":      {rollout.Observation{Sides: sides, Split: rollout.SplitTo(rollout.Blue, 50)}, []rollout.Share{{Revision: v2, Weight: 50}, {Revision: v1, Weight: 950}}},
	} {
		if got := c.seen.Serving(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	drained := map[rollout.Side]rollout.SideState{rollout.Blue: {Revision: v1, Draining: true}, rollout.Green: {Revision: v1}}
	if side, ok := (rollout.Observation{Sides: drained}).SideOf(v1); side != rollout.Green || !ok {
		t.Errorf("side of v1 is %q, %v; a draining side holds nothing", side, ok)
	}
	if side, ok := (rollout.Observation{Sides: drained}).SideOf(v2); ok {
		t.Errorf("v2 is found on %q", side)
	}
}

func TestRevisions(t *testing.T) {
	for _, id := range []string{"v1", "1.2.3+b7", "sha256:" + strings.Repeat("a", 64), strings.Repeat("x", 128)} {
		if got, err := rollout.ParseRevisionID(id); err != nil || got != id {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"", ".", "..", "../x", "-x", "a/b", `a\b`, "a b", "a\n", "ä", "a;b", "$(x)", strings.Repeat("x", 129)} {
		if _, err := rollout.ParseRevisionID(id); err == nil {
			t.Errorf("%q is taken for a revision", id)
		}
	}
}

// The digest tells apart whatever instances are started from, and how many.
func TestSpecDigest(t *testing.T) {
	spec := func(id string, instances int, target any) rollout.Spec {
		s, err := rollout.NewSpec(id, instances, target)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	base := spec("v1", 3, map[string]string{"a": "1", "b": "2"})
	if again := spec("v1", 3, map[string]string{"b": "2", "a": "1"}); again.Revision != base.Revision {
		t.Error("the same specification has two digests")
	}
	for name, other := range map[string]rollout.Spec{
		"another ID": spec("v2", 3, map[string]string{"a": "1", "b": "2"}), "other settings": spec("v1", 3, map[string]string{"a": "1"}),
		"more instances": spec("v1", 5, map[string]string{"a": "1", "b": "2"}),
	} {
		if other.Revision == base.Revision || other.Revision.Key() == base.Revision.Key() {
			t.Errorf("%s: the revision is the same", name)
		}
	}
	if _, err := rollout.NewSpec("v1", 3, func() {}); err == nil {
		t.Error("a target that JSON has no form for is taken")
	}
	if (rollout.Revision{}).String() != "none" || !(rollout.Revision{}).Zero() || base.Revision.String() != "v1" {
		t.Error("names of revisions")
	}
}
