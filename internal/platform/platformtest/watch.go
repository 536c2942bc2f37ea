package platformtest

import (
	"context"
	"sync"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

const (
	clients  = 3
	askEvery = 3 * time.Millisecond
)

// watch asks the public address and looks at the platform all the time.
type watch struct {
	st    *stage
	stop  context.CancelFunc
	all   sync.WaitGroup
	least int

	mu       sync.Mutex
	answered map[string]int // by revision
	looks    int
	faults   []string
}

// watched begins a watch under which no request may fail, and at no time fewer
// instances than least may be ready for traffic.
func (st *stage) watched(least int) *watch {
	st.Helper()
	ctx, stop := context.WithCancel(st.Context())
	w := &watch{st: st, stop: stop, least: least, answered: map[string]int{}}
	if st.Ask != nil {
		for range clients {
			w.all.Go(func() { w.ask(ctx) })
		}
	}
	w.all.Go(func() { w.look(ctx) })
	st.Cleanup(func() { stop(); w.all.Wait() })
	return w
}

// end stops the watch and tells what it saw.
func (w *watch) end() {
	w.st.Helper()
	w.stop()
	w.all.Wait()
	for _, fault := range w.faults {
		w.st.Error(fault)
	}
	asked := 0
	for _, n := range w.answered {
		asked += n
	}
	if w.looks == 0 || w.st.Ask != nil && asked == 0 {
		w.st.Errorf("%d looks and %d requests: nothing was watched", w.looks, asked)
	}
	w.st.Logf("%d looks, requests answered by %v", w.looks, w.answered)
}

// heard is how many requests a revision has answered so far.
func (w *watch) heard(r rollout.Revision) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answered[r.ID]
}

func (w *watch) fault(text string) {
	const most = 5
	if len(w.faults) < most {
		w.faults = append(w.faults, text)
	}
}

func (w *watch) ask(ctx context.Context) {
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		id, err := w.st.Ask(context.WithoutCancel(ctx))
		w.mu.Lock()
		if err != nil {
			w.fault("a request failed: " + err.Error())
		} else {
			w.answered[id]++
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (w *watch) look(ctx context.Context) {
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		seen, err := w.st.Platform.Observe(context.WithoutCancel(ctx))
		w.mu.Lock()
		w.looks++
		if err != nil {
			w.fault("a look failed: " + err.Error())
		} else if n := serving(seen); n < w.least {
			w.fault(describe(seen, n, w.least))
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// serving counts the instances that are ready and may take traffic.
func serving(seen rollout.Observation) int {
	n := 0
	for side, st := range seen.Sides {
		if seen.Split.Of(side) == 0 {
			continue
		}
		for _, i := range st.Instances {
			if i.Ready && !i.Held {
				n++
			}
		}
	}
	return n
}
