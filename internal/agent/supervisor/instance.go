package supervisor

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

const (
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 10 * time.Second
	// steadyAfter is how long a process must have run for its end to be
	// answered without the pause that earlier ends built up.
	steadyAfter = 30 * time.Second
)

// instance is one place in a fleet; the process in it may change.
type instance struct {
	name  string
	fleet *Fleet
	halt  context.CancelFunc // lets go of it
	done  chan struct{}      // closed when run has returned

	mu       sync.Mutex
	phase    api.Phase
	held     bool // takes no requests even when it is ready
	process  *process
	target   Target
	restarts int
	readyAt  time.Time
	health   string
	fault    string
}

// run keeps a process in the place until ctx ends; it leaves it running then.
func (in *instance) run(ctx context.Context, known *Process) {
	defer close(in.done)
	backoff := firstBackoff
	for ctx.Err() == nil {
		p, err := in.begin(known)
		known = nil
		if err != nil {
			in.note(api.Waiting, func() { in.fault = err.Error() })
		} else {
			in.fleet.order.Changed()
			if !in.tend(ctx, p) {
				return
			}
			in.end(p)
			if in.fleet.super.opts.Now().Sub(p.Began) > steadyAfter {
				backoff = firstBackoff
			}
		}
		in.fleet.order.Changed()
		in.fleet.super.opts.Log.Warn("instance starts again", "instance", in.name, "in", backoff, "error", in.lastFault())
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// begin takes over the known process or starts another.
func (in *instance) begin(known *Process) (*process, error) {
	super := in.fleet.super
	p, adopted := (*process)(nil), false
	if known != nil {
		in.note(api.Starting, func() { in.restarts = known.Restarts })
		if p, adopted = super.adopt(*known); !adopted {
			in.note(api.Starting, func() { in.restarts++ })
		}
	}
	if !adopted {
		var err error
		if p, err = super.start(in.name, in.fleet.order.Spec); err != nil {
			return nil, err
		}
	}
	target := in.fleet.order.Door(p.address())
	in.note(api.Starting, func() {
		in.process, in.target, in.health = p, target, ""
		target.Hold(in.keptBack())
	})
	return p, nil
}

// hold keeps the instance from taking requests, or lets it.
func (in *instance) hold(held bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.held = held
	if in.target != nil {
		in.target.Hold(in.keptBack())
	}
}

// keptBack tells whether the router may not offer it: one that is held, or
// whose kind answers no requests. in.mu is held.
func (in *instance) keptBack() bool { return in.held || in.fleet.order.Spec.NoTraffic }

// tend asks for health until the process has ended (true) or ctx is done (false).
func (in *instance) tend(ctx context.Context, p *process) bool {
	check := newChecker(p.address(), in.fleet.order.Spec)
	asking, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer stop()
		select {
		case <-p.ended: // an answer is not to be waited for
		case <-asking.Done():
		}
	}()
	ready, fails := false, 0
	for {
		if err := check.ask(asking); err == nil {
			fails = 0
			if !ready {
				ready = true
				in.becameReady()
			}
		} else if asking.Err() == nil {
			fails++
			in.unhealthy(err, ready && fails == failsAfter)
			ready = ready && fails < failsAfter
		}
		select {
		case <-ctx.Done():
			return false
		case <-p.ended:
			return true
		case <-time.After(check.pause(ready)):
		}
	}
}

func (in *instance) becameReady() {
	in.note(api.Ready, func() {
		in.readyAt, in.health = in.fleet.super.opts.Now(), ""
		in.target.Ready(true)
	})
	in.fleet.super.opts.Log.Info("instance is ready", "instance", in.name)
	in.fleet.wake()
}

func (in *instance) unhealthy(err error, turned bool) {
	in.mu.Lock()
	in.health = err.Error()
	if turned {
		in.phase = api.Failing
		in.target.Ready(false)
	}
	in.mu.Unlock()
	if turned {
		in.fleet.super.opts.Log.Warn("instance does not answer its health path", "instance", in.name, "error", err)
		in.fleet.wake()
	}
}

// end notes that the process has ended by itself.
func (in *instance) end(p *process) {
	in.note(api.Waiting, func() {
		in.target.Gone()
		in.process, in.target = nil, nil
		in.restarts++
		in.fault = p.how()
		if in.health != "" {
			in.fault += "; last health answer: " + in.health
		}
	})
}

// stop drains the process and ends it. run must have returned.
func (in *instance) stop(drain context.Context) (cut int, err error) {
	in.mu.Lock()
	p, target := in.process, in.target
	in.phase = api.Draining
	in.mu.Unlock()
	if p == nil {
		return 0, nil
	}
	cut = target.Drain(drain)
	err = in.fleet.super.terminate(p, orDefault(in.fleet.order.Spec.Grace, defaultGrace))
	in.mu.Lock()
	in.process = nil
	in.mu.Unlock()
	return cut, err
}

func (in *instance) note(phase api.Phase, change func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.phase = phase
	change()
}

func (in *instance) lastFault() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.fault
}

// status tells about the instance, with the end of its output unless it is ready.
func (in *instance) status() api.Instance {
	in.mu.Lock()
	out := api.Instance{
		Name: in.name, Side: in.fleet.order.Side, Revision: in.fleet.order.Revision,
		Phase: in.phase, Held: in.held, Restarts: in.restarts, LastHealth: in.health, LastError: in.fault,
	}
	if in.process != nil {
		out.PID, out.Address, out.StartedAt = in.process.PID, in.process.address(), in.process.Began
		out.ReadyAt = in.readyAt
	}
	if in.target != nil {
		out.InFlight = in.target.InFlight()
	}
	in.mu.Unlock()
	if out.Phase != api.Ready {
		out.LogTail = in.fleet.super.tail(in.name)
	}
	return out
}

// Problem says in a few lines why an instance is not ready.
func Problem(in api.Instance) string {
	var parts []string
	switch {
	case in.Phase == api.Ready:
		return ""
	case in.LastError != "":
		parts = append(parts, in.LastError)
	case in.LastHealth != "":
		parts = append(parts, "health: "+in.LastHealth)
	}
	if in.Restarts > 0 {
		parts = append(parts, fmt.Sprintf("%d restarts", in.Restarts))
	}
	if in.LogTail != "" {
		parts = append(parts, "output:\n"+in.LogTail)
	}
	return fmt.Sprintf("%s is %s: %s", in.Name, in.Phase, strings.Join(parts, "; "))
}
