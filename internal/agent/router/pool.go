package router

import (
	"slices"
	"sync/atomic"
)

// pool holds a side's instances. Its slices change only under the router's
// write lock.
type pool struct {
	ready   []*Instance
	failing []*Instance // were ready, run, do not answer their health path
	next    atomic.Uint64
}

// pick claims the instance with the fewest requests in flight, in turn among
// equals, that was not tried yet; nil when there is none. When nothing better
// is left, ready false picks among those that fail their health check: they
// may still answer, and a dependency that takes all of them down at once must
// not make the router answer in their place.
func (p *pool) pick(ready bool, tried []*Instance) *Instance {
	from := p.failing
	if ready {
		from = p.ready
	}
	var chosen *Instance
	var least int64
	start := p.next.Add(1)
	for i := range from {
		candidate := from[(start+uint64(i))%uint64(len(from))]
		if slices.Contains(tried, candidate) {
			continue
		}
		if load := candidate.inFlight.Load(); chosen == nil || load < least {
			chosen, least = candidate, load
		}
	}
	if chosen != nil {
		chosen.inFlight.Add(1)
	}
	return chosen
}

func (p *pool) remove(gone *Instance) {
	is := func(in *Instance) bool { return in == gone }
	p.ready = slices.DeleteFunc(p.ready, is)
	p.failing = slices.DeleteFunc(p.failing, is)
}
