package verdict

import (
	"flag"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	rollouts = flag.Int("rollouts", 0, "play so many rollouts for each row of the judge's comparison")
	selected = flag.String("rows", "", "play the rows alone whose name this regular expression matches")
	picture  = flag.String("picture", "", "draw the comparison into this SVG file")
)

// never is the minute in which a rule did not roll back.
const never = 0

// contestants are the rules that see the same rollouts.
const contestants = 4

func names() [contestants]string {
	return [...]string{"Gapless", "Kayenta", "over 1 %", "over 2x stable"}
}

func rules(w world, l Limits, past []Sample) [contestants]rule {
	return [...]rule{newJudge(w, l, past), &kayenta{}, &threshold{window: 5, share: 0.01}, &threshold{window: 5, multiple: 2}}
}

// play shows one rollout to every rule, each until it rolls back, and tells
// the minutes in which they did.
func (w world) play(seed uint64, minutes int, l Limits) (noticed [contestants]int) {
	s := w.stream(seed)
	var past []Sample
	for at := -w.recorded; at < 0; at++ {
		of, _ := s.minute(at)
		past = append(past, of...)
	}
	all := rules(w, l, past)
	for at := range minutes {
		of, ofCandidate := s.minute(at)
		for i, r := range all {
			if noticed[i] == never && r.look(of, ofCandidate) {
				noticed[i] = at + 1
			}
		}
	}
	return noticed
}

// alarms are the minutes in which one rule rolled back, sorted, of so many
// rollouts.
type alarms struct {
	minutes []int
	of      int
}

func (a alarms) percent() float64 { return 100 * float64(len(a.minutes)) / float64(a.of) }

// by is the percentage that was rolled back by the end of a minute.
func (a alarms) by(minute int) float64 {
	n, _ := slices.BinarySearch(a.minutes, minute+1)
	return 100 * float64(n) / float64(a.of)
}

// playAll plays n rollouts, whose seeds are 0 to n-1, on all processors.
func (w world) playAll(n, minutes int, l Limits) (noticed [contestants]alarms) {
	all := make([][contestants]int, n)
	var next atomic.Int64
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				all[i] = w.play(uint64(i), minutes, l)
			}
		})
	}
	group.Wait()
	for i := range noticed {
		noticed[i].of = n
		for _, one := range all {
			if one[i] != never {
				noticed[i].minutes = append(noticed[i].minutes, one[i])
			}
		}
		slices.Sort(noticed[i].minutes)
	}
	return noticed
}

// row is one line of the comparison.
type row struct {
	name    string
	world   world
	minutes int
	limits  Limits
	drawn   bool
}

// service is one of even traffic, an hour of whose past is known.
func service(perSide, errors float64) world {
	return world{perMinute: 2 * perSide, weights: even(500), stable: errors, times: 1, recorded: 60, sample: 10}
}

func (w world) wandering(spread, correlation float64, shared bool) world {
	w.spread, w.correlation, w.shared = spread, correlation, shared
	return w
}

func (w world) worse(times float64) world { w.times = times; return w }

func (w world) unknown() world { w.recorded = 0; return w }

func (w world) bursting(b burstiness) world {
	w.bursts = b
	if b.length < w.sample {
		w.sample = 1
	}
	return w
}

func (w world) at(perMinute float64, weights ...step) world {
	w.perMinute, w.weights = perMinute, weights
	return w
}

// canary is the usual one, a quarter of an hour at each weight.
func canary() []step { return []step{{10, 15}, {50, 15}, {250, 15}, {500, 15}} }

func identical() []row {
	var rows []row
	add := func(name string, w world) {
		rows = append(rows, row{name: name, world: w, minutes: 60, limits: errorsOnly()})
	}
	small, big := service(100, 0.001), service(1000, 0.001)
	add("100/min, steady", small)
	for _, c := range []float64{0, 0.5, 0.8} {
		add(fmt.Sprintf("100/min, own wander 50 %%, autocorrelation %v", c), small.wandering(0.5, c, false))
	}
	for _, spread := range []float64{0.25, 0.5} {
		for _, c := range []float64{0, 0.5, 0.8} {
			add(fmt.Sprintf("1,000/min, own wander %g %%, autocorrelation %v", 100*spread, c), big.wandering(spread, c, false))
			rows[len(rows)-1].drawn = spread == 0.25
		}
	}
	add("1,000/min, shared wander 50 %, autocorrelation 0.8", big.wandering(0.5, 0.8, true))
	add("1,000/min of which 1 % fail, own wander 25 %, autocorrelation 0.8", service(1000, 0.01).wandering(0.25, 0.8, false))
	add("1,000/min, own wander 25 %, autocorrelation 0.8, no past known", big.wandering(0.25, 0.8, false).unknown())
	add("1,000/min, own wander 50 %, autocorrelation 0.8, no past known", big.wandering(0.5, 0.8, false).unknown())
	add("100/min, a second in which all fails, 3 an hour, both sides", small.bursting(burstiness{1, 3, 1, true}))
	add("100/min, a second in which all fails, 3 an hour, one side", small.bursting(burstiness{1, 3, 1, false}))
	add("100/min, a minute in which 20 % fail, 1 an hour, both sides", small.bursting(burstiness{60, 1, 0.2, true}))
	add("100/min, a minute in which 20 % fail, 1 an hour, one side", small.bursting(burstiness{60, 1, 0.2, false}))
	add("1 % of 10,000/min, own wander 25 %, autocorrelation 0.8", big.at(10000, even(10)...).wandering(0.25, 0.8, false))
	add("canary 1, 5, 25, 50 % of 2,000/min, own wander 25 %, autocorrelation 0.8", big.at(2000, canary()...).wandering(0.25, 0.8, false))
	return rows
}

func regressions() []row {
	var rows []row
	add := func(name string, minutes int, w world) {
		rows = append(rows, row{name: name, world: w, minutes: minutes, limits: errorsOnly()})
	}
	worse := service(100, 0.001).worse(10)
	add("0.1 % -> 1 %, 100/min, steady", 30, worse)
	rows[0].drawn = true
	add("the same, four metrics judged", 30, worse)
	rows[1].limits = limits()
	for _, c := range []float64{0.5, 0.8} {
		add(fmt.Sprintf("0.1 %% -> 1 %%, 100/min, own wander 25 %%, autocorrelation %v", c), 30, worse.wandering(0.25, c, false))
	}
	add("0.1 % -> 1 %, 100/min, shared wander 25 %, autocorrelation 0.8", 30, worse.wandering(0.25, 0.8, true))
	add("0.1 % -> 1 %, 1,000/min, steady", 30, service(1000, 0.001).worse(10))
	add("0.1 % -> 0.3 %, 1,000/min, steady", 30, service(1000, 0.001).worse(3))
	add("0.1 % -> 0.3 %, 1,000/min, own wander 25 %, autocorrelation 0.8", 30, service(1000, 0.001).worse(3).wandering(0.25, 0.8, false))
	add("0.1 % -> 1 %, 1 % of 10,000/min, steady", 30, worse.at(10000, even(10)...))
	add("0.1 % -> 1 %, canary 1, 5, 25, 50 % of 2,000/min, steady", 60, worse.at(2000, canary()...))
	return rows
}

// TestComparison prints docs/benchmarks.md's tables; see "make bench-judge".
func TestComparison(t *testing.T) {
	if *rollouts == 0 {
		t.Skip("takes minutes; make bench-judge plays it")
	}
	wanted, err := regexp.Compile(*selected)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	var drawn []drawnRow
	fmt.Printf("%d rollouts a row, looked at every minute.\n", *rollouts)
	for _, table := range []struct {
		title string
		rows  []row
		bad   func(percent float64) bool
	}{
		{"identical: failed within an hour", identical(), func(p float64) bool { return p > 1 }},
		{"regression: found within 30 minutes (canary: an hour), median minute", regressions(), func(p float64) bool { return p < 98 }},
	} {
		fmt.Printf("\n| %s | %s |\n|%s\n", table.title, strings.Join(array(names()), " | "), strings.Repeat(" --- |", contestants+1))
		for _, r := range table.rows {
			if !wanted.MatchString(r.name) {
				continue
			}
			noticed := r.world.playAll(*rollouts, r.minutes, r.limits)
			line := "| " + r.name
			for _, a := range noticed {
				line += " | " + told(a, r.world.times > 1, table.bad(a.percent()))
			}
			fmt.Println(line + " |")
			if r.drawn {
				drawn = append(drawn, drawnRow{r, noticed})
			}
		}
	}
	fmt.Printf("\nTook %s.\n", time.Since(begin).Round(time.Second))
	if *picture != "" {
		if err := illustrate(*picture, drawn); err != nil {
			t.Fatal(err)
		}
	}
}

func array(of [contestants]string) []string { return of[:] }

func told(a alarms, median, bad bool) string {
	text := fmt.Sprintf("%.2f %%", a.percent())
	if bad {
		text = "**" + text + "**"
	}
	if median && 2*len(a.minutes) > a.of {
		text += fmt.Sprintf(", %d", a.minutes[a.of/2])
	}
	return text
}
