package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/agent/router"
	"github.com/gapless-deploy/gapless/internal/agent/supervisor"
	"github.com/gapless-deploy/gapless/internal/agent/tally"
)

const (
	// firstReady bounds how long the public address waits, at the start, for
	// the instances it had before; clients queue in the meantime.
	firstReady        = 3 * time.Second
	readHeaderTimeout = 30 * time.Second
	// publicIdle is longer than the idle timeout of the common load balancers
	// in front, so that they never meet a connection being closed.
	publicIdle = 75 * time.Second
)

// agent is one host's platform at work.
type agent struct {
	opts   Options
	super  *supervisor.Supervisor
	router *router.Router
	book   *tally.Book

	mu      sync.Mutex // guards what follows; held while a change is written down
	saved   saved
	fleets  map[api.Side]*supervisor.Fleet
	leaving []leaving
	taken   uint64 // snapshots of the state so far

	disk disk

	reading sync.Mutex // one reading of usage and its rows at a time
	spent   map[tally.Key]tally.Usage
	moved   chan struct{} // the state is to be written down
}

// leaving is a fleet that takes no more requests.
type leaving struct {
	side  api.Side
	fleet *supervisor.Fleet
}

// Run works until ctx ends, then drains and ends the instances. An agent that
// is killed instead leaves them running, and the next one takes them over.
// Errors name the address, file or option that is at fault.
func Run(ctx context.Context, opts Options) (err error) {
	opts = opts.withDefaults()
	if err := opts.check(); err != nil {
		return err
	}
	locked, err := lock(opts.State)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, locked.Close()) }()
	a, err := newAgent(opts)
	if err != nil {
		return err
	}
	admin, err := opts.listenAdmin(ctx)
	if err != nil {
		return err
	}
	public, err := opts.listenPublic()
	if err != nil {
		return errors.Join(err, admin.Close())
	}
	if err := a.resume(ctx); err != nil {
		return errors.Join(err, admin.Close(), public.Close())
	}
	return a.serve(ctx, public, admin)
}

func newAgent(opts Options) (*agent, error) {
	state, err := load(opts.State, opts.Service)
	if err != nil {
		return nil, err
	}
	super, err := supervisor.New(supervisor.Options{
		Owner: state.Owner, Logs: opts.Logs, HideEnv: opts.HideEnv, Now: opts.Now, Log: opts.Log,
	})
	if err != nil {
		return nil, err
	}
	return &agent{
		opts: opts, super: super, saved: state,
		router: router.New(router.Options{TrustForwarded: opts.TrustForwarded, Now: opts.Now, Log: opts.Log}),
		book:   tally.NewBook(opts.Now(), tally.Keep),
		fleets: map[api.Side]*supervisor.Fleet{},
		spent:  map[tally.Key]tally.Usage{},
		moved:  make(chan struct{}, 1),
	}, nil
}

// resume puts in place what the state file tells: instances that still run are
// taken over, missing ones started, others of ours ended.
func (a *agent) resume(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.saved.write(a.opts.State); err != nil {
		return err
	}
	if ended, err := a.super.Sweep(a.saved.processes()); err != nil {
		return err
	} else if ended > 0 {
		a.opts.Log.Warn("ended instances that an earlier agent left behind", "count", ended)
	}
	for side, state := range a.saved.Sides {
		if state.Desired > 0 {
			a.fleets[side] = a.launch(ctx, side, state)
		}
	}
	a.remember()
	if len(a.saved.Weights) > 0 {
		a.shiftRouter(a.saved.Weights)
	}
	return nil
}

// serve answers on both addresses until ctx ends.
func (a *agent) serve(ctx context.Context, public, admin net.Listener) error {
	front := &http.Server{Handler: a.router, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: publicIdle}
	back := &http.Server{Handler: a.handler(), ReadHeaderTimeout: readHeaderTimeout}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var all errgroup.Group
	all.Go(func() error { a.tick(work); return nil })
	all.Go(func() error { return served("admin", back.Serve(admin)) })
	a.awaitServing(ctx)
	all.Go(func() error { return served("public", front.Serve(public)) })
	if a.opts.Serving != nil {
		a.opts.Serving(public.Addr(), admin.Addr())
	}
	a.opts.Log.Info("agent serves", "service", a.opts.Service, "public", public.Addr().String(), "admin", admin.Addr().String())
	<-ctx.Done()
	err := a.end(ctx, front, back)
	stop()
	return errors.Join(err, all.Wait())
}

func served(name string, err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("%s address: %w", name, err)
}

// awaitServing gives the instances of sides with a weight a moment to answer.
func (a *agent) awaitServing(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstReady)
	defer cancel()
	a.mu.Lock()
	var serving []*supervisor.Fleet
	for side, fleet := range a.fleets {
		if a.saved.Weights[side] > 0 {
			serving = append(serving, fleet)
		}
	}
	a.mu.Unlock()
	for _, fleet := range serving {
		if err := fleet.AwaitReady(ctx, 1); err != nil {
			a.opts.Log.Warn("public address opens before its instances are ready", "error", err)
		}
	}
}

// end lets requests in flight finish, then ends the instances and writes down
// that none is left.
func (a *agent) end(ctx context.Context, front, back *http.Server) error {
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.opts.Drain)
	defer cancel()
	var faults []error
	if err := front.Shutdown(drain); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		faults = append(faults, fmt.Errorf("public address: %w", err))
	}
	a.mu.Lock()
	var fleets []*supervisor.Fleet
	for _, fleet := range a.fleets {
		fleets = append(fleets, fleet)
	}
	for _, l := range a.leaving {
		fleets = append(fleets, l.fleet)
	}
	a.mu.Unlock()
	var all errgroup.Group
	for _, fleet := range fleets {
		all.Go(func() error { _, err := fleet.Stop(drain); return err })
	}
	faults = append(faults, all.Wait(), back.Close())
	faults = append(faults, a.save(), front.Close())
	return errors.Join(faults...)
}

// launch starts the fleet of a side. a.mu is held.
func (a *agent) launch(ctx context.Context, side api.Side, state savedSide) *supervisor.Fleet {
	key := tally.Key{Side: side, Revision: state.Revision}
	return a.super.Launch(ctx, supervisor.Order{
		Side: side, Revision: state.Revision, Spec: state.Spec,
		Launch: state.Launch, Places: state.places(), Serving: state.serving(), Known: state.Processes,
		Door: func(address string) supervisor.Target {
			return a.router.Add(address, key, a.book.Series(key, state.Spec.SlowOver.Std()))
		},
		Changed: a.notice,
	})
}

// notice has the state written down soon.
func (a *agent) notice() {
	select {
	case a.moved <- struct{}{}:
	default: // a save that comes anyway will see this change too
	}
}

// save writes down the processes that run now. Nothing waits for it: a switch
// must not stand behind a slow disk because an instance was started again.
func (a *agent) save() error {
	a.mu.Lock()
	snapshot := a.snapshot(a.saved)
	a.mu.Unlock()
	return a.disk.write(snapshot, a.opts.State)
}

// write puts next on disk and in force. a.mu is held.
func (a *agent) write(next saved) error {
	if err := a.disk.write(a.snapshot(next), a.opts.State); err != nil {
		return err
	}
	a.saved = next
	return nil
}

// snapshot adds the processes that run now. a.mu is held.
func (a *agent) snapshot(state saved) snapshot {
	state = state.clone()
	for side, kept := range state.Sides {
		kept.Processes = nil
		if fleet := a.fleets[side]; fleet != nil {
			kept.Processes = kept.of(side, fleet.Processes())
		}
		state.Sides[side] = kept
	}
	a.taken++
	return snapshot{state, a.taken}
}
