package router_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/agent/router"
)

// patient bounds what must happen soon.
const patient = 10 * time.Second

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patient); !holds(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// endless is an instance with a WebSocket (/socket), which says again what it
// hears, and events (/events), one for each word of more. Both begin with its
// name and go on until the client ends them or they are told "end". ended, if
// not nil, is told of each that has.
func endless(name string, ended chan<- string, more ...<-chan string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/socket" {
			echo(w, r, name)
		} else {
			var words <-chan string
			if len(more) > 0 {
				words = more[0]
			}
			events(w, r, name, words)
		}
		if ended != nil {
			ended <- r.URL.Path
		}
	}
}

func echo(w http.ResponseWriter, r *http.Request, name string) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow() //nolint:errcheck // it has ended
	for said := []byte(name); conn.Write(r.Context(), websocket.MessageText, said) == nil; {
		if _, said, err = conn.Read(r.Context()); err != nil {
			return
		}
		if string(said) == "end" {
			conn.Close(websocket.StatusNormalClosure, "") //nolint:errcheck // the client sees what is missing
			return
		}
	}
}

func events(w http.ResponseWriter, r *http.Request, name string, more <-chan string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for word := name; word != "end"; {
		say(w, "data: "+word+"\n\n")
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case word = <-more:
		case <-r.Context().Done():
			return
		}
	}
}

func newJar(t *testing.T) http.CookieJar {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return jar
}

func openSocket(t *testing.T, client *http.Client, public string) (*websocket.Conn, http.Header) {
	t.Helper()
	conn, response, err := websocket.Dial(t.Context(), public+"/socket", &websocket.DialOptions{HTTPClient: client}) //nolint:bodyclose // the connection owns it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() }) //nolint:errcheck // it has ended
	return conn, response.Header
}

// hear reads one message.
func hear(t *testing.T, conn *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	_, heard, err := conn.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return string(heard)
}

// stream is a client of /events.
type stream struct {
	lines *bufio.Scanner
	leave func()
}

func openEvents(t *testing.T, client *http.Client, public string) *stream {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, public+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(); response.Body.Close() }) //nolint:errcheck // everything was read
	return &stream{lines: bufio.NewScanner(response.Body), leave: leave}
}

// next is the line of the next event, or how the stream ended.
func (s *stream) next(t *testing.T) string {
	t.Helper()
	line := make(chan string, 1)
	go func() {
		for s.lines.Scan() {
			if s.lines.Text() != "" { // which is what ends an event
				line <- s.lines.Text()
				return
			}
		}
		line <- fmt.Sprint("ended: ", s.lines.Err())
	}()
	select {
	case got := <-line:
		return got
	case <-time.After(patient):
		t.Fatal("the stream neither goes on nor ends")
		return ""
	}
}

// drained runs a drain that lasts until cancel is called.
func drained(in *router.Instance) (cut <-chan int, cancel func()) {
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan int, 1)
	go func() { result <- in.Drain(ctx) }()
	return result, cancel
}

func received[T any](t *testing.T, what string, from <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-from:
	case <-time.After(patient):
		t.Fatalf("still not: %s", what)
	}
	return got
}

func TestOpenConnectionsOutliveASwitchAndAreCutAtTheDeadline(t *testing.T) {
	var later atomic.Int64
	s := newStage(t, router.Options{Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }})
	slowOver := 10 * time.Minute
	ended, more := make(chan string, 2), make(chan string)
	server := httptest.NewServer(endless("blue", ended, more))
	t.Cleanup(server.Close)
	blue := s.Add(server.Listener.Addr().String(), s.key(api.Blue), s.book.Series(s.key(api.Blue), slowOver))
	blue.Ready(true)
	s.serve(api.Green, says("green"))
	s.split(1000, 0)
	public := s.public()
	socket, _ := openSocket(t, http.DefaultClient, public)
	hear(t, socket)
	feed := openEvents(t, http.DefaultClient, public)
	feed.next(t)

	s.split(0, 1000)
	if err := socket.Write(t.Context(), websocket.MessageText, []byte("still")); err != nil {
		t.Fatal(err)
	}
	if got := hear(t, socket); got != "still" {
		t.Errorf("after the switch the socket says %q", got)
	}
	more <- "still"
	if got := feed.next(t); got != "data: still" {
		t.Errorf("after the switch the stream says %q", got)
	}

	cut, deadline := drained(blue)
	more <- "draining"
	if got := feed.next(t); got != "data: draining" {
		t.Errorf("in the drain the stream says %q", got)
	}
	later.Store(int64(time.Hour))
	deadline()
	if got := received(t, "the drain's end", cut); got != 2 || s.Stats().Cut != 2 {
		t.Errorf("cut %d, counted %d, want both connections", got, s.Stats().Cut)
	}
	if got := feed.next(t); got != "ended: unexpected EOF" {
		t.Errorf("the stream that was cut %s, want it to be seen as broken off", got)
	}
	if _, _, err := socket.Read(t.Context()); err == nil {
		t.Error("the socket that was cut still speaks")
	}
	received(t, "the instance's end of one", ended)
	received(t, "the instance's end of the other", ended)
	if got := s.book.Totals()[s.key(api.Blue)]; got.Requests != 2 || got.Errors != 0 || got.Slow != 0 {
		t.Errorf("counted %d requests, %d errors, %d slow; what was cut after an hour is neither", got.Requests, got.Errors, got.Slow)
	}
}

func TestWhatEndsByItselfInADrainIsNotCut(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, public string, more chan<- string) (end func()){
		"the instance closes the socket": func(t *testing.T, public string, _ chan<- string) func() {
			conn, _ := openSocket(t, http.DefaultClient, public)
			hear(t, conn)
			return func() {
				if err := conn.Write(t.Context(), websocket.MessageText, []byte("end")); err != nil {
					t.Error(err)
				}
				if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
					t.Errorf("the socket ended with %v, want the instance's farewell", err)
				}
			}
		},
		"the client closes the socket": func(t *testing.T, public string, _ chan<- string) func() {
			conn, _ := openSocket(t, http.DefaultClient, public)
			hear(t, conn)
			return func() {
				if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
					t.Error(err)
				}
			}
		},
		"the client of a socket vanishes": func(t *testing.T, public string, _ chan<- string) func() {
			conn, _ := openSocket(t, http.DefaultClient, public)
			hear(t, conn)
			return func() { conn.CloseNow() } //nolint:errcheck // that is the way
		},
		"the instance ends the stream": func(t *testing.T, public string, more chan<- string) func() {
			feed := openEvents(t, http.DefaultClient, public)
			feed.next(t)
			return func() {
				more <- "end"
				if got := feed.next(t); got != "ended: <nil>" {
					t.Errorf("the stream %s, want a proper end", got)
				}
			}
		},
		"the client of a stream goes away": func(t *testing.T, public string, _ chan<- string) func() {
			feed := openEvents(t, http.DefaultClient, public)
			feed.next(t)
			return feed.leave
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, router.Options{})
			more := make(chan string)
			blue := s.serve(api.Blue, endless("blue", nil, more))
			s.split(1000, 0)
			end := end(t, s.public(), more)
			cut, deadline := drained(blue)
			defer deadline()
			if n := blue.InFlight(); n != 1 {
				t.Errorf("%d in flight in the drain, want 1", n)
			}
			end()
			if got := received(t, "the drain's end", cut); got != 0 || s.Stats().Cut != 0 {
				t.Errorf("cut %d, counted %d, want none", got, s.Stats().Cut)
			}
			if got := s.book.Totals()[s.key(api.Blue)]; got.Requests != 1 || got.Errors != 0 {
				t.Errorf("counted %d requests, %d errors, want one request without an error", got.Requests, got.Errors)
			}
		})
	}
}

// raw opens a connection, sends a request and reads nothing.
func raw(t *testing.T, public, head string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(public, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() }) //nolint:errcheck // it has ended
	say(conn, head+"\r\nHost: x\r\n\r\n")
	return conn
}

const upgrade = "GET /socket HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: raw"

// hijack makes the instance's end of a request its connection.
func hijack(t *testing.T, w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		panic(http.ErrAbortHandler)
	}
	say(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
	return conn
}

// A client that takes nothing keeps its handler in the middle of a write, where
// the end of the instance's connection is not noticed.
func TestACutReachesClientsThatTakeNothing(t *testing.T) {
	for name, head := range map[string]string{"socket": upgrade, "stream": "GET /events HTTP/1.1"} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, router.Options{})
			var sent atomic.Int64
			ended := make(chan struct{})
			blue := s.serve(api.Blue, func(w http.ResponseWriter, r *http.Request) {
				defer close(ended)
				to := io.Writer(w)
				if r.URL.Path == "/socket" {
					conn := hijack(t, w)
					defer conn.Close() //nolint:errcheck // it was cut
					to = conn
				} else {
					w.Header().Set("Content-Type", "text/event-stream")
				}
				for chunk := make([]byte, 64<<10); ; sent.Add(1) {
					if _, err := to.Write(chunk); err != nil {
						return
					}
				}
			})
			s.split(1000, 0)
			raw(t, s.public(), head)
			eventually(t, "stuck", func() bool {
				before := sent.Load()
				<-time.After(50 * time.Millisecond)
				return before > 0 && sent.Load() == before
			})
			cut, deadline := drained(blue)
			deadline()
			if got := received(t, "the drain's end", cut); got != 1 || blue.InFlight() != 0 {
				t.Errorf("cut %d, %d still in flight, want 1 and none", got, blue.InFlight())
			}
			received(t, "the instance's end", ended)
			if got := s.book.Totals()[s.key(api.Blue)]; got.Requests != 1 || got.Errors != 0 {
				t.Errorf("counted %d requests, %d errors, want one request without an error", got.Requests, got.Errors)
			}
		})
	}
}

// What an instance has closed is over, also for a client that keeps its half open.
func TestASleepingClientDoesNotHoldWhatItsInstanceHasEnded(t *testing.T) {
	s := newStage(t, router.Options{})
	blue := s.serve(api.Blue, func(w http.ResponseWriter, _ *http.Request) {
		conn := hijack(t, w)
		say(conn, "farewell")
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	s.split(1000, 0)
	conn := raw(t, s.public(), upgrade)
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasSuffix(string(answer), "farewell") {
		t.Errorf("the client heard %q, %v", answer, err)
	}
	cut, deadline := drained(blue)
	defer deadline()
	if got := received(t, "the drain's end", cut); got != 0 {
		t.Errorf("cut %d, want none", got)
	}
}
