package agent

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// quiet is how long a client's idle connection is left open for a request that
// may be on its way, before an agent that leaves closes it.
const quiet = 5 * time.Second

// depart ends this agent after another took charge: it answers what reaches it
// on the connections it has, until the drain ends, and leaves the instances.
func (a *agent) depart(ctx context.Context, s *servers, next *successor) error {
	began := a.opts.Now()
	drain, cancel := context.WithTimeout(ctx, a.opts.Drain)
	defer cancel()
	err := a.unlock()
	s.forwardAdmin()
	s.leaving.Store(true)
	s.unlink(false)
	err = errors.Join(err, s.public.Close(), s.admin.Close())
	reported := make(chan struct{})
	report, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() { defer close(reported); a.report(report, next) }()

	s.conns.none(drain, quiet)
	if e := s.front.Shutdown(drain); e != nil && drain.Err() == nil {
		err = errors.Join(err, fmt.Errorf("public address: %w", e))
	}
	cut, e := a.handOff(drain)
	err = errors.Join(err, e, s.front.Close())
	if e := s.back.Shutdown(drain); e != nil {
		err = errors.Join(err, s.back.Close())
	}
	a.awaitPredecessor(drain)
	stop()
	<-reported
	a.opts.Log.Info("left", "successor", next.cmd.Process.Pid, "after", a.opts.Now().Sub(began), "cut", cut)
	return errors.Join(err, next.conn.Close())
}

// handOff waits for requests in flight and upgraded connections until drain
// ends, cuts what is left and tells how much that was. What was being retired
// when the hand-over began is still ended by this agent.
func (a *agent) handOff(drain context.Context) (cut int, err error) {
	a.mu.Lock()
	fleets, leaving := a.fleets, a.leaving
	a.mu.Unlock()
	var sum atomic.Int64
	var all errgroup.Group
	for _, fleet := range fleets {
		all.Go(func() error { sum.Add(int64(fleet.HandOff(drain))); return nil })
	}
	for _, l := range leaving {
		all.Go(func() error { _, err := l.fleet.Stop(drain); return err })
	}
	err = all.Wait()
	return int(sum.Load()), err
}

// report tells the successor each second what was counted here, and once more
// when ctx ends.
func (a *agent) report(ctx context.Context, next *successor) {
	ticker := time.NewTicker(second)
	defer ticker.Stop()
	for last := false; !last; {
		select {
		case <-ctx.Done():
			last = true
		case <-ticker.C:
		}
		gained := a.book.Gained()
		if len(gained) == 0 {
			continue
		}
		if err := next.out.Encode(message{Word: wordGained, Gained: gained}); err != nil {
			a.opts.Log.Warn("counts are lost: the successor does not take them", "error", err)
			return
		}
	}
}
