package probe_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/ledger"
	"github.com/gapless-deploy/gapless/internal/probe"
)

// server answers each request by the next of its manners and counts them.
type server struct {
	*httptest.Server
	requests atomic.Int64
	conns    atomic.Int64
}

func newServer(t *testing.T, answer func(n int64, w http.ResponseWriter, r *http.Request)) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer(s.requests.Add(1), w, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// cut ends the connection without a word more.
func cut() { panic(http.ErrAbortHandler) }

func TestEveryFailureIsCountedOnce(t *testing.T) {
	const sent = 60
	enough := make(chan struct{})
	s := newServer(t, func(n int64, w http.ResponseWriter, _ *http.Request) {
		if n == sent {
			close(enough)
		}
		w.Header().Set(ledger.HeaderRevision, "new")
		switch n % 5 {
		case 0:
			cut()
		case 1:
			w.Header().Set("Content-Length", "100")
			if _, err := fmt.Fprint(w, "half of it"); err != nil {
				t.Error(err)
			}
			cut()
		case 2:
			w.WriteHeader(http.StatusInternalServerError)
		case 3:
			w.Header().Set(ledger.HeaderError, "no instance")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	l := ledger.New(ledger.Options{Candidate: "new"})
	p, err := probe.Start(t.Context(), probe.Options{URL: s.URL, Every: time.Millisecond}, l)
	if err != nil {
		t.Fatal(err)
	}
	<-enough
	p.Stop()

	total := s.requests.Load()
	got := l.Summary()
	if got.Requests != total {
		t.Errorf("%d requests were counted, the server met %d", got.Requests, total)
	}
	of := func(rest int64) int64 { return (total + 5 - rest) / 5 } // how many n <= total with n%5 == rest, rest > 0
	if want := total/5 + of(1) + of(3); got.Dropped != want {
		t.Errorf("%d dropped, want %d: %+v", got.Dropped, want, got.Causes)
	}
	if want := of(2); got.CandidateBad != want {
		t.Errorf("%d of the candidate's own, want %d", got.CandidateBad, want)
	}
	if got.Missed != 0 {
		t.Errorf("%d missed, want none", got.Missed)
	}
}

func TestHalfOfTheProbesOpenAConnection(t *testing.T) {
	const sent = 40
	enough := make(chan struct{})
	s := newServer(t, func(n int64, _ http.ResponseWriter, _ *http.Request) {
		if n == sent {
			close(enough)
		}
	})
	l := ledger.New(ledger.Options{})
	p, err := probe.Start(t.Context(), probe.Options{URL: s.URL, Every: 2 * time.Millisecond}, l)
	if err != nil {
		t.Fatal(err)
	}
	<-enough
	p.Stop()
	fresh := (s.requests.Load() + 1) / 2
	if conns := s.conns.Load(); conns <= fresh || conns > fresh+5 {
		t.Errorf("%d connections for %d requests, want one for every other and a few kept", conns, s.requests.Load())
	}
	if got := l.Summary(); got.Dropped != 0 {
		t.Errorf("%d dropped by a good server: %+v", got.Dropped, got.Causes)
	}
}

func TestNobodyListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	l := ledger.New(ledger.Options{})
	p, err := probe.Start(t.Context(), probe.Options{URL: url}, l)
	if err != nil {
		t.Fatal(err)
	}
	p.Stop()
	got := l.Summary()
	if got.Requests != 1 || got.Dropped != 1 || got.Causes[0].What != "connection refused" {
		t.Errorf("got %+v, want one refused", got)
	}
}

// A client that retries hides the gap: net/http would, on a kept connection
// that breaks before the answer.
func TestABrokenKeptConnectionIsNotRetried(t *testing.T) {
	for method, body := range map[string]string{http.MethodGet: "", http.MethodPut: "{}"} {
		t.Run(method, func(t *testing.T) {
			s := newServer(t, func(n int64, _ http.ResponseWriter, _ *http.Request) {
				if n == 2 {
					cut()
				}
			})
			client := probe.NewClient(probe.ClientOptions{})
			defer client.Close()
			for i, wantErr := range []bool{false, true, false} {
				reply, err := client.Do(t.Context(), method, s.URL, []byte(body))
				if err != nil {
					t.Fatal(err)
				}
				if (reply.Err != nil) != wantErr {
					t.Errorf("request %d: %v, want failure %t", i+1, reply.Err, wantErr)
				}
			}
			if n := s.requests.Load(); n != 3 {
				t.Errorf("the server met %d requests, 3 were sent", n)
			}
		})
	}
}

func TestAGetHasNoBody(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	}()
	head := make(chan string, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}()
		lines := bufio.NewScanner(conn)
		var all strings.Builder
		for lines.Scan() && lines.Text() != "" {
			all.WriteString(strings.ToLower(lines.Text()) + "\n")
		}
		head <- all.String()
		if _, err := fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
			t.Error(err)
		}
	}()
	reply, err := probe.NewClient(probe.ClientOptions{Fresh: true}).Do(t.Context(), http.MethodGet, "http://"+listener.Addr().String(), nil)
	if err != nil || reply.Err != nil || reply.Status != http.StatusOK {
		t.Fatalf("got %+v, %v", reply, err)
	}
	if got := <-head; strings.Contains(got, "transfer-encoding") || strings.Contains(got, "content-length") {
		t.Errorf("a GET was sent with a body:\n%s", got)
	}
}

func TestAHungServerIsBounded(t *testing.T) {
	release := make(chan struct{})
	s := newServer(t, func(int64, http.ResponseWriter, *http.Request) { <-release })
	l := ledger.New(ledger.Options{})
	p, err := probe.Start(t.Context(), probe.Options{
		URL: s.URL, Every: time.Millisecond, Waiting: 3, Timeout: 300 * time.Millisecond}, l)
	if err != nil {
		t.Fatal(err)
	}
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for l.Summary().Missed < 20 || l.Summary().Requests == 0 {
		<-look.C
	}
	p.Stop()
	close(release)
	got := l.Summary()
	if got.Dropped != got.Requests || len(got.Causes) != 1 || got.Causes[0].What != "no answer in time" {
		t.Errorf("got %+v, want all without an answer in time", got)
	}
	if met := s.requests.Load(); met > got.Requests {
		t.Errorf("the server met %d requests, %d are accounted for", met, got.Requests)
	}
}

func TestWithdrawnIsNotDropped(t *testing.T) {
	reached := make(chan struct{}, 64)
	s := newServer(t, func(_ int64, _ http.ResponseWriter, r *http.Request) {
		reached <- struct{}{}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	l := ledger.New(ledger.Options{})
	p, err := probe.Start(ctx, probe.Options{URL: s.URL}, l)
	if err != nil {
		t.Fatal(err)
	}
	<-reached
	cancel()
	p.Stop()
	if got := l.Summary(); got.Requests != 0 || got.Dropped != 0 {
		t.Errorf("what the client gave up itself was counted: %+v", got)
	}
	_, err = probe.NewClient(probe.ClientOptions{}).Do(ctx, http.MethodGet, s.URL, nil)
	if !errors.Is(err, probe.ErrWithdrawn) {
		t.Errorf("got %v, want %v", err, probe.ErrWithdrawn)
	}
}

func TestARedirectIsTheAnswer(t *testing.T) {
	s := newServer(t, func(_ int64, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	reply, err := probe.NewClient(probe.ClientOptions{Fresh: true}).Do(t.Context(), http.MethodGet, s.URL, nil)
	if err != nil || reply.Status != http.StatusFound || s.requests.Load() != 1 {
		t.Errorf("got %d after %d requests, %v; want the redirect itself", reply.Status, s.requests.Load(), err)
	}
}

func TestURLIsChecked(t *testing.T) {
	for _, url := range []string{"", "healthz", "ftp://example.com/", "http://", "http://[::1", "http:///x"} {
		if _, err := probe.Start(t.Context(), probe.Options{URL: url}, ledger.New(ledger.Options{})); err == nil {
			t.Errorf("%q was accepted", url)
		}
	}
}
