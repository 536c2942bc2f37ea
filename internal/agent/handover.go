package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

const (
	defaultTakeover = 30 * time.Second
	// refusalAfter bounds how long a change waits for the end of a hand-over.
	refusalAfter = 2 * time.Second
)

// errHandingOver refuses a change while nobody may make one. The client looks
// again, and meets the successor.
var errHandingOver error = api.Refuse(api.CodeConflict, "the agent is handing over to its successor: look again")

// handOver puts another process in place of this one. When it returns an error,
// this one is the agent as before.
func (a *agent) handOver(ctx context.Context, s *servers) (*successor, error) {
	if len(a.opts.Command) == 0 {
		return nil, errors.New("it is not known how this program is started")
	}
	if os.Getpid() == 1 {
		return nil, errors.New("this is process 1, with which the container would end; run the agent under an init")
	}
	end, err := a.freeze(ctx)
	if err != nil {
		return nil, err
	}
	a.notifySystemd(daemon.SdNotifyReloading)
	next, err := a.succeed()
	if err == nil {
		err = next.install(ctx, a.opts.Takeover, func() error { return a.charge(next, s) })
	}
	if err == nil {
		a.notifySystemd(fmt.Sprintf("MAINPID=%d\n%s", next.cmd.Process.Pid, daemon.SdNotifyReady))
	} else {
		a.notifySystemd(daemon.SdNotifyReady)
	}
	end(err != nil)
	return next, err
}

// freeze keeps this agent from changing anything, and writes down what is. What
// waits for the end of the hand-over goes on when end is called, and changes
// are taken again if it stays.
func (a *agent) freeze(ctx context.Context) (end func(stays bool), err error) {
	release, err := a.super.Hold(ctx)
	if err != nil {
		return nil, err
	}
	over := make(chan struct{})
	a.mu.Lock()
	a.frozen = over
	last := a.snapshot(a.saved)
	a.mu.Unlock()
	end = func(stays bool) {
		if stays {
			a.mu.Lock()
			a.frozen = nil
			a.mu.Unlock()
			release()
			a.notice()
		}
		close(over)
	}
	if err := a.disk.write(last, a.opts.State); err != nil {
		end(true)
		return nil, err
	}
	return end, nil
}

// settled waits until a hand-over has ended, for a while.
func (a *agent) settled(ctx context.Context) {
	a.mu.Lock()
	over := a.frozen
	a.mu.Unlock()
	if over == nil {
		return
	}
	timer := time.NewTimer(refusalAfter)
	defer timer.Stop()
	select {
	case <-over:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// charge gives the successor all that makes it the agent: the lock, both
// listeners and the counts.
func (a *agent) charge(next *successor, s *servers) error {
	held := []syscall.Conn{a.locked}
	for _, listener := range []net.Listener{s.public, s.admin} {
		socket, ok := listener.(syscall.Conn)
		if !ok {
			return fmt.Errorf("listener %s cannot be handed over", listener.Addr())
		}
		held = append(held, socket)
	}
	if err := next.give(held...); err != nil {
		return fmt.Errorf("hand over lock and listeners: %w", err)
	}
	a.mu.Lock()
	fleets := a.running()
	a.mu.Unlock()
	a.reading.Lock()
	counts := a.book.Carry(a.opts.Now(), a.read(fleets))
	a.reading.Unlock()
	return next.out.Encode(message{Word: wordCharge, Counts: counts, OwnAdmin: s.ownAdmin})
}

// notifySystemd tells the service manager, if there is one.
func (a *agent) notifySystemd(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		a.opts.Log.Warn("the service manager was not told", "state", state, "error", err)
	}
}
