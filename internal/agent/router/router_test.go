package router_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/agent/router"
	"github.com/gapless-deploy/gapless/internal/agent/tally"
)

type stage struct {
	*router.Router
	cleanup func(func())
	book    *tally.Book
}

func newStage(t *testing.T, opts router.Options) *stage {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.Log = slog.New(slog.DiscardHandler)
	return &stage{Router: router.New(opts), cleanup: t.Cleanup, book: tally.NewBook(time.Now(), 100)}
}

func (s *stage) key(side api.Side) tally.Key {
	return tally.Key{Side: side, Revision: api.Revision{ID: string(side)}}
}

// add makes an address a ready instance.
func (s *stage) add(side api.Side, address string) *router.Instance {
	in := s.Add(address, s.key(side), s.book.Series(s.key(side), 0))
	in.Ready(true)
	return in
}

// serve starts an instance that answers by handler.
func (s *stage) serve(side api.Side, handler http.HandlerFunc) *router.Instance {
	server := httptest.NewServer(handler)
	s.cleanup(server.Close)
	return s.add(side, server.Listener.Addr().String())
}

func (s *stage) split(blue, green int) {
	s.Shift(api.Weights{api.Blue: blue, api.Green: green}, func(time.Time) {})
}

// public is the router behind a real listener.
func (s *stage) public() string {
	front := httptest.NewServer(s)
	s.cleanup(front.Close)
	return front.URL
}

// say leaves it to the test to see what is missing.
func say(w io.Writer, word string) { io.WriteString(w, word) } //nolint:errcheck // see above

func says(word string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { say(w, word) }
}

// ask sends a request straight into the router.
func (s *stage) ask(method, path string, body io.Reader) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, httptest.NewRequest(method, path, body))
	return rec
}

// deadAddress is one that refuses connections.
func deadAddress(t testing.TB) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}

func TestSharesAreExactOverAThousandRequestsAndEvenlySpread(t *testing.T) {
	for _, green := range []int{0, 1, 10, 333, 500, 999, 1000} {
		t.Run(fmt.Sprint(green), func(t *testing.T) {
			s := newStage(t, router.Options{})
			s.serve(api.Blue, says("blue"))
			s.serve(api.Green, says("green"))
			s.split(1000-green, green)
			got, early := 0, 0
			for i := range 1000 {
				if s.ask(http.MethodGet, "/", nil).Body.String() == "green" {
					got++
				}
				if i == 499 {
					early = got
				}
			}
			if got != green || early < green/2-1 || early > green/2+1 {
				t.Errorf("green had %d of 1000 requests, %d of the first 500, want %d", got, early, green)
			}
		})
	}
}

func TestSharesAreExactFromConcurrentClients(t *testing.T) {
	s := newStage(t, router.Options{})
	var green atomic.Int64
	s.serve(api.Blue, says("blue"))
	s.serve(api.Green, func(http.ResponseWriter, *http.Request) { green.Add(1) })
	s.split(997, 3)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for range 100 {
				s.ask(http.MethodGet, "/", nil)
			}
		})
	}
	all.Wait()
	if green.Load() != 3 {
		t.Errorf("green had %d of 1000 requests, want 3", green.Load())
	}
}

func TestInstancesShareTheLoad(t *testing.T) {
	s := newStage(t, router.Options{})
	var hits [4]atomic.Int64
	for i := range hits {
		s.serve(api.Blue, func(http.ResponseWriter, *http.Request) { hits[i].Add(1) })
	}
	s.split(1000, 0)
	for range 100 {
		s.ask(http.MethodGet, "/", nil)
	}
	for i := range hits {
		if n := hits[i].Load(); n < 20 || n > 30 {
			t.Errorf("instance %d had %d of 100 requests, want about 25", i, n)
		}
	}
}

func TestABusyInstanceIsPassedOver(t *testing.T) {
	s := newStage(t, router.Options{})
	release, entered := make(chan struct{}), make(chan struct{})
	s.serve(api.Blue, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			entered <- struct{}{}
			<-release
		}
		say(w, "one")
	})
	held := make(chan struct{})
	s.split(1000, 0)
	go func() { defer close(held); s.ask(http.MethodGet, "/hold", nil) }()
	<-entered
	s.serve(api.Blue, says("two"))
	for range 10 {
		if got := s.ask(http.MethodGet, "/", nil).Body.String(); got != "two" {
			t.Errorf("answered by %s, which has a request in flight", got)
		}
	}
	close(release)
	<-held
}

func TestWithoutAnyInstanceTheClientIsToldToComeBack(t *testing.T) {
	s := newStage(t, router.Options{})
	check := func(when string) {
		rec := s.ask(http.MethodGet, "/", nil)
		if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" {
			t.Errorf("%s: status %d, headers %v", when, rec.Code, rec.Header())
		}
	}
	check("before any split")
	s.serve(api.Green, says("green"))
	s.split(1000, 0)
	check("with instances only on a side without a weight")
	s.add(api.Blue, deadAddress(t))
	check("with an instance that refuses connections")
	if got := s.Stats().Unserved; got != 3 {
		t.Errorf("%d unserved requests counted, want 3", got)
	}
}

func TestWhatWasNotWrittenGoesToAnotherInstanceWithItsBody(t *testing.T) {
	s := newStage(t, router.Options{})
	for range 3 {
		s.add(api.Blue, deadAddress(t))
	}
	s.serve(api.Blue, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		say(w, string(body))
	})
	s.split(1000, 0)
	for i := range 8 {
		body := strings.Repeat("x", i*10_000) // some fit into what is kept, some do not
		rec := s.ask(http.MethodPost, "/", strings.NewReader(body))
		if rec.Code != http.StatusOK || rec.Body.String() != body {
			t.Errorf("POST of %d bytes: status %d, %d bytes back", len(body), rec.Code, rec.Body.Len())
		}
	}
	if s.Stats().Retried == 0 {
		t.Error("no retry was counted")
	}
}

func TestWhatMayHaveBeenSeenIsNeverSentAgain(t *testing.T) {
	s := newStage(t, router.Options{})
	var seen atomic.Int64
	for range 2 {
		s.serve(api.Blue, func(http.ResponseWriter, *http.Request) {
			seen.Add(1)
			panic(http.ErrAbortHandler) // the connection breaks without an answer
		})
	}
	s.split(1000, 0)
	if rec := s.ask(http.MethodPost, "/order", strings.NewReader("one")); rec.Code != http.StatusBadGateway {
		t.Errorf("status %d, want 502", rec.Code)
	}
	if seen.Load() != 1 {
		t.Errorf("the order was sent %d times", seen.Load())
	}
	if got := s.book.Totals()[s.key(api.Blue)]; got.Requests != 1 || got.Errors != 1 {
		t.Errorf("counted %d requests, %d errors, want one failed request", got.Requests, got.Errors)
	}
}

func TestTheOtherServingSideTakesOverForADeadOne(t *testing.T) {
	s := newStage(t, router.Options{})
	s.serve(api.Blue, says("blue"))
	s.add(api.Green, deadAddress(t))
	s.split(500, 500)
	for range 10 {
		if rec := s.ask(http.MethodGet, "/", nil); rec.Body.String() != "blue" {
			t.Fatalf("status %d, %q", rec.Code, rec.Body)
		}
	}
}

func TestClientsThatGoAwayAreNoErrorsOfTheRevision(t *testing.T) {
	s := newStage(t, router.Options{})
	entered := make(chan struct{})
	s.serve(api.Blue, func(_ http.ResponseWriter, r *http.Request) { close(entered); <-r.Context().Done() })
	s.split(1000, 0)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
	if got := s.book.Totals()[s.key(api.Blue)]; got.Requests != 1 || got.Errors != 0 {
		t.Errorf("counted %d requests, %d errors, want one request without an error", got.Requests, got.Errors)
	}
}

func TestABrokenAnswerIsAnErrorOfTheRevision(t *testing.T) {
	s := newStage(t, router.Options{})
	s.serve(api.Blue, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		say(w, "the beginning")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	})
	s.split(1000, 0)
	if response, err := http.Get(s.public()); err == nil {
		if _, err := io.ReadAll(response.Body); err == nil {
			t.Error("the client took half an answer for a whole one")
		}
		if err := response.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	counted := func() tally.Totals { return s.book.Totals()[s.key(api.Blue)] }
	for deadline := time.Now().Add(5 * time.Second); counted().Requests == 0 && time.Now().Before(deadline); {
		<-time.After(time.Millisecond)
	}
	if got := counted(); got.Errors != 1 {
		t.Errorf("counted %+v, want one error", got)
	}
}

func TestHeadersTellTheInstanceWhoAsked(t *testing.T) {
	var seen http.Header
	var host, query string
	instance := func(_ http.ResponseWriter, r *http.Request) {
		seen, host, query = r.Header.Clone(), r.Host, r.URL.RawQuery
	}
	for _, trust := range []bool{false, true} {
		s := newStage(t, router.Options{TrustForwarded: trust})
		s.serve(api.Blue, instance)
		s.split(1000, 0)
		request := httptest.NewRequest(http.MethodGet, "/a%2Fb?x=1;y=2&z=%zz", nil)
		request.Host, request.RemoteAddr = "shop.example.com", "203.0.113.9:4711"
		request.Header = http.Header{
			"X-Forwarded-For": {"198.51.100.7"}, "X-Forwarded-Proto": {"https"},
			"Connection": {"X-Hop"}, "X-Hop": {"1"}, "Cookie": {"a=b"},
		}
		s.ServeHTTP(httptest.NewRecorder(), request)
		want := "203.0.113.9"
		proto := "http"
		if trust {
			want, proto = "198.51.100.7, 203.0.113.9", "https"
		}
		if got := seen.Get("X-Forwarded-For"); got != want {
			t.Errorf("trust %v: X-Forwarded-For %q, want %q", trust, got, want)
		}
		if got := seen.Get("X-Forwarded-Proto"); got != proto {
			t.Errorf("trust %v: X-Forwarded-Proto %q, want %q", trust, got, proto)
		}
		if seen.Get("X-Hop") != "" || seen.Get("Cookie") != "a=b" || host != "shop.example.com" || query != "x=1;y=2&z=%zz" {
			t.Errorf("trust %v: instance saw host %q, query %q, headers %v", trust, host, query, seen)
		}
	}
}

func TestTrailersAndEarlyHintsPass(t *testing.T) {
	s := newStage(t, router.Options{})
	s.serve(api.Blue, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "X-Sum")
		say(w, "body")
		w.Header().Set("X-Sum", "42")
	})
	s.split(1000, 0)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.public(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // only read from
	say(conn, "GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: close\r\n\r\n")
	raw, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"HTTP/1.1 103 Early Hints", "rel=preload", "X-Sum: 42"} {
		if !strings.Contains(string(raw), part) {
			t.Errorf("answer lacks %q:\n%s", part, raw)
		}
	}
}

// Instances come, take a share and are drained while requests keep coming: a
// drained one must never be asked again, and no request may fail.
func TestNoClaimReachesADrainedInstance(t *testing.T) {
	s := newStage(t, router.Options{})
	s.serve(api.Blue, says("steady"))
	s.split(1000, 0)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				if rec := s.ask(http.MethodGet, "/", nil); rec.Code != http.StatusOK {
					t.Error(rec.Code, rec.Body)
				}
			}
		})
	}
	defer all.Wait()
	defer stop()
	for round := range 40 {
		var drained atomic.Bool
		var served atomic.Int64
		side, green := api.Blue, 0
		if round%2 == 1 {
			side, green = api.Green, 1+round*999/39
		}
		in := s.serve(side, func(http.ResponseWriter, *http.Request) {
			served.Add(1)
			if drained.Load() {
				t.Errorf("round %d: a drained instance was asked", round)
			}
		})
		s.split(1000-green, green)
		for served.Load() < 5 {
			s.ask(http.MethodGet, "/", nil)
		}
		if side == api.Green {
			s.split(1000, 0)
		}
		if cut := in.Drain(context.Background()); cut != 0 {
			t.Errorf("round %d: cut %d requests without a deadline", round, cut)
		}
		drained.Store(true)
	}
}
