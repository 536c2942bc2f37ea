package tally_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/agent/tally"
)

var (
	begin = time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)
	blue  = tally.Key{Side: api.Blue, Revision: api.Revision{ID: "v1"}}
	green = tally.Key{Side: api.Green, Revision: api.Revision{ID: "v2"}}
)

func at(seconds float64) time.Time { return begin.Add(time.Duration(seconds * float64(time.Second))) }

func used(cpu, memory float64, ready int) map[tally.Key]tally.Usage {
	return map[tally.Key]tally.Usage{blue: {CPUSeconds: cpu, MemoryBytes: memory, Instances: ready, Known: true}}
}

func TestSamplesAreMergedUntilTheSplitChanges(t *testing.T) {
	book := tally.NewBook(begin, 100)
	series := book.Series(blue, 300*time.Millisecond)
	book.Shift(at(0), nil, api.Weights{api.Blue: 1000})
	series.Observe(time.Millisecond, false)
	series.Observe(301*time.Millisecond, true)
	book.Cut(at(1), used(0.5, 100, 2))
	series.Observe(300*time.Millisecond, false)
	book.Shift(at(1.5), used(0.25, 400, 2), api.Weights{api.Blue: 990, api.Green: 10})
	series.Observe(time.Minute, false)
	book.Cut(at(2), used(0.1, 100, 1))

	merged := book.Since(time.Time{}, api.PerSplit)
	if len(merged.Samples) != 2 || !merged.CompleteUntil.Equal(at(2)) || !merged.From.Equal(begin) {
		t.Fatalf("got %+v", merged)
	}
	first, second := merged.Samples[0], merged.Samples[1]
	if first.Requests != 3 || first.Errors != 1 || first.Slow != 1 || !first.From.Equal(begin) || !first.To.Equal(at(1.5)) || first.Weights[api.Blue] != 1000 {
		t.Errorf("before the shift: %+v", first)
	}
	if first.CPUSeconds == nil || *first.CPUSeconds != 0.75 || math.Abs(*first.MemoryBytes-200) > 1e-9 || first.Instances != 2 {
		t.Errorf("before the shift: cpu %v, memory %v, instances %v, want 0.75, 200, 2", *first.CPUSeconds, *first.MemoryBytes, first.Instances)
	}
	if second.Requests != 1 || second.Slow != 1 || second.Weights[api.Green] != 10 || second.Durations[len(second.Durations)-1] != 1 {
		t.Errorf("after the shift: %+v", second)
	}
	if fine := book.Since(time.Time{}, api.PerSecond); len(fine.Samples) != 3 {
		t.Errorf("%d samples by the second, want 3", len(fine.Samples))
	}
	if late := book.Since(at(0.5), api.PerSplit); len(late.Samples) != 2 || late.Samples[0].Requests != 1 {
		t.Errorf("since the middle of a row: %+v, the row must be left out", late)
	}
}

func TestWhatWasNotMeasuredIsAbsent(t *testing.T) {
	book := tally.NewBook(begin, 100)
	book.Series(blue, 0)
	book.Series(green, 0).Observe(time.Millisecond, false)
	book.Cut(at(1), nil)
	samples := book.Since(time.Time{}, api.PerSplit).Samples
	if len(samples) != 1 || samples[0].Side != api.Green {
		t.Fatalf("got %+v, want only what was asked", samples)
	}
	if samples[0].CPUSeconds != nil || samples[0].MemoryBytes != nil {
		t.Errorf("usage that was not read is told as %v, %v", samples[0].CPUSeconds, samples[0].MemoryBytes)
	}
	book.Series(blue, 0).Observe(time.Millisecond, false)
	book.Cut(at(0.5), nil) // the clock was set back
	book.Cut(at(2), nil)
	if last := book.Since(at(1), api.PerSplit).Samples; len(last) != 1 || last[0].Requests != 1 || !last[0].To.Equal(at(2)) {
		t.Errorf("after the clock was set back: %+v", last)
	}
}

func TestAFullBookForgetsTheOldestAndSaysSo(t *testing.T) {
	book := tally.NewBook(begin, 10)
	series := book.Series(blue, 0)
	for second := 1; second <= 25; second++ {
		series.Observe(time.Millisecond, false)
		book.Cut(at(float64(second)), nil)
	}
	counts := book.Since(time.Time{}, api.PerSplit)
	if len(counts.Samples) != 1 || counts.Samples[0].Requests != 10 || !counts.From.Equal(at(15)) || !counts.Samples[0].From.Equal(at(15)) {
		t.Errorf("got %+v, want the last 10 seconds from second 15 on", counts)
	}
	if totals := book.Totals()[blue]; totals.Requests != 25 {
		t.Errorf("totals %d, want all 25", totals.Requests)
	}
}

// Whatever is observed, cut and shifted, nothing is lost and nothing counted
// twice, in either resolution.
func TestEveryRequestIsInExactlyOneSample(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		book := tally.NewBook(begin, 1000)
		var want, errors uint64
		now := 0.0
		for range rapid.IntRange(1, 60).Draw(t, "acts") {
			switch rapid.IntRange(0, 3).Draw(t, "act") {
			case 0, 1:
				failed := rapid.Bool().Draw(t, "failed")
				key := rapid.SampledFrom([]tally.Key{blue, green}).Draw(t, "key")
				took := time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "took"))
				book.Series(key, 0).Observe(took, failed)
				want++
				if failed {
					errors++
				}
			case 2:
				now += rapid.Float64Range(0.001, 3).Draw(t, "pause")
				book.Cut(at(now), nil)
			case 3:
				now += rapid.Float64Range(0, 1).Draw(t, "pause")
				share := rapid.IntRange(0, 1000).Draw(t, "green")
				book.Shift(at(now), nil, api.Weights{api.Blue: 1000 - share, api.Green: share})
			}
		}
		book.Cut(at(now+1), nil)
		for _, resolution := range []api.Resolution{api.PerSplit, api.PerSecond} {
			var got, failed, classes uint64
			for _, s := range book.Since(time.Time{}, resolution).Samples {
				got += s.Requests
				failed += s.Errors
				for _, n := range s.Durations {
					classes += n
				}
				if !s.To.After(s.From) {
					t.Fatalf("sample from %s to %s", s.From, s.To)
				}
			}
			if got != want || failed != errors || resolution == api.PerSplit && classes != want {
				t.Fatalf("%s: %d requests, %d errors, %d durations, want %d, %d, %d", resolution, got, failed, classes, want, errors, want)
			}
		}
	})
}
