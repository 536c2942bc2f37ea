package agent_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/gapless-deploy/gapless/internal/agent"
	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// told keeps what is logged.
type told struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *told) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *told) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

func (l *told) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

const slow = 300 * time.Millisecond

// limited starts an agent with one instance and low limits.
func limited(t *testing.T) *host {
	t.Helper()
	opts := options(t)
	opts.Limits = agent.Limits{Header: 8 << 10, HeaderTimeout: slow, Idle: slow, SlowClient: slow}
	h := start(t, opts)
	h.launch(api.Blue, "v1", spec("v1", 1))
	h.shift(1000, 0)
	return h
}

// open connects and sends text. The small buffer lets a client that takes
// nothing be noticed soon.
func open(t *testing.T, address, text string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() }) //nolint:errcheck // may be closed already
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		t.Fatalf("connection is %T", conn)
	}
	if err := errors.Join(tcp.SetReadBuffer(4<<10), tcp.SetDeadline(time.Now().Add(patient))); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(tcp, text); err != nil {
		t.Fatal(err)
	}
	return tcp
}

// status reads an answer's, 0 when the connection was closed without one.
func status(t *testing.T, conn net.Conn) int {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the connection was not ended")
	}
	if err != nil {
		return 0
	}
	response.Body.Close() //nolint:errcheck // not looked at
	return response.StatusCode
}

// unblamed asserts that the instance is not held to account.
func (h *host) unblamed(t *testing.T) {
	t.Helper()
	for _, s := range h.counted(t, 1) {
		if s.Errors != 0 {
			t.Errorf("a client's slowness counts as %d errors of the instance", s.Errors)
		}
	}
}

func TestHeadersAreBoundedInSizeAndTime(t *testing.T) {
	t.Parallel()
	h := limited(t)
	big := fmt.Sprintf("GET /who HTTP/1.1\r\nHost: shop\r\nX-Big: %s\r\n\r\n", strings.Repeat("a", 9<<10))
	if got := status(t, open(t, h.public, big)); got != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("9 KiB of headers: status %d", got)
	}
	if got := status(t, open(t, h.public, strings.Replace(big, strings.Repeat("a", 3<<10), "", 1))); got != http.StatusOK {
		t.Errorf("6 KiB of headers: status %d", got)
	}
	dribbling := open(t, h.public, "GET /who HTTP/1.1\r\n")
	go func() {
		for range time.Tick(slow / 10) {
			if _, err := io.WriteString(dribbling, "X-Drop: a\r\n"); err != nil {
				return
			}
		}
	}()
	if got := status(t, dribbling); got != 0 && got != http.StatusRequestTimeout {
		t.Errorf("a client that dribbles headers got %d", got)
	}
}

func TestIdleConnectionIsClosed(t *testing.T) {
	t.Parallel()
	h := limited(t)
	conn := open(t, h.public, "GET /who HTTP/1.1\r\nHost: shop\r\n\r\n")
	if rest, err := io.ReadAll(conn); err != nil || !bytes.HasPrefix(rest, []byte("HTTP/1.1 200 OK")) {
		t.Errorf("%q, %v, want an answer and the end", rest, err)
	}
}

func TestClientThatSendsNoBodyIsCut(t *testing.T) {
	t.Parallel()
	h := limited(t)
	conn := open(t, h.public, "POST /echo HTTP/1.1\r\nHost: shop\r\nContent-Length: 100000\r\n\r\nhalf a")
	if got := status(t, conn); got != http.StatusRequestTimeout && got != http.StatusOK {
		t.Errorf("status %d", got)
	}
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection stays open")
	}
	h.unblamed(t)
	h.cutSlow(t, 1)
}

func TestClientThatTakesNoAnswerIsCut(t *testing.T) {
	t.Parallel()
	h := limited(t)
	open(t, h.public, "GET /flood HTTP/1.1\r\nHost: shop\r\n\r\n")
	h.cutSlow(t, 1)
	h.await("no request in flight", func(s api.State) bool { return s.Sides[api.Blue].Instances[0].InFlight == 0 })
	h.unblamed(t)
}

// cutSlow waits until the metrics tell of n clients that were cut.
func (h *host) cutSlow(t *testing.T, n int) {
	t.Helper()
	want := fmt.Sprintf("gapless_slow_clients_cut_total{service=\"shop\"} %d\n", n)
	eventually(t, want, func() bool {
		request, err := http.NewRequest(http.MethodGet, "http://"+h.admin+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(response.Body)
		if err := errors.Join(err, response.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(said), want)
	})
}

// What takes several times as long as a client may make no progress goes on for
// as long as it does, or as the pause is the service's.
func TestProgressAndPausesOfTheServiceAreNotCut(t *testing.T) {
	t.Parallel()
	h := limited(t)
	var all sync.WaitGroup
	all.Go(func() { // a body that comes bit by bit
		body, w := io.Pipe()
		go func() {
			for range 12 {
				<-time.After(slow / 4)
				io.WriteString(w, "bit ") //nolint:errcheck // the answer tells
			}
			w.Close() //nolint:errcheck // always nil
		}()
		response, err := http.Post("http://"+h.public+"/echo", "text/plain", body)
		if err != nil {
			t.Error(err)
			return
		}
		said, err := io.ReadAll(response.Body)
		if err := errors.Join(err, response.Body.Close()); err != nil || string(said) != strings.Repeat("bit ", 12) {
			t.Errorf("body in bits: %q, %v", said, err)
		}
	})
	for _, path := range []string{"/pause?body=later", "/pause?type=text/event-stream"} { // a service that pauses
		all.Go(func() {
			status, said, err := fetch(t.Context(), h.public, path)
			if err != nil || status != http.StatusOK || said != "before\nafter\n" {
				t.Errorf("%s: %d %q, %v", path, status, said, err)
			}
		})
	}
	all.Go(func() { // a body that the service is slow to read
		response, err := http.Post("http://"+h.public+"/pause", "text/plain", strings.NewReader(strings.Repeat("a", 1<<20)))
		if err != nil {
			t.Error(err)
			return
		}
		said, err := io.ReadAll(response.Body)
		if err := errors.Join(err, response.Body.Close()); err != nil || string(said) != "before\nafter\n" {
			t.Errorf("slow reader: %q, %v", said, err)
		}
	})
	all.Go(func() { // a WebSocket on which nobody says anything
		socket, _, err := websocket.Dial(t.Context(), "ws://"+h.public+"/socket", nil) //nolint:bodyclose // the connection owns it
		if err != nil {
			t.Error(err)
			return
		}
		<-time.After(3 * slow)
		if err := socket.Write(t.Context(), websocket.MessageText, []byte("still there")); err != nil {
			t.Error(err)
			return
		}
		if _, said, err := socket.Read(t.Context()); err != nil || string(said) != "still there" {
			t.Errorf("WebSocket: %q, %v", said, err)
		}
	})
	all.Wait()
	h.unblamed(t)
	h.cutSlow(t, 0)
}

func TestLimitsHoldOverHTTP2(t *testing.T) {
	t.Parallel()
	h, _ := secured(t, func(o *agent.Options) { o.Limits.SlowClient = slow })
	transport := &http.Transport{TLSClientConfig: anyCertificate(), ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}

	response, err := client.Get("https://" + h.public + "/flood")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it was cut
	h.cutSlow(t, 1)

	silent, w := io.Pipe()
	defer w.Close() //nolint:errcheck // always nil
	if late, err := client.Post("https://"+h.public+"/echo", "text/plain", silent); err == nil {
		late.Body.Close() //nolint:errcheck // not looked at
	}
	h.cutSlow(t, 2)

	paused, err := client.Get("https://" + h.public + "/pause?type=text/event-stream")
	if err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(paused.Body)
	if err := errors.Join(err, paused.Body.Close()); err != nil || string(said) != "before\nafter\n" {
		t.Errorf("stream that pauses: %q, %v", said, err)
	}
	h.cutSlow(t, 2)
	h.unblamed(t)
}
