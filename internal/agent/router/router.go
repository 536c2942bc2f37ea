// Package router divides public requests between the instances of two sides.
//
// A request claims its instance under the read half of the lock whose write
// half every change takes: a split, an instance that comes or goes. When such
// a change has returned, no request is on its way to where it may not go.
package router

import (
	"log/slog"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// Options are what a router needs to know.
type Options struct {
	// TrustForwarded keeps and extends the X-Forwarded-* headers of clients;
	// only right behind another proxy that sets them.
	TrustForwarded bool
	Now            func() time.Time
	Log            *slog.Logger
}

// Router is an http.Handler for public traffic.
type Router struct {
	now   func() time.Time
	proxy *httputil.ReverseProxy

	mu      sync.RWMutex
	weights api.Weights
	told    map[api.Side]string // the weights in percent
	blue    pool
	green   pool

	turn     atomic.Uint64 // requests that the present split placed
	sessions atomic.Pointer[sessions]
	stats    stats
}

// Stats are the router's own counts since it began, of no one revision.
type Stats struct {
	Unserved uint64 // answered 503, no instance could take them
	Retried  uint64 // not written to an instance that refused, sent to another
	Diverted uint64 // taken by the other serving side for want of a ready instance
	Cut      uint64 // still in flight at the end of a drain
}

type stats struct{ unserved, retried, diverted, cut atomic.Uint64 }

// New makes a router that serves nobody until it has instances and a split.
func New(opts Options) *Router {
	r := &Router{now: opts.Now}
	r.proxy = newProxy(r, opts)
	return r
}

// Shift puts weights in force and returns since when: later requests are
// divided by them alone. inForce runs under the lock, at that moment.
func (r *Router) Shift(weights api.Weights, inForce func(at time.Time)) time.Time {
	to := api.Weights{api.Blue: weights[api.Blue], api.Green: weights[api.Green]}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.weights, r.told = to, percents(to)
	r.turn.Store(0)
	at := r.now()
	inForce(at)
	return at
}

// Stats returns the router's own counts.
func (r *Router) Stats() Stats {
	return Stats{
		Unserved: r.stats.unserved.Load(),
		Retried:  r.stats.retried.Load(),
		Diverted: r.stats.diverted.Load(),
		Cut:      r.stats.cut.Load(),
	}
}

// ServeHTTP takes one public request to an instance and its answer back.
func (r *Router) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	serving := &exchange{router: r, client: w, start: r.now()}
	defer serving.finish()
	r.proxy.ServeHTTP(w, request.WithContext(serving.in(request.Context())))
}

// claim is a request's place at an instance.
type claim struct {
	instance *Instance // nil: nobody could take the request
	weight   string    // of its side, in percent
	cookie   string    // to set, for a client that is new to its side
}

// claim picks an instance for a request, on a side with a weight, and counts
// the request as in flight there.
// A request that has to try again stays with its side, so that it counts once
// for the shares.
func (r *Router) claim(e *exchange) claim {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.weights) == 0 {
		return claim{}
	}
	sessions := r.sessions.Load()
	met := sessions.met(e.carried)
	stays := met != "" && r.weights[met] > 0
	if r.weights[e.side] == 0 {
		if e.side = met; !stays {
			e.side = r.side()
		}
	}
	for _, better := range []bool{true, false} {
		for _, side := range [...]api.Side{e.side, e.side.Other()} {
			if r.weights[side] == 0 {
				continue
			}
			chosen := r.pool(side).pick(better, e.tried)
			if chosen == nil {
				continue
			}
			if side != e.side {
				r.stats.diverted.Add(1)
			}
			claimed := claim{instance: chosen, weight: r.told[side]}
			if !stays {
				claimed.cookie = sessions.grant(side, e.secure)
			}
			return claimed
		}
	}
	return claim{}
}

// side is whose turn it is. Of the requests that no session places, the n-th
// since the last shift is green's when n*weight passes a multiple of the whole:
// shares are exact over every thousand of them and as evenly spread as they can
// be (Bresenham's line).
func (r *Router) side() api.Side {
	weight := uint64(r.weights[api.Green])
	n := r.turn.Add(1)
	if n*weight/api.Whole != (n-1)*weight/api.Whole {
		return api.Green
	}
	return api.Blue
}

func (r *Router) pool(side api.Side) *pool {
	if side == api.Green {
		return &r.green
	}
	return &r.blue
}
