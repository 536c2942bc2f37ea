package probe

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gapless-deploy/gapless/internal/ledger"
)

// Options says what is asked and how often.
type Options struct {
	// URL is asked by GET; http or https.
	URL string
	// Every is the time between two probes; zero means 200 ms.
	Every time.Duration
	// Timeout bounds one probe; zero means 5 s.
	Timeout time.Duration
	// Waiting bounds the probes that wait for their answers; beyond it a probe
	// is not sent but counted as missed. Zero means 32.
	Waiting int
	// Now is the clock of the answers; nil means time.Now.
	Now func() time.Time
}

// Probe asks until it is stopped. Every other probe opens a connection of its
// own, the rest keep theirs: the first kind meets gaps of the listener, the
// second connections that are cut.
type Probe struct {
	stop    context.CancelFunc
	stopped chan struct{}
}

// Start begins to ask, at once. It asks until Stop is called or ctx ends; then
// what was under way is withdrawn and not counted.
func Start(ctx context.Context, o Options, into *ledger.Ledger) (*Probe, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("probe %q: allowed are http and https URLs", o.URL)
	}
	ticking, stop := context.WithCancel(ctx)
	p := &Probe{stop: stop, stopped: make(chan struct{})}
	go func() {
		defer close(p.stopped)
		run(ctx, ticking.Done(), o, into)
	}()
	return p, nil
}

// Stop sends no more, and returns when each probe that was sent is accounted
// for. It may be called more than once.
func (p *Probe) Stop() {
	p.stop()
	<-p.stopped
}

func run(ctx context.Context, stop <-chan struct{}, o Options, into *ledger.Ledger) {
	waiting := make(chan struct{}, cmp.Or(o.Waiting, 32))
	clients := [2]*Client{
		NewClient(ClientOptions{Timeout: o.Timeout, Fresh: true, Now: o.Now}),
		NewClient(ClientOptions{Timeout: o.Timeout, Idle: cap(waiting), Now: o.Now}),
	}
	defer clients[1].Close()
	var asked sync.WaitGroup
	defer asked.Wait()
	ticker := time.NewTicker(cmp.Or(o.Every, 200*time.Millisecond))
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case waiting <- struct{}{}:
			client := clients[n%2]
			asked.Go(func() {
				defer func() { <-waiting }()
				reply, err := client.Do(ctx, http.MethodGet, o.URL, nil)
				if err == nil {
					into.Add(reply.Answer)
				}
			})
		default:
			into.Miss()
		}
		select {
		case <-ticker.C:
		case <-stop:
			return
		}
	}
}
