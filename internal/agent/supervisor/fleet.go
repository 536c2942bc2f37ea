package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// Fleet is the instances of one revision on one side.
type Fleet struct {
	super *Supervisor
	order Order

	halt context.CancelFunc // lets go of every instance

	places []*instance

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when readiness changes

	stopping sync.Mutex
	stopped  bool
	cut      int
}

// Launch starts as many instances as the order wants and returns at once. They
// go on when ctx ends.
func (s *Supervisor) Launch(ctx context.Context, order Order) *Fleet {
	running, halt := context.WithCancel(context.WithoutCancel(ctx))
	f := &Fleet{super: s, order: order, halt: halt, changed: make(chan struct{})}
	if err := s.forgetLogs(order.Launch); err != nil {
		s.opts.Log.Warn("old logs stay", "error", err)
	}
	for i := range order.Spec.Instances {
		f.places = append(f.places, &instance{
			name:  fmt.Sprintf("%s-%d.%d", order.Side, order.Launch, i+1),
			fleet: f, phase: api.Starting, done: make(chan struct{}),
		})
	}
	for _, in := range f.places {
		var before *Process
		if i := slices.IndexFunc(order.Known, func(p Process) bool { return p.Name == in.name }); i >= 0 {
			before = &order.Known[i]
		}
		go in.run(running, before)
	}
	return f
}

// Status tells about every instance.
func (f *Fleet) Status() []api.Instance {
	out := make([]api.Instance, 0, len(f.places))
	for _, in := range f.places {
		out = append(out, in.status())
	}
	return out
}

// Ready is how many instances are ready.
func (f *Fleet) Ready() int {
	ready := 0
	for _, in := range f.places {
		in.mu.Lock()
		if in.phase == api.Ready {
			ready++
		}
		in.mu.Unlock()
	}
	return ready
}

// Processes tells what runs, to be kept on disk.
func (f *Fleet) Processes() []Process {
	var all []Process
	for _, in := range f.places {
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

// AwaitReady returns once at least n instances are ready, or with ctx's error.
func (f *Fleet) AwaitReady(ctx context.Context, n int) error {
	for {
		f.mu.Lock()
		changed := f.changed
		f.mu.Unlock()
		if f.Ready() >= n {
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
	for _, in := range f.places {
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

// Leave stops tending the instances and leaves them running for the next agent.
func (f *Fleet) Leave() {
	f.halt()
	for _, in := range f.places {
		<-in.done
	}
}

// TrimLogs keeps the logs of the fleet within bounds.
func (f *Fleet) TrimLogs() error {
	var faults []error
	for _, in := range f.places {
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
