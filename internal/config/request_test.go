package config_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

func TestExpand(t *testing.T) {
	for path, want := range map[config.Path][]string{
		"/":                   {"/"},
		"/a?q=1":              {"/a?q=1"},
		"/{1..3}":             {"/1", "/2", "/3"},
		"/{7..7}/x":           {"/7/x"},
		"/{9..11}":            {"/9", "/10", "/11"},
		"/{1..2}/b/{3..4}?c":  {"/1/b/3?c", "/1/b/4?c", "/2/b/3?c", "/2/b/4?c"},
		"/{0..1}{0..1}{0..0}": {"/000", "/010", "/100", "/110"},
	} {
		if err := new(config.Path).UnmarshalText([]byte(path)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if diff := cmp.Diff(want, path.Expand()); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

// FuzzPath: a path that is accepted stands for a bounded number of paths, each
// of which is itself a plain one.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/", "/{1..50}", "/{1..9}{1..9}{1..9}{1..9}", "/{5..1}", "/{1..", "x", "/{0..999999999}{0..999999999}", "/{000..01}", "/é#"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var p config.Path
		if err := p.UnmarshalText([]byte(text)); err != nil {
			return
		}
		paths := p.Expand()
		if len(paths) == 0 || len(paths) > 10_000 {
			t.Fatalf("%q stands for %d paths", text, len(paths))
		}
		for _, path := range paths {
			var plain config.Path
			if err := plain.UnmarshalText([]byte(path)); err != nil || !slices.Equal(plain.Expand(), []string{path}) {
				t.Fatalf("%q stands for %q: %v", text, path, err)
			}
		}
	})
}

func TestBatch(t *testing.T) {
	for _, tc := range []struct {
		text     string
		of, want int
	}{
		{"25%", 10, 2}, {"25%", 3, 1}, {"25%", 1, 1}, {"100%", 7, 7}, {"0.1%", 100, 1}, {"33.3%", 1000, 333},
		{"2", 10, 2}, {"20", 10, 10},
	} {
		var b config.Batch
		if err := b.UnmarshalText([]byte(tc.text)); err != nil {
			t.Fatal(err)
		}
		if got := b.Of(tc.of); got != tc.want || b.String() != tc.text {
			t.Errorf("%s of %d: want %d, got %d (%s)", tc.text, tc.of, tc.want, got, b)
		}
	}
	for _, text := range []string{"", "0", "-1", "0%", "101%", "a%", "1.5", "%", "25 %%"} {
		if b := new(config.Batch); b.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q was read as %s", text, b)
		}
	}
}

func TestPoints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := config.Points(float64(rapid.IntRange(1, 100_000).Draw(t, "thousandths")) / 1000)
		var got config.Points
		if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
			t.Fatalf("%s: got %s, %v", want, got, err)
		}
	})
	if share := config.Points(0.1).Share(); share != 0.001 {
		t.Errorf("0.1pp is a share of %v", share)
	}
}

func TestWeights(t *testing.T) {
	rolling := func(batch config.Batch) config.Strategy {
		return config.Strategy{Rolling: &config.Rolling{Batch: batch}}
	}
	for name, c := range map[string]struct {
		strategy  config.Strategy
		instances int
		want      []rollout.Weight
	}{
		"canary":              {config.Strategy{Canary: &config.Canary{Steps: []rollout.Weight{10, 1000}}}, 3, []rollout.Weight{10, 1000}},
		"blue-green":          {config.Strategy{BlueGreen: &config.BlueGreen{}}, 3, []rollout.Weight{1000}},
		"one by one":          {rolling(config.Batch{Count: 1}), 3, []rollout.Weight{333, 666, 1000}},
		"a quarter of ten":    {rolling(config.Batch{Share: 250}), 10, []rollout.Weight{200, 400, 600, 800, 1000}},
		"a quarter of one":    {rolling(config.Batch{Share: 250}), 1, []rollout.Weight{1000}},
		"the last is smaller": {rolling(config.Batch{Count: 2}), 3, []rollout.Weight{666, 1000}},
		"more than there are": {rolling(config.Batch{Count: 9}), 3, []rollout.Weight{1000}},
	} {
		if diff := cmp.Diff(c.want, c.strategy.Weights(c.instances)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
