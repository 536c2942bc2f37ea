package agent

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Limits bound what one client may take of the agent.
type Limits struct {
	// Header is the largest head of a request, in bytes (default 64 KiB).
	Header int
	// HeaderTimeout is how long a client may take to send it (default 10s).
	HeaderTimeout time.Duration
	// Idle is how long a connection stays open without a request (default 75s:
	// longer than the load balancers commonly found in front leave theirs, so
	// that they never meet a connection being closed).
	Idle time.Duration
	// SlowClient is the longest time without progress in sending a request's
	// body or taking an answer (default 60s). Pauses of the service are not the
	// client's, and an upgraded connection may be silent for as long as it likes.
	SlowClient time.Duration
}

func (l Limits) withDefaults() Limits {
	if l.Header == 0 {
		l.Header = 64 << 10
	}
	if l.HeaderTimeout == 0 {
		l.HeaderTimeout = 10 * time.Second
	}
	if l.Idle == 0 {
		l.Idle = 75 * time.Second
	}
	if l.SlowClient == 0 {
		l.SlowClient = time.Minute
	}
	return l
}

// slack is what net/http allows over MaxHeaderBytes.
const slack = 4 << 10

func (l Limits) check() error {
	var faults []error
	if l.Header < 2*slack {
		faults = append(faults, fmt.Errorf("largest header: %d bytes, must be at least %d", l.Header, 2*slack))
	}
	for _, limit := range []struct {
		name string
		time time.Duration
	}{{"header timeout", l.HeaderTimeout}, {"idle", l.Idle}, {"slow client", l.SlowClient}} {
		if limit.time < 0 {
			faults = append(faults, fmt.Errorf("%s: %s must not be negative", limit.name, limit.time))
		}
	}
	return errors.Join(faults...)
}

// server makes a server that keeps within the limits. What a handler has to say
// on a client's progress is the router's.
func (l Limits) server(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: l.HeaderTimeout, IdleTimeout: l.Idle,
		MaxHeaderBytes: l.Header - slack,
		HTTP2:          &http.HTTP2Config{WriteByteTimeout: l.SlowClient},
	}
}
