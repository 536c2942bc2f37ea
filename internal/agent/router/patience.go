package router

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// errSlowClient is the cause that ends a request whose client made no progress.
var errSlowClient = errors.New("the client made no progress")

// patience watches one client. It has a deadline only while the client is
// waited for, so that a pause of the instance's is never held against it.
type patience struct {
	http.ResponseWriter
	router *Router
	limit  time.Duration
	client *http.ResponseController
	cut    context.CancelCauseFunc

	mu     sync.Mutex
	ended  bool // the handler has returned: the connection is the server's again
	forced bool // somebody else set a deadline, which stands
}

// patient has the request end when its client makes no progress. What it
// returns stands in for what was given; done must be called in the end.
func (r *Router) patient(w http.ResponseWriter, request *http.Request) (p *patience, watched *http.Request, done func()) {
	ctx, cut := context.WithCancelCause(request.Context())
	p = &patience{ResponseWriter: w, router: r, limit: r.slowClient, client: http.NewResponseController(w), cut: cut}
	p.deadline(p.client.SetWriteDeadline, time.Time{}) // of the request before
	watched = request.WithContext(ctx)
	if request.Body != nil && request.Body != http.NoBody {
		watched.Body = &paced{ReadCloser: request.Body, of: p}
	}
	return p, watched, func() {
		p.deadline(p.client.SetWriteDeadline, r.now().Add(p.limit)) // for what is still buffered
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		cut(nil)
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
	p.deadline(set, time.Time{})
	if err != nil && !errors.Is(err, io.EOF) && p.router.now().Sub(began) >= p.limit && !p.isForced() {
		p.router.stats.slow.Add(1)
		p.cut(errSlowClient)
	}
	return err
}

func (p *patience) isForced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.forced
}

// Write implements http.ResponseWriter.
func (p *patience) Write(b []byte) (n int, err error) {
	err = p.while(p.client.SetWriteDeadline, func() error { n, err = p.ResponseWriter.Write(b); return err })
	return n, err
}

// WriteHeader implements http.ResponseWriter. Informational ones are sent at once.
func (p *patience) WriteHeader(status int) {
	if status >= http.StatusOK {
		p.ResponseWriter.WriteHeader(status)
		return
	}
	p.deadline(p.client.SetWriteDeadline, p.router.now().Add(p.limit))
	p.ResponseWriter.WriteHeader(status)
	p.deadline(p.client.SetWriteDeadline, time.Time{})
}

// FlushError is what an http.ResponseController calls.
func (p *patience) FlushError() error { return p.while(p.client.SetWriteDeadline, p.client.Flush) }

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
	ended bool
}

// Read implements io.Reader.
func (b *paced) Read(to []byte) (n int, err error) {
	if b.ended { // the connection is waiting for the next request
		return 0, io.EOF
	}
	err = b.of.while(b.of.client.SetReadDeadline, func() error { n, err = b.ReadCloser.Read(to); return err })
	b.ended = errors.Is(err, io.EOF)
	return n, err
}
