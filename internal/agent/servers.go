package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"
)

// servers answer on both addresses.
type servers struct {
	public, admin net.Listener
	ownAdmin      bool // opened by an agent: the last one removes a unix socket
	front, back   *http.Server
	certificate   *certificate // nil: the public address speaks plain HTTP
	conns         connections
	leaving       atomic.Bool
	forward       atomic.Pointer[httputil.ReverseProxy]
}

// servers makes both, without their listeners.
func (a *agent) servers() (*servers, error) {
	s := &servers{}
	var err error
	if s.certificate, err = loadCertificate(a.opts.Certificate); err != nil {
		return nil, err
	}
	s.front = a.opts.Limits.server(s.onward(a.router))
	s.front.ConnState = s.conns.note
	s.front.TLSConfig = s.certificate.config()
	s.back = a.opts.Limits.server(s.relayed(a.handler()))
	for _, server := range []*http.Server{s.front, s.back} {
		server.ErrorLog = slog.NewLogLogger(a.opts.Log.Handler(), slog.LevelDebug)
	}
	return s, nil
}

// unlink tells whether closing the admin address removes its socket.
func (s *servers) unlink(removes bool) {
	if socket, ok := s.admin.(*net.UnixListener); ok && s.ownAdmin {
		socket.SetUnlinkOnClose(removes)
	}
}

func (s *servers) close() error {
	var faults []error
	for _, listener := range []net.Listener{s.public, s.admin} {
		if listener != nil {
			faults = append(faults, listener.Close())
		}
	}
	return errors.Join(faults...)
}

func (s *servers) serveFront() error {
	if s.certificate != nil {
		return s.front.ServeTLS(s.public, "", "")
	}
	return s.front.Serve(s.public)
}

// served takes the end of a server that was told to end for none.
func (s *servers) served(name string, err error) error {
	if errors.Is(err, http.ErrServerClosed) || s.leaving.Load() && errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("%s address: %w", name, err)
}

// onward has clients open their next connection elsewhere once this agent leaves.
func (s *servers) onward(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.leaving.Load() && r.Header.Get("Upgrade") == "" {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// relayed has the successor answer what reaches this agent's admin connections
// once it took charge.
func (s *servers) relayed(own http.Handler) http.Handler {
	return s.onward(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if successor := s.forward.Load(); successor != nil {
			successor.ServeHTTP(w, r)
			return
		}
		own.ServeHTTP(w, r)
	}))
}

func (s *servers) forwardAdmin() {
	at := s.admin.Addr()
	s.forward.Store(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "agent" },
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, at.Network(), at.String())
			},
		},
	})
}

// connections counts those that a server has.
type connections struct {
	mu      sync.Mutex
	open    int
	changed chan struct{} // closed at the next change, if somebody waits
}

// note is an http.Server's ConnState. A connection that was upgraded is the
// router's.
func (c *connections) note(_ net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.open++
	case http.StateClosed, http.StateHijacked:
		c.open--
	case http.StateActive, http.StateIdle:
		return
	}
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// none returns once there is no connection, or after some time.
func (c *connections) none(ctx context.Context, atMost time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	for {
		c.mu.Lock()
		open := c.open
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		if open == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}
