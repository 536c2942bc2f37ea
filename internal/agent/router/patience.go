package router

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// patience watches one client. It has a deadline only while the client is
// waited for, so that a pause of the instance's is never held against it.
type patience struct {
	http.ResponseWriter
	router *Router
	limit  time.Duration
	client *http.ResponseController
	cut    context.CancelFunc
	body   *paced // nil when there is none
	// swallows tells that the server reads what is left of a body before it
	// sends the head of an answer, as it does in HTTP/1.
	swallows bool

	mu     sync.Mutex
	ended  bool // the handler has returned: the connection is the server's again
	forced bool // a deadline stands: somebody else set it, or it has passed
}

// patient has the request end when its client makes no progress. What it
// returns stands in for what was given; done must be called in the end.
func (r *Router) patient(w http.ResponseWriter, request *http.Request) (p *patience, watched *http.Request, done func()) {
	ctx, cut := context.WithCancel(request.Context())
	p = &patience{ResponseWriter: w, router: r, limit: r.slowClient, client: http.NewResponseController(w), cut: cut}
	p.deadline(p.client.SetWriteDeadline, time.Time{}) // of the request before
	watched = request.WithContext(ctx)
	if request.Body != nil && request.Body != http.NoBody {
		p.body = &paced{ReadCloser: request.Body, of: p}
		p.swallows = request.ProtoMajor == 1
		watched.Body = p.body
	}
	return p, watched, func() {
		last := r.now().Add(p.limit) // for what is still buffered, or of the body not read
		p.deadline(p.client.SetWriteDeadline, last)
		if p.unread() {
			p.deadline(p.client.SetReadDeadline, last)
		}
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		cut()
	}
}

// deadline sets one, if the client is still this request's.
func (p *patience) deadline(set func(time.Time) error, to time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || p.forced {
		return
	}
	if err := set(to); err != nil {
		return // the connection has gone, which what is done to it tells
	}
}

// while does what waits for the client, within the limit.
func (p *patience) while(set func(time.Time) error, do func() error) error {
	began := p.router.now()
	p.deadline(set, began.Add(p.limit))
	err := do()
	if err != nil && !errors.Is(err, io.EOF) && p.router.now().Sub(began) >= p.limit {
		p.giveUp()
		return err
	}
	p.deadline(set, time.Time{})
	return err
}

// giveUp ends the request, once. The deadline that has passed stays.
func (p *patience) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.forced || p.ended {
		return
	}
	p.forced = true
	p.router.stats.slow.Add(1)
	p.cut()
}

// sending is while for what goes to the client.
func (p *patience) sending(do func() error) error {
	if p.swallows && p.unread() {
		p.deadline(p.client.SetReadDeadline, p.router.now().Add(p.limit))
		defer p.deadline(p.client.SetReadDeadline, time.Time{})
	}
	return p.while(p.client.SetWriteDeadline, do)
}

func (p *patience) unread() bool { return p.body != nil && !p.body.ended.Load() }

// Write implements http.ResponseWriter.
func (p *patience) Write(b []byte) (n int, err error) {
	err = p.sending(func() error { n, err = p.ResponseWriter.Write(b); return err })
	return n, err
}

// WriteHeader implements http.ResponseWriter. Informational ones are sent at once.
func (p *patience) WriteHeader(status int) {
	if status >= http.StatusOK {
		p.ResponseWriter.WriteHeader(status)
		return
	}
	sent := p.sending(func() error { p.ResponseWriter.WriteHeader(status); return nil })
	if sent != nil {
		return // what is written after it tells
	}
}

// FlushError is what an http.ResponseController calls.
func (p *patience) FlushError() error { return p.sending(p.client.Flush) }

// SetWriteDeadline is what an http.ResponseController calls: from then on that
// deadline stands.
func (p *patience) SetWriteDeadline(to time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forced = true
	return p.client.SetWriteDeadline(to)
}

// SetReadDeadline is what an http.ResponseController calls: from then on that
// deadline stands.
func (p *patience) SetReadDeadline(to time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forced = true
	return p.client.SetReadDeadline(to)
}

// Unwrap is what an http.ResponseController looks for.
func (p *patience) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// paced is a request's body as its client sends it.
type paced struct {
	io.ReadCloser
	of    *patience
	ended atomic.Bool
}

// Read implements io.Reader.
func (b *paced) Read(to []byte) (n int, err error) {
	if b.ended.Load() { // the connection is waiting for the next request
		return 0, io.EOF
	}
	err = b.of.while(b.of.client.SetReadDeadline, func() error { n, err = b.ReadCloser.Read(to); return err })
	if errors.Is(err, io.EOF) {
		b.ended.Store(true)
	}
	return n, err
}
