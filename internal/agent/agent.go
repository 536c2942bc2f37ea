package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/agent/router"
	"github.com/gapless-deploy/gapless/internal/agent/supervisor"
	"github.com/gapless-deploy/gapless/internal/agent/tally"
)

// firstReady bounds how long both addresses wait, at the start, for the
// instances it had before; clients queue in the meantime.
const firstReady = 3 * time.Second

// agent is one host's platform at work.
type agent struct {
	opts   Options
	locked *os.File // the lock of the state file
	super  *supervisor.Supervisor
	router *router.Router
	book   *tally.Book

	mu      sync.Mutex // guards what follows; held while a change is written down
	saved   saved
	fleets  map[api.Side]*supervisor.Fleet
	leaving []leaving
	taken   uint64 // snapshots of the state so far
	// frozen is set while the agent hands over, and from then on if it did: it
	// changes nothing. It is closed when that is decided.
	frozen chan struct{}

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
	enter := carryOn
	if opts.Inherited.predecessor != nil {
		enter = takeOver
	}
	a, s, err := enter(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.unlock()) }()
	return a.serve(ctx, s)
}

// carryOn makes an agent that goes on where the last one ended.
func carryOn(ctx context.Context, opts Options) (_ *agent, _ *servers, err error) {
	locked, err := lock(ctx, opts.State)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, locked.Close())
		}
	}()
	a, err := newAgent(opts)
	if err != nil {
		return nil, nil, err
	}
	a.locked = locked
	s, err := a.servers()
	if err != nil {
		return nil, nil, err
	}
	if s.public, s.admin, err = opts.listen(ctx); err != nil {
		return nil, nil, err
	}
	s.ownAdmin = opts.Inherited.admin == nil
	if opts.Inherited.public != nil {
		a.opts.Public = s.public.Addr().String()
	}
	if err := a.clean(); err != nil {
		return nil, nil, errors.Join(err, s.close())
	}
	a.resume(ctx)
	return a, s, nil
}

// takeOver makes an agent that another one hands over to.
func takeOver(ctx context.Context, opts Options) (*agent, *servers, error) {
	a, err := newAgent(opts)
	if err != nil {
		return nil, nil, err
	}
	s, err := a.servers()
	if err != nil {
		return nil, nil, err
	}
	release, err := a.super.Hold(ctx)
	if err != nil {
		return nil, nil, err
	}
	a.resume(ctx)
	started, done := context.WithTimeout(ctx, firstReady)
	defer done()
	a.awaitKnown(started) // another agent serves in the meantime
	if err := a.takeCharge(ctx, s); err != nil {
		return nil, nil, errors.Join(err, s.close(), a.unlock())
	}
	release()
	return a, s, nil
}

// unlock lets go of the state file, unless that was done or handed over.
func (a *agent) unlock() error {
	if a.locked == nil {
		return nil
	}
	if err := a.locked.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

func newAgent(opts Options) (*agent, error) {
	state, err := load(opts.State, opts.Service)
	if err != nil {
		return nil, err
	}
	super, err := supervisor.New(supervisor.Options{
		Owner: state.Owner, Logs: opts.Logs, HideEnv: append(hidden(), opts.HideEnv...), Now: opts.Now, Log: opts.Log,
	})
	if err != nil {
		return nil, err
	}
	return &agent{
		opts: opts, super: super, saved: state,
		router: router.New(router.Options{
			TrustForwarded: opts.TrustForwarded, SlowClient: opts.Limits.SlowClient, Now: opts.Now, Log: opts.Log,
		}),
		book:   tally.NewBook(opts.Now(), tally.Keep),
		fleets: map[api.Side]*supervisor.Fleet{},
		spent:  map[tally.Key]tally.Usage{},
		moved:  make(chan struct{}, 1),
	}, nil
}

// resume puts in place what the state file tells: instances that still run are
// taken over, missing ones started.
func (a *agent) resume(ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for side, state := range a.saved.Sides {
		if state.Desired > 0 {
			a.fleets[side] = a.launch(ctx, side, state)
		}
	}
	a.remember()
	if len(a.saved.Weights) > 0 {
		a.shiftRouter(a.saved.Weights)
	}
}

// clean makes sure that the state can be written, and that nothing of ours runs
// that is not in it.
func (a *agent) clean() error {
	if err := a.saved.write(a.opts.State); err != nil {
		return err
	}
	ended, err := a.super.Sweep(a.saved.processes())
	if ended > 0 {
		a.opts.Log.Warn("ended instances that an earlier agent left behind", "count", ended)
	}
	return err
}

// serve answers on both addresses until ctx ends or another took charge.
func (a *agent) serve(ctx context.Context, s *servers) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var all errgroup.Group
	if a.opts.Inherited.predecessor != nil {
		all.Go(func() error { a.follow(work); return nil })
	}
	tick, still := context.WithCancel(work)
	defer still()
	all.Go(func() error { a.tick(tick); return nil })
	all.Go(func() error { s.certificate.follow(work, a.opts.Log); return nil })
	started, done := context.WithTimeout(ctx, firstReady)
	a.awaitServing(started)
	all.Go(func() error { return s.served("public", s.serveFront()) })
	a.awaitKnown(started)
	done()
	all.Go(func() error { return s.served("admin", s.back.Serve(s.admin)) })
	a.began(s)
	next := a.work(ctx, s)
	var err error
	if next != nil {
		still() // what is counted from now on is the successor's
		err = a.depart(ctx, s, next)
	} else {
		err = a.end(ctx, s)
	}
	stop()
	return errors.Join(err, all.Wait())
}

// began tells that both addresses answer.
func (a *agent) began(s *servers) {
	public, admin := s.public.Addr(), s.admin.Addr()
	if a.opts.Serving != nil {
		a.opts.Serving(public, admin)
	}
	a.opts.Log.Info("agent serves", "service", a.opts.Service, "public", public.String(), "admin", admin.String(), "pid", os.Getpid())
	if a.opts.Inherited.predecessor == nil { // which tells it itself
		a.notifySystemd(daemon.SdNotifyReady)
	}
}

// work goes on until ctx ends, or a successor took charge, which it returns.
func (a *agent) work(ctx context.Context, s *servers) *successor {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.opts.Upgrade:
		}
		next, err := a.handOver(ctx, s)
		if err == nil {
			return next
		}
		a.opts.Log.Error("not handed over, this agent goes on", "error", err)
	}
}

// awaitServing gives each side with a weight a moment until one of its
// instances answers: the public address opens then.
func (a *agent) awaitServing(ctx context.Context) {
	a.await(ctx, "public", func(side api.Side) int {
		return min(1, a.saved.Weights[side])
	})
}

// awaitKnown gives the instances that ran before a moment to answer: the admin
// API opens then. Whoever asked it earlier would take an agent that has just
// been started for a service that is down.
func (a *agent) awaitKnown(ctx context.Context) {
	a.await(ctx, "admin", func(side api.Side) int {
		known := a.saved.Sides[side]
		return min(known.Desired, len(known.Processes))
	})
}

// await returns once so many instances of each side are ready, or when ctx
// ends: the address opens then.
func (a *agent) await(ctx context.Context, address string, wanted func(api.Side) int) {
	a.mu.Lock()
	wants := map[*supervisor.Fleet]int{}
	for side, fleet := range a.fleets {
		wants[fleet] = wanted(side)
	}
	a.mu.Unlock()
	for fleet, n := range wants {
		if err := fleet.AwaitReady(ctx, n); err != nil {
			a.opts.Log.Warn("address opens before its instances are ready", "address", address, "error", err)
		}
	}
}

// end lets requests in flight finish, then ends the instances and writes down
// that none is left.
func (a *agent) end(ctx context.Context, s *servers) error {
	a.notifySystemd(daemon.SdNotifyStopping)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.opts.Drain)
	defer cancel()
	var faults []error
	if err := s.front.Shutdown(drain); err != nil && !errors.Is(err, context.DeadlineExceeded) {
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
	faults = append(faults, all.Wait(), s.back.Close())
	faults = append(faults, a.save(), s.front.Close())
	return errors.Join(faults...)
}

// launch starts the fleet of a side. a.mu is held.
func (a *agent) launch(ctx context.Context, side api.Side, state savedSide) *supervisor.Fleet {
	key := tally.Key{Side: side, Revision: state.Revision}
	return a.super.Launch(ctx, supervisor.Order{
		Side: side, Revision: state.Revision, Spec: state.Spec,
		Launch: state.Launch, Places: state.places(), Serving: state.serving(), Known: state.Processes,
		Door: func(address string) supervisor.Target {
			return a.door(a.router.Add(address, key, a.book.Series(key, state.Spec.SlowOver.Std())))
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
	if a.frozen != nil {
		a.mu.Unlock()
		return nil // the successor's, or done when the hand-over has failed
	}
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
