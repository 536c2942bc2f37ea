package router

import (
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// afterCut bounds the wait for handlers whose connections were closed.
	afterCut = 2 * time.Second
	// lingering is how long a client may take to close its half of an upgraded
	// connection after the instance closed the other.
	lingering = 2 * time.Second
)

// cut ends what is in flight and tells how much that was.
func (in *Instance) cut() int {
	in.cutting.Store(true)
	left := in.InFlight()
	in.router.stats.cut.Add(uint64(left))
	in.mu.Lock()
	open := make([]net.Conn, 0, len(in.conns))
	for conn := range in.conns {
		open = append(open, conn)
	}
	for e := range in.endless {
		e.dismiss()
	}
	in.mu.Unlock()
	for _, conn := range open {
		if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			continue // nothing more can be done to a connection being cut
		}
	}
	timer := time.NewTimer(afterCut)
	defer timer.Stop()
	select {
	case <-in.idle:
	case <-timer.C:
	}
	return left
}

// hold notes an exchange whose client has to be told the end: an upgraded
// connection or a stream whose client takes nothing, or whose instance has
// closed its half, would not notice that the instance's connection is cut.
func (in *Instance) hold(e *exchange) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.endless[e] = struct{}{}
	if in.cutting.Load() {
		e.dismiss()
	}
}

// let forgets an exchange that has ended: its client's connection is now
// another request's.
func (in *Instance) let(e *exchange) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.endless, e)
}

// dismiss ends what the handler waits for at the client. The instance's lock
// is held, so that the exchange is still the client's.
func (e *exchange) dismiss() {
	client, now := http.NewResponseController(e.client), time.Unix(1, 0)
	if client.SetWriteDeadline(now) != nil || client.SetReadDeadline(now) != nil {
		return // the client has gone
	}
}

// upgraded is the instance's end of an upgraded connection.
type upgraded struct {
	io.ReadWriteCloser
	exchange *exchange
}

// Read implements io.Reader. What the instance has ended ends for the client
// too, though it may be asleep: it would hold up a drain and be counted as cut.
func (u *upgraded) Read(p []byte) (int, error) {
	n, err := u.ReadWriteCloser.Read(p)
	if errors.Is(err, io.EOF) {
		deadline := u.exchange.router.now().Add(lingering)
		if late := http.NewResponseController(u.exchange.client).SetReadDeadline(deadline); late != nil {
			return n, late
		}
	}
	return n, err
}
