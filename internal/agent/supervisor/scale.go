package supervisor

import (
	"context"
	"fmt"
	"slices"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// Name is what an instance is called, from its side, launch and place.
func Name(side api.Side, launch, place int) string {
	return fmt.Sprintf("%s-%d.%d", side, launch, place)
}

// Scale has exactly the places named run, and the first so many of them take
// requests once they are ready; it returns when that is in force. Instances go
// on when ctx ends. Those of other places are handed over as a fleet of their
// own, to be stopped; nil where there are none.
func (f *Fleet) Scale(ctx context.Context, places []int, serving int) (left *Fleet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var stay []*instance
	for i, place := range places {
		name := Name(f.order.Side, f.order.Launch, place)
		held := i >= serving
		if at := slices.IndexFunc(f.places, func(in *instance) bool { return in.name == name }); at >= 0 {
			f.places[at].hold(held)
			stay = append(stay, f.places[at])
			continue
		}
		stay = append(stay, f.begin(ctx, name, held))
	}
	var gone []*instance
	for _, in := range f.places {
		if !slices.Contains(stay, in) {
			gone = append(gone, in)
		}
	}
	f.places, f.serving = stay, serving
	if len(gone) == 0 {
		return nil
	}
	return &Fleet{super: f.super, order: f.order, places: gone, changed: make(chan struct{})}
}

// begin starts an instance, or takes it over where the order knows it. f.mu is
// held.
func (f *Fleet) begin(ctx context.Context, name string, held bool) *instance {
	running, halt := context.WithCancel(context.WithoutCancel(ctx))
	if f.halted {
		halt()
	}
	in := &instance{
		name: name, fleet: f, held: held, halt: halt, phase: api.Starting, done: make(chan struct{}),
	}
	var before *Process
	if i := slices.IndexFunc(f.order.Known, func(p Process) bool { return p.Name == name }); i >= 0 {
		before = &f.order.Known[i]
	}
	go in.run(running, before)
	return in
}
