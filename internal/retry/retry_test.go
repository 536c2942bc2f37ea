package retry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/githubtest"
	"github.com/gapless-deploy/gapless/internal/retry"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// got is the end of one request.
type got struct {
	status int
	body   string
	sent   []string // the bodies that the server read
}

// ask sends one request with a body to a server that answers in turn, and then
// with 200.
func ask(t *testing.T, clock retry.Clock, answers ...http.HandlerFunc) (g got, err error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		g.sent = append(g.sent, string(body))
		if n := len(g.sent); n <= len(answers) {
			answers[n-1](w, r)
		}
	}))
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/x?sig=secret", strings.NewReader("question"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := retry.Client(server.Client(), clock).Do(req)
	if err == nil {
		var body []byte
		body, err = io.ReadAll(resp.Body)
		g.status, g.body = resp.StatusCode, string(body)
		err = errors.Join(err, resp.Body.Close())
	}
	server.Close() // what it read is then all there
	return g, err
}

func refusal(status int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
	}
}

func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func cutShort(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "100")
	_, _ = io.WriteString(w, "half") //nolint:errcheck // the client sees it
	panic(http.ErrAbortHandler)
}

func TestAsksAgain(t *testing.T) {
	reset := strconv.FormatInt(noon.Add(40*time.Second).Unix(), 10)
	for name, c := range map[string]struct {
		answer   http.HandlerFunc
		from, to time.Duration
	}{
		"429":                            {refusal(429), 500 * time.Millisecond, 1500 * time.Millisecond},
		"500":                            {refusal(500), 500 * time.Millisecond, 1500 * time.Millisecond},
		"502":                            {refusal(502), 500 * time.Millisecond, 1500 * time.Millisecond},
		"503":                            {refusal(503), 500 * time.Millisecond, 1500 * time.Millisecond},
		"504":                            {refusal(504), 500 * time.Millisecond, 1500 * time.Millisecond},
		"the connection is cut":          {cut, 500 * time.Millisecond, 1500 * time.Millisecond},
		"the answer is cut":              {cutShort, 500 * time.Millisecond, 1500 * time.Millisecond},
		"Retry-After in seconds":         {refusal(429, "Retry-After", "7"), 7 * time.Second, 7 * time.Second},
		"Retry-After as a date":          {refusal(503, "Retry-After", noon.Add(9*time.Second).Format(http.TimeFormat)), 9 * time.Second, 9 * time.Second},
		"a limit that ends soon":         {refusal(403, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", reset), 40 * time.Second, 40 * time.Second},
		"a secondary limit":              {refusal(403, "Retry-After", "30"), 30 * time.Second, 30 * time.Second},
		"a secondary limit without time": {secondaryLimit, time.Minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			clock := githubtest.NewClock(noon)
			g, err := ask(t, clock, c.answer)
			if err != nil || g.status != http.StatusOK {
				t.Fatalf("got %d, %v, want 200", g.status, err)
			}
			if strings.Join(g.sent, " ") != "question question" {
				t.Errorf("the server was sent %q, want the same twice", g.sent)
			}
			if slept := clock.Slept(); len(slept) != 1 || slept[0] < c.from || slept[0] > c.to {
				t.Errorf("waited %v, want once, from %v to %v", slept, c.from, c.to)
			}
		})
	}
}

func secondaryLimit(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusForbidden)
	_, _ = io.WriteString(w, `{"message":"You have exceeded a secondary rate limit."}`) //nolint:errcheck // the client sees it
}

func TestDoesNotAskAgain(t *testing.T) {
	far := strconv.FormatInt(noon.Add(time.Hour).Unix(), 10)
	for name, answer := range map[string]http.HandlerFunc{
		"400":                        refusal(400),
		"403":                        refusal(403),
		"404":                        refusal(404),
		"409":                        refusal(409),
		"a limit that ends late":     refusal(403, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", far),
		"a Retry-After of 10 m":      refusal(429, "Retry-After", "600"),
		"a Retry-After that is none": refusal(403, "Retry-After", "soon"),
	} {
		t.Run(name, func(t *testing.T) {
			clock := githubtest.NewClock(noon)
			g, err := ask(t, clock, answer)
			if err != nil || g.status == http.StatusOK || len(g.sent) != 1 || len(clock.Slept()) != 0 {
				t.Errorf("got %d, %v after %d requests and waits %v, want the first answer", g.status, err, len(g.sent), clock.Slept())
			}
		})
	}
}

func TestGivesUp(t *testing.T) {
	clock := githubtest.NewClock(noon)
	down := refusal(503)
	g, err := ask(t, clock, down, down, down, down, down, down)
	if err != nil || g.status != http.StatusServiceUnavailable || len(g.sent) != retry.Attempts {
		t.Fatalf("got %d, %v after %d requests, want 503 after %d", g.status, err, len(g.sent), retry.Attempts)
	}
	for i, d := range clock.Slept() {
		if step := time.Second << i; d < step/2 || d > step*3/2 {
			t.Errorf("wait %d is %v, want %v, half more or less", i+1, d, step)
		}
	}
}

// The body of a refusal can be read by the caller although it was looked at.
func TestRefusalStaysReadable(t *testing.T) {
	clock := githubtest.NewClock(noon)
	g, err := ask(t, clock, secondaryLimit, secondaryLimit, secondaryLimit, secondaryLimit, secondaryLimit)
	if err != nil || !strings.Contains(g.body, "secondary rate limit") {
		t.Errorf("the last refusal reads %q, %v", g.body, err)
	}
}

// stopped is a clock whose owner gives up while it waits.
type stopped struct {
	*githubtest.Clock
	cancel context.CancelFunc
}

func (s stopped) Sleep(ctx context.Context, _ time.Duration) error {
	s.cancel()
	return ctx.Err()
}

func TestCancelEndsTheWait(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server := httptest.NewServer(refusal(503))
	defer server.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := retry.Client(server.Client(), stopped{githubtest.NewClock(noon), cancel}).Do(req)
	if err == nil {
		err = errors.Join(errors.New("it was answered"), resp.Body.Close())
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the cancellation", err)
	}
}

func TestErrorsDoNotShowSignatures(t *testing.T) {
	_, err := ask(t, githubtest.NewClock(noon), cut, cut, cut, cut, cut)
	if err == nil || !strings.Contains(err.Error(), "secret") {
		t.Fatalf("the plain error is %v, want one with the whole URL", err)
	}
	if got := retry.Redact(err); strings.Contains(got.Error(), "secret") || !strings.Contains(got.Error(), "/x") || !errors.Is(got, io.EOF) {
		t.Errorf("redacted: %v, want the path without the query, and the cause", got)
	}
	for address, want := range map[string]string{
		"https://u:p@blob.example/a/b?sig=x#y": "https://blob.example/a/b",
		"https://blob.example/%zz?sig=x":       "an address that cannot be read",
	} {
		if got := retry.Place(address); got != want {
			t.Errorf("%s is shown as %s, want %s", address, got, want)
		}
	}
}
