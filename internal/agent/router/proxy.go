package router

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
)

// newProxy makes the part that knows HTTP: hop-by-hop headers, upgrades,
// flushing of streams, trailers, early hints.
func newProxy(r *Router, opts Options) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.Out.URL.Scheme = "http"
			request.Out.URL.Host = "instance" // each instance's transport knows where it is
			request.Out.Host = request.In.Host
			request.Out.URL.RawQuery = request.In.URL.RawQuery
			forwarded(request, opts.TrustForwarded)
			r.recognise(request)
		},
		Transport:      transport{r},
		BufferPool:     &buffers{},
		ModifyResponse: answered,
		ErrorHandler:   r.failed,
		ErrorLog:       slog.NewLogLogger(opts.Log.Handler(), slog.LevelDebug),
	}
}

// forwarded tells the instance who asked. Without trust, what the client
// claimed about itself is dropped.
func forwarded(request *httputil.ProxyRequest, trust bool) {
	if !trust {
		request.SetXForwarded()
		return
	}
	in, out := request.In.Header, request.Out.Header
	out["X-Forwarded-For"] = in["X-Forwarded-For"]
	request.SetXForwarded()
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "Forwarded"} {
		if given := in.Values(name); len(given) > 0 {
			out[name] = given
		}
	}
}

// recognise reads what the client carries of its session; the instance is not
// told.
func (r *Router) recognise(request *httputil.ProxyRequest) {
	sessions := r.sessions.Load()
	if sessions == nil {
		return
	}
	if e, ok := request.In.Context().Value(exchangeKey{}).(*exchange); ok {
		e.carried, e.secure = sessions.take(request.Out.Header), overTLS(request.Out.Header)
	}
}

// failed answers in place of an instance that could not.
func (r *Router) failed(w http.ResponseWriter, request *http.Request, err error) {
	e, ok := request.Context().Value(exchangeKey{}).(*exchange)
	switch {
	case errors.Is(err, errUnserved):
		r.stats.unserved.Add(1)
		w.Header().Set("Retry-After", "1")
		w.Header().Set(headerError, "no instance is ready")
		http.Error(w, "no instance is ready; try again soon", http.StatusServiceUnavailable)
	case errors.Is(err, context.Canceled) && request.Context().Err() != nil:
		w.WriteHeader(499) // nobody reads it: the client has gone
	default:
		if ok {
			e.broken = true
		}
		if ok && e.instance != nil {
			e.tell(w.Header())
		}
		w.Header().Set(headerError, "the instance did not answer")
		http.Error(w, "the instance did not answer", http.StatusBadGateway)
	}
}

func isEventStream(header http.Header) bool {
	media, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(media), "text/event-stream")
}

const bufferSize = 32 << 10

// buffers lends the memory that bodies are copied through.
type buffers struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if lent, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return lent[:]
	}
	return make([]byte, bufferSize)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(buffer []byte) {
	if cap(buffer) >= bufferSize {
		b.pool.Put((*[bufferSize]byte)(buffer[:bufferSize]))
	}
}
