package prometheus

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"pgregory.net/rapid"
)

const second = model.Time(1000)

// served is a server that counts, as its scrapes show it. Beat is always there,
// as any server has some counter that is: by it is known when the other was not.
type served struct {
	at, last      model.Time
	beat, counter []model.SamplePair
	value, unseen float64 // since it began, since the last scrape
	exists        bool    // whether it exposes the counter
	restarted     bool    // since the last scrape
	told          float64 // what scrapes tell of
	hidden        bool    // a restart was made up for before anyone looked
}

func (s *served) scrape() {
	s.beat = append(s.beat, model.SamplePair{Timestamp: s.at, Value: 1})
	if n := len(s.counter); s.restarted && s.exists && n > 0 && s.counter[n-1].Timestamp == s.last && float64(s.counter[n-1].Value) <= s.value {
		s.hidden = true
	}
	if s.exists {
		s.counter = append(s.counter, model.SamplePair{Timestamp: s.at, Value: model.SampleValue(s.value)})
	}
	if s.last > 0 && s.at-s.last <= 37*second {
		s.told += s.unseen
	}
	s.last, s.unseen, s.restarted = s.at, 0, false
}

// TestWhatIsReadIsWhatWasDone: whatever the order of requests, restarts, scrapes
// and failed ones, each request is read that a scrape shows, but for those
// before the first scrape and those over a gap. It is never more, and less only
// where a restart cannot be told.
func TestWhatIsReadIsWhatWasDone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := served{at: 1000 * second}
		for range 60 {
			s.at += 15 * second
			switch rapid.SampledFrom([]string{"scraped", "scraped", "scraped", "missed", "restarted", "away"}).Draw(t, "then") {
			case "missed":
				continue
			case "restarted":
				s.value, s.unseen, s.exists, s.restarted = 0, 0, rapid.Bool().Draw(t, "exposes zero"), true
			case "away":
				s.at += 150 * second
			}
			if n := float64(rapid.IntRange(0, 5).Draw(t, "requests")); n > 0 {
				s.value, s.unseen, s.exists = s.value+n, s.unseen+n, true
			}
			s.scrape()
		}
		for range 100 { // so that the usual interval is known
			s.at += 15 * second
			s.scrape()
		}
		var read float64
		for _, g := range timesOf(s.beat).growths(s.counter) {
			if g.n < 0 || g.from >= g.to || g.to-g.from > 37*second {
				t.Fatalf("a growth of %v over %d ms", g.n, g.to-g.from)
			}
			read += g.n
		}
		if read > s.told || read < s.told && !s.hidden {
			t.Fatalf("told %v, read %v: %v", s.told, read, s.counter)
		}
	})
}

func series(labels string, pairs ...float64) *model.SampleStream {
	s := &model.SampleStream{Metric: model.Metric{"__name__": "m", "job": "j", "instance": "i", "series": model.LabelValue(labels)}}
	for i := 0; i < len(pairs); i += 2 {
		s.Values = append(s.Values, model.SamplePair{Timestamp: model.Time(pairs[i]) * second, Value: model.SampleValue(pairs[i+1])})
	}
	return s
}

func together(all ...*model.SampleStream) targets {
	ts := targets{}
	ts.add(all)
	ts.sort(all)
	return ts
}

func TestASeriesThatComesLaterBeginsAtZero(t *testing.T) {
	old, young := series("200", 10, 100, 20, 110, 30, 120, 40, 130), series("500", 30, 7, 40, 9)
	ts := together(old, young)
	if diff := cmp.Diff([]growth{{20 * second, 30 * second, 7}, {30 * second, 40 * second, 2}}, ts.of(young.Metric).growths(young.Values), cmp.AllowUnexported(growth{})); diff != "" {
		t.Error(diff)
	}
	if g := ts.of(old.Metric).growths(old.Values); len(g) != 3 || g[0].n != 10 {
		t.Errorf("what was counted before the first scrape is taken for new: %v", g)
	}
	// One that went and came back began anew, though its value is higher.
	again := series("200", 10, 5, 20, 6, 40, 8)
	ts = together(again, series("x", 10, 1, 20, 1, 30, 1, 40, 1))
	if g := ts.of(again.Metric).growths(again.Values); len(g) != 2 || g[1] != (growth{30 * second, 40 * second, 8}) {
		t.Errorf("read %v", g)
	}
}

// TestMergedTargetsAreTakenApart: series that were not scraped together, though
// their labels say so, are not each other's clock.
func TestMergedTargetsAreTakenApart(t *testing.T) {
	a := series("a", 10, 100, 20, 110, 30, 120, 40, 130)
	b := series("b", 13, 500, 23, 510, 33, 520, 43, 530)
	ts := together(a, b)
	for _, s := range []*model.SampleStream{a, b} {
		var sum float64
		for _, g := range ts.of(s.Metric).growths(s.Values) {
			sum += g.n
		}
		if sum != 30 {
			t.Errorf("%s counted 30, read %v", s.Metric, sum)
		}
	}
	nameless := &model.SampleStream{Metric: model.Metric{"__name__": "m"}, Values: a.Values}
	ts = together(nameless, &model.SampleStream{Metric: model.Metric{"__name__": "n"}, Values: b.Values})
	if g := ts.of(nameless.Metric).growths(nameless.Values); len(g) != 3 || g[0].n != 10 {
		t.Errorf("read %v", g)
	}
}

// all adds up what cells hold.
func all(cells []cell) (requests, errors float64) {
	for _, c := range cells {
		requests, errors = requests+c.requests, errors+c.errors
	}
	return requests, errors
}

// TestAGridKeepsEachGrowth: whatever is scraped when, each growth that is complete
// is in exactly one cell, cells do not overlap, and reading on from where the
// last reading ended adds up to the same.
func TestAGridKeepsEachGrowth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const step = int64(15 * second)
		var growths []growth
		for target := range rapid.IntRange(1, 4).Draw(t, "targets") {
			at := 1000*second + model.Time(rapid.IntRange(1, int(step)).Draw(t, fmt.Sprint("offset of ", target)))
			for range 30 {
				missed := rapid.SampledFrom([]model.Time{0, 0, 0, 0, 1}).Draw(t, "missed")
				next := at + model.Time(step)*(1+missed)
				growths = append(growths, growth{at, next, float64(rapid.IntRange(0, 9).Draw(t, "n"))})
				at = next
			}
		}
		since := 1000*second + model.Time(rapid.IntRange(0, 100_000).Draw(t, "since"))
		until := since + model.Time(rapid.IntRange(0, 400_000).Draw(t, "until"))
		read := func(since, until model.Time) ([]cell, model.Time) {
			g := newGrid(since, step, until, growths)
			end := since
			if len(g.cuts) > 0 {
				end = g.cuts[len(g.cuts)-1]
			}
			return g.cells(tally{requests: growths}, nil), end
		}
		cells, end := read(since, until)
		var want float64
		for _, g := range growths {
			if g.to > since && g.to <= end {
				want += g.n
			}
		}
		got, _ := all(cells)
		if got != want {
			t.Fatalf("gained %v, read %v", want, got)
		}
		for i, c := range cells {
			if c.from >= c.to || c.from < since || c.to > until || i > 0 && c.from < cells[i-1].to {
				t.Fatalf("cell %d from %d to %d", i, c.from, c.to)
			}
		}
		half, middle := read(since, since+(until-since)/2)
		rest, _ := read(middle, until)
		first, _ := all(half)
		second, _ := all(rest)
		if first+second != want {
			t.Fatalf("gained %v, read %v and then %v", want, first, second)
		}
	})
}

func TestWhatLiesAroundAShiftBelongsToNoWeight(t *testing.T) {
	var growths []growth
	for at := model.Time(0); at < 100*second; at += 10 * second {
		growths = append(growths, growth{at + 3*second, at + 13*second, 1})
	}
	g := newGrid(0, int64(10*second), 100*second, growths)
	// At 45 s: what was scraped at 53 s began before it, and the step from 40 to
	// 50 s has both weights in it.
	var got []string
	for _, c := range g.cells(tally{requests: growths}, []model.Time{45 * second}) {
		got = append(got, fmt.Sprintf("%d-%d", c.from/second, c.to/second))
	}
	want := []string{"10-20", "20-30", "30-40", "60-70", "70-80", "80-90", "90-100"}
	if !slices.Equal(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
}

func TestATargetThatWillBeScrapedAgainIsWaitedFor(t *testing.T) {
	p := progress{}
	p.add(targets{
		"regular": {10 * second, 20 * second, 30 * second, 40 * second},
		"late":    {8 * second, 18 * second, 28 * second},
		"gone":    {1 * second, 11 * second},
	})
	until, interval := p.complete()
	if until != 28*second || interval != int64(10*second) {
		t.Errorf("complete until %d, every %d ms", until, interval)
	}
	if until, interval := (progress{}).complete(); until != 0 || interval != 0 {
		t.Errorf("of nothing: complete until %d, every %d ms", until, interval)
	}
}

func TestSlowBeginsAtABoundThatThereIs(t *testing.T) {
	sorted := []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, 5 * time.Second}
	for over, want := range map[time.Duration]time.Duration{
		time.Millisecond: sorted[0], 300 * time.Millisecond: sorted[1], 301 * time.Millisecond: sorted[2], time.Minute: sorted[2],
	} {
		if got := choose(sorted, over); got != want {
			t.Errorf("over %s: want %s, got %s", over, want, got)
		}
	}
}
