package router

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// exchange is one public request on its way through the router.
type exchange struct {
	router  *Router
	client  http.ResponseWriter
	start   time.Time
	carried []string // the values of the client's session cookie
	secure  bool     // the client came over TLS; told only with sessions
	side    api.Side // that its session or its turn gave it
	claim            // its place, once an instance has answered or may have seen it
	tried   []*Instance
	status  int
	headAt  time.Time // of an answer that has no end of its own
	broken  bool      // the instance did not finish its answer
}

type exchangeKey struct{}

func (e *exchange) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, exchangeKey{}, e)
}

// errUnserved is when no instance could take the request.
var errUnserved = errors.New("no instance could take the request")

// transport carries a request to an instance, and to another one as long as
// nothing was written: what an instance may have seen is never sent again.
type transport struct{ router *Router }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(request *http.Request) (*http.Response, error) {
	e, ok := request.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil, errors.New("router: request without an exchange")
	}
	body := replayable(request)
	for {
		claimed := t.router.claim(e)
		chosen := claimed.instance
		if chosen == nil {
			return nil, errUnserved
		}
		response, err := chosen.transport.RoundTrip(request)
		if err == nil {
			e.claim = claimed
			return response, nil
		}
		if !unwritten(err) || request.Context().Err() != nil || !body.rewind() {
			e.claim = claimed
			return nil, err
		}
		e.tried = append(e.tried, chosen)
		chosen.refused()
		chosen.release()
	}
}

// unwritten tells whether a request failed before a connection stood. The
// standard transport itself repeats on a new connection what it could not
// write to a used one.
func unwritten(err error) bool {
	opened := (*net.OpError)(nil)
	return errors.As(err, &opened) && opened.Op == "dial"
}

// answered sees every answer before it is passed on.
func answered(response *http.Response) error {
	e, ok := response.Request.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return errors.New("router: answer without an exchange")
	}
	e.status = response.StatusCode
	e.tell(response.Header)
	if e.cookie != "" {
		response.Header.Add("Set-Cookie", e.cookie)
	}
	connection, isUpgraded := response.Body.(io.ReadWriteCloser)
	isUpgraded = isUpgraded && response.StatusCode == http.StatusSwitchingProtocols
	if isUpgraded || isEventStream(response.Header) {
		e.headAt = e.router.now()
		e.instance.hold(e)
	}
	if isUpgraded {
		response.Body = &upgraded{connection, e}
	} else {
		response.Body = &watched{ReadCloser: response.Body, exchange: e, gone: response.Request.Context().Done()}
	}
	return nil
}

// finish ends the claim and counts the request for its revision. A client
// that went away is no error of the instance's, nor is what a drain broke off.
func (e *exchange) finish() {
	if e.instance == nil {
		return
	}
	end := e.headAt
	if end.IsZero() {
		end = e.router.now()
	} else {
		e.instance.let(e)
	}
	failed := e.status >= http.StatusInternalServerError || e.broken && !e.instance.cutting.Load()
	e.instance.series.Observe(end.Sub(e.start), failed)
	e.instance.release()
}

// watched notes when an answer's body breaks off by the instance's doing.
type watched struct {
	io.ReadCloser
	exchange *exchange
	gone     <-chan struct{} // closed when the client has gone
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	select {
	case <-w.gone:
	default:
		w.exchange.broken = true
	}
	return n, err
}
