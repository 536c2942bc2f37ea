package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// Fleet is the instances of one revision on one side.
type Fleet struct {
	super *Supervisor
	order Order

	mu      sync.Mutex
	places  []*instance   // never changed in place
	serving int           // the first so many are not held
	halted  bool          // no instance is tended any more
	changed chan struct{} // closed and replaced when readiness changes

	stopping sync.Mutex
	stopped  bool
	cut      int
}

// Launch starts the instances that the order names and returns at once. They
// go on when ctx ends.
func (s *Supervisor) Launch(ctx context.Context, order Order) *Fleet {
	f := &Fleet{super: s, order: order, changed: make(chan struct{})}
	if err := s.forgetLogs(order.Launch); err != nil {
		s.opts.Log.Warn("old logs stay", "error", err)
	}
	f.Scale(ctx, order.Places, order.Serving)
	return f
}

// Status tells about every instance.
func (f *Fleet) Status() []api.Instance {
	places := f.all()
	out := make([]api.Instance, 0, len(places))
	for _, in := range places {
		out = append(out, in.status())
	}
	return out
}

// Ready is how many instances are ready, held ones included.
func (f *Fleet) Ready() int { return ready(f.all()) }

// ReadyOf is how many of the first so many instances are ready.
func (f *Fleet) ReadyOf(first int) int {
	places := f.all()
	return ready(places[:min(first, len(places))])
}

func ready(places []*instance) int {
	n := 0
	for _, in := range places {
		in.mu.Lock()
		if in.phase == api.Ready {
			n++
		}
		in.mu.Unlock()
	}
	return n
}

// all gives the instances as they are now.
func (f *Fleet) all() []*instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.places
}

// Processes tells what runs, to be kept on disk.
func (f *Fleet) Processes() []Process {
	var all []Process
	for _, in := range f.all() {
		in.mu.Lock()
		if in.process != nil {
			known := in.process.Process
			known.Restarts = in.restarts
			all = append(all, known)
		}
		in.mu.Unlock()
	}
	return all
}

// AwaitReady returns once at least n instances are ready that are not held, or
// with ctx's error.
func (f *Fleet) AwaitReady(ctx context.Context, n int) error {
	for {
		f.mu.Lock()
		changed, serving := f.changed, f.serving
		f.mu.Unlock()
		if f.ReadyOf(serving) >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// Stop takes every instance out of the router, lets requests in flight go on
// until drain ends, and ends the processes. Called again, it waits for the same
// end. It returns how many requests were cut.
func (f *Fleet) Stop(drain context.Context) (cut int, err error) {
	f.halt()
	f.stopping.Lock()
	defer f.stopping.Unlock()
	if f.stopped {
		return f.cut, nil
	}
	var sum sync.Mutex
	var all errgroup.Group
	for _, in := range f.all() {
		all.Go(func() error {
			<-in.done
			lost, err := in.stop(drain)
			sum.Lock()
			defer sum.Unlock()
			f.cut += lost
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return f.cut, fmt.Errorf("stop side %s: %w", f.order.Side, err)
	}
	f.stopped = true
	return f.cut, nil
}

// halt lets go of every instance, those yet to come included.
func (f *Fleet) halt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.halted = true
	for _, in := range f.places {
		in.halt()
	}
}

// Leave stops tending the instances and leaves them running for the next agent.
func (f *Fleet) Leave() {
	f.halt()
	for _, in := range f.all() {
		<-in.done
	}
}

// TrimLogs keeps the logs of the fleet within bounds.
func (f *Fleet) TrimLogs() error {
	var faults []error
	for _, in := range f.all() {
		faults = append(faults, f.super.trim(in.name))
	}
	return errors.Join(faults...)
}

func (f *Fleet) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.changed)
	f.changed = make(chan struct{})
}
