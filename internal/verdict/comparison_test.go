package verdict

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const never = 0

// play shows one rollout to every rule, each until it rolls back, and tells
// the minutes in which they did.
func (w world) play(seed uint64, minutes int, l Limits) (noticed [4]int) {
	s := w.stream(seed)
	var past []Sample
	for at := -w.recorded; at < 0; at++ {
		of, _ := s.minute(at)
		past = append(past, of...)
	}
	rules := [...]rule{newJudge(w, l, past), &kayenta{}, &threshold{window: 5, share: 0.01}, &threshold{window: 5, multiple: 2}}
	for at := range minutes {
		of, ofCandidate := s.minute(at)
		for i, r := range rules {
			if noticed[i] == never && r.look(of, ofCandidate) {
				noticed[i] = at + 1
			}
		}
	}
	return noticed
}

// playAll plays n rollouts on all processors and sorts each rule's minutes.
func (w world) playAll(n, minutes int, l Limits) (noticed [4][]int) {
	all := make([][4]int, n)
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
		for _, one := range all {
			if one[i] != never {
				noticed[i] = append(noticed[i], one[i])
			}
		}
		slices.Sort(noticed[i])
	}
	return noticed
}

func TestScratch(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("N"))
	if n == 0 {
		t.Skip()
	}
	type row struct {
		name string
		w    world
		m    int
	}
	var rows []row
	fa := func(rate, p, spread, c float64, rec int) {
		rows = append(rows, row{fmt.Sprintf("same rate %g p %g spread %g c %g rec %d", rate, p, spread, c, rec),
			world{perMinute: 2 * rate, weights: even(500), stable: p, times: 1, spread: spread, correlation: c, recorded: rec, sample: 10}, 60})
	}
	for _, rec := range []int{60, 0} {
		fa(100, .001, .5, .8, rec)
		for _, c := range []float64{0, .5, .8} {
			fa(1000, .001, .25, c, rec)
			fa(1000, .001, .5, c, rec)
		}
		fa(1000, .01, .25, 0, rec)
		fa(1000, .01, .25, .8, rec)
		fa(1000, .01, .5, .8, rec)
		fa(1000, .001, 0, 0, rec)
	}
	for _, rec := range []int{0, 60} {
		for _, x := range []struct{ rate, p, times, spread, c float64 }{{100, .001, 10, 0, 0}, {100, .001, 10, .25, .5}, {100, .001, 10, .25, .8}, {1000, .001, 3, 0, 0}, {1000, .001, 3, .25, .8}, {1000, .01, 2, .25, .8}, {1000, .01, 2, 0, 0}} {
			rows = append(rows, row{fmt.Sprintf("worse %+v rec %d", x, rec),
				world{perMinute: 2 * x.rate, weights: even(500), stable: x.p, times: x.times, spread: x.spread, correlation: x.c, recorded: rec, sample: 10}, 30})
		}
	}
	for _, r := range rows {
		if f := os.Getenv("ROWS"); f != "" && !regexp.MustCompile(f).MatchString(r.name) {
			continue
		}
		begin := time.Now()
		lim := errorsOnly(); if os.Getenv("ALL") != "" { lim = limits() }; noticed := r.w.playAll(n, r.m, lim)
		line := fmt.Sprintf("%-50s", r.name)
		for _, x := range noticed {
			med := 0
			if len(x) > 0 {
				med = x[len(x)/2]
			}
			line += fmt.Sprintf(" %6.2f%% (%2d)", 100*float64(len(x))/float64(n), med)
		}
		fmt.Println(line, time.Since(begin).Round(time.Millisecond))
	}
}
