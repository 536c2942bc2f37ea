package supervisor

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
)

// everyStart is the weight of a hold: all that starts may have together.
const everyStart = math.MaxInt64

// Hold keeps any process from being started until release is called; those
// that run are tended as before. It returns once no start is under way, so that
// what fleets tell of their processes is all there is.
func (s *Supervisor) Hold(ctx context.Context) (release func(), err error) {
	if err := s.starts.Acquire(ctx, everyStart); err != nil {
		return nil, fmt.Errorf("wait for instances that are being started: %w", err)
	}
	return func() { s.starts.Release(everyStart) }, nil
}

// SweepBeside is [Supervisor.Sweep] for a supervisor at work, whose processes
// running tells.
func (s *Supervisor) SweepBeside(ctx context.Context, running func() []Process) (int, error) {
	release, err := s.Hold(ctx)
	if err != nil {
		return 0, err
	}
	found, err := s.strays(running())
	release()
	if err != nil {
		return 0, err
	}
	return len(found), s.endAll(found)
}

// HandOff stops tending the instances and leaves them running for another
// agent. Requests in flight go on until drain ends; those left then are cut,
// and their number is returned.
func (f *Fleet) HandOff(drain context.Context) (cut int) {
	f.Leave()
	var sum atomic.Int64
	var all sync.WaitGroup
	for _, in := range f.places {
		in.mu.Lock()
		target := in.target
		in.mu.Unlock()
		if target != nil {
			all.Go(func() { sum.Add(int64(target.Drain(drain))) })
		}
	}
	all.Wait()
	return int(sum.Load())
}
