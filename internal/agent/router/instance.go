package router

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/tally"
)

const (
	dialTimeout = time.Second
	// idleTimeout is shorter than any common server's keep-alive (gunicorn 2s,
	// Node.js 5s), so that a request rarely meets a connection being closed.
	idleTimeout = 1500 * time.Millisecond
)

// Instance is one place that can answer requests.
type Instance struct {
	address   string
	revision  string
	router    *Router
	pool      *pool
	series    *tally.Series
	transport *http.Transport
	inFlight  atomic.Int64
	draining  atomic.Bool
	cutting   atomic.Bool
	idle      chan struct{}
	once      sync.Once

	standing standing // guarded by the router's lock
	held     bool     // likewise

	mu      sync.Mutex
	conns   map[net.Conn]struct{}  // to the instance
	endless map[*exchange]struct{} // have an answer that has no end of its own
}

// standing is what an instance last said of itself.
type standing int

const (
	unknown standing = iota
	ready
	failing
)

// Add makes the instance at address (host:port) known to the router, on the
// side and under the revision of the series that counts for it. It takes no
// request before [Instance.Ready].
func (r *Router) Add(address string, key tally.Key, series *tally.Series) *Instance {
	in := &Instance{
		address: address, revision: key.Revision.ID, router: r, pool: r.pool(key.Side), series: series,
		idle: make(chan struct{}), conns: map[net.Conn]struct{}{}, endless: map[*exchange]struct{}{},
	}
	in.transport = &http.Transport{
		DialContext:         in.dial,
		DisableCompression:  true,
		MaxIdleConns:        0,
		MaxIdleConnsPerHost: 1024,
		IdleConnTimeout:     idleTimeout,
		// A body that the client asked permission for goes on without it after this.
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 1 << 20,
	}
	return in
}

// Ready tells the router whether the instance answers its health path. One
// that does not takes requests only when there is none better.
func (in *Instance) Ready(healthy bool) {
	in.router.mu.Lock()
	defer in.router.mu.Unlock()
	in.standing = failing
	if healthy {
		in.standing = ready
	}
	in.offer()
}

// Hold keeps the instance from being claimed, however it stands, until it is
// let go. Requests that it has go on.
func (in *Instance) Hold(held bool) {
	in.router.mu.Lock()
	defer in.router.mu.Unlock()
	in.held = held
	in.offer()
}

// offer puts the instance where it may be claimed. The router's lock is held.
func (in *Instance) offer() {
	in.pool.remove(in)
	switch {
	case in.held || in.draining.Load():
	case in.standing == ready:
		in.pool.ready = append(in.pool.ready, in)
	case in.standing == failing:
		in.pool.failing = append(in.pool.failing, in)
	}
}

// InFlight is the number of requests and upgraded connections it has now.
func (in *Instance) InFlight() int { return int(in.inFlight.Load()) }

// Drain takes the instance out: once it is called no request is claimed for
// it. It returns when none is in flight, or when ctx ends: what is left then is
// cut, at both ends, and counted.
func (in *Instance) Drain(ctx context.Context) (cut int) {
	in.leave()
	select {
	case <-in.idle:
	case <-ctx.Done():
		cut = in.cut()
	}
	in.transport.CloseIdleConnections()
	return cut
}

// Gone takes out an instance whose process has ended; its requests in flight
// fail by themselves.
func (in *Instance) Gone() {
	in.leave()
	in.transport.CloseIdleConnections()
}

func (in *Instance) leave() {
	in.router.mu.Lock()
	in.pool.remove(in)
	in.draining.Store(true)
	in.router.mu.Unlock()
	in.settle()
}

// release ends a claim.
func (in *Instance) release() {
	in.inFlight.Add(-1)
	in.settle()
}

// settle reports idleness once the instance is out: leave sets draining before
// it looks at the count, release lowers the count before it looks at draining,
// so that one of the two sees both.
func (in *Instance) settle() {
	if in.draining.Load() && in.inFlight.Load() == 0 {
		in.once.Do(func() { close(in.idle) })
	}
}

// refused notes that the instance took no connection: it stands behind the
// others until its next healthy answer.
func (in *Instance) refused() {
	in.router.stats.retried.Add(1)
	in.Ready(false)
}

func (in *Instance) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", in.address)
	if err != nil {
		return nil, err
	}
	tracked := &tracked{Conn: conn, of: in}
	in.mu.Lock()
	in.conns[tracked] = struct{}{}
	in.mu.Unlock()
	if in.cutting.Load() {
		return nil, errors.Join(net.ErrClosed, tracked.Close())
	}
	return tracked, nil
}

// tracked is a connection that its instance can cut.
type tracked struct {
	net.Conn
	of *Instance
}

// Close closes the connection and lets its instance forget it.
func (t *tracked) Close() error {
	t.of.mu.Lock()
	delete(t.of.conns, t)
	t.of.mu.Unlock()
	return t.Conn.Close()
}
