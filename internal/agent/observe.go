package agent

import (
	"context"
	"strconv"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/agent/supervisor"
	"github.com/gapless-deploy/gapless/internal/agent/tally"
)

const (
	second    = time.Second
	trimEvery = 10 // seconds
)

// state tells the whole platform as it is now.
func (a *agent) state() api.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := api.State{
		At: a.opts.Now(), Service: a.saved.Service, Token: a.saved.token(), Public: a.opts.Public,
		Mark:  a.saved.Mark,
		Split: api.Split{Weights: a.saved.clone().Weights, InForceAt: a.saved.InForceAt},
		Sides: map[api.Side]api.SideState{},
	}
	for name, side := range a.saved.Sides {
		shown := api.SideState{
			Revision: side.Revision, Spec: side.Spec, EnvNames: envNames(side.Spec),
			Desired: side.Desired, Serving: side.serving(), Instances: []api.Instance{},
		}
		shown.Spec.Env = nil
		if fleet := a.fleets[name]; fleet != nil {
			shown.Instances = fleet.Status()
		}
		for _, in := range shown.Instances {
			if in.Phase == api.Ready {
				shown.Ready++
			}
		}
		out.Sides[name] = shown
	}
	for _, l := range a.leaving {
		out.Draining = append(out.Draining, l.fleet.Status()...)
	}
	return out
}

// shiftRouter puts weights in force at the router and cuts the counts there,
// so that none spans two splits.
func (a *agent) shiftRouter(weights api.Weights) time.Time {
	a.reading.Lock()
	defer a.reading.Unlock()
	usage := a.read(a.running())
	return a.router.Shift(weights, func(at time.Time) { a.book.Shift(at, usage, weights) })
}

// running lists all fleets. a.mu is held.
func (a *agent) running() []*supervisor.Fleet {
	var all []*supervisor.Fleet
	for _, fleet := range a.fleets {
		all = append(all, fleet)
	}
	for _, l := range a.leaving {
		all = append(all, l.fleet)
	}
	return all
}

// read asks what instances used since the last reading and adds it up. a.reading is held.
func (a *agent) read(fleets []*supervisor.Fleet) map[tally.Key]tally.Usage {
	usage := a.super.Usage(fleets)
	for key, used := range usage {
		used.CPUSeconds += a.spent[key].CPUSeconds
		a.spent[key] = used
	}
	for key := range a.spent {
		if _, present := usage[key]; !present {
			delete(a.spent, key)
		}
	}
	return usage
}

// tick does what has to be done again and again until ctx ends: cut the
// counts each second, write down processes that came or went, bound the logs.
func (a *agent) tick(ctx context.Context) {
	ticker := time.NewTicker(second)
	defer ticker.Stop()
	unsaved := false
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-a.moved:
			unsaved = !a.saves()
			n--
			continue
		case <-ticker.C:
		}
		if unsaved {
			unsaved = !a.saves()
		}
		a.mu.Lock()
		fleets := a.running()
		a.mu.Unlock()
		a.cut(fleets)
		if n%trimEvery == 0 {
			a.trim(fleets)
		}
	}
}

// saves tells whether the state is on disk now; if not it is tried again.
func (a *agent) saves() bool {
	if err := a.save(); err != nil {
		a.opts.Log.Error("state is not saved", "error", err)
		return false
	}
	return true
}

func (a *agent) cut(fleets []*supervisor.Fleet) {
	a.reading.Lock()
	defer a.reading.Unlock()
	a.book.Cut(a.opts.Now(), a.read(fleets))
}

func (a *agent) trim(fleets []*supervisor.Fleet) {
	for _, fleet := range fleets {
		if err := fleet.TrimLogs(); err != nil {
			a.opts.Log.Error("log grows without bound", "error", err)
		}
	}
}

// percent shows tenths of a percent.
func percent(weight int) string {
	return strconv.FormatFloat(float64(weight)/10, 'f', -1, 64) + " %"
}
