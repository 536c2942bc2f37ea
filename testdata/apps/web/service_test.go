package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func ask(t *testing.T, s *service, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fault          fault
		ready          int
		first, second  int
		atLeast, under time.Duration
	}{
		{fault: "", ready: 200, first: 200, second: 200, atLeast: time.Millisecond, under: 100 * time.Millisecond},
		{fault: unready, ready: 503, first: 200, second: 200, atLeast: time.Millisecond, under: 100 * time.Millisecond},
		{fault: failing, ready: 200, first: 200, second: 500, atLeast: time.Millisecond, under: 100 * time.Millisecond},
		{fault: slow, ready: 200, first: 200, second: 200, atLeast: 501 * time.Millisecond, under: time.Second},
	}
	for _, test := range tests {
		t.Run("fault "+string(test.fault), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &service{version: "v7", fault: test.fault, work: time.Millisecond}
				if got, _ := ask(t, s, "/healthz"); got != test.ready {
					t.Errorf("/healthz: status %d, want %d", got, test.ready)
				}
				for i, want := range []int{test.first, test.second} {
					start := time.Now()
					status, body := ask(t, s, "/any")
					if status != want || body != "v7" {
						t.Errorf("request %d: status %d, %q; want %d, the version", i+1, status, body, want)
					}
					if took := time.Since(start); took < test.atLeast || took >= test.under {
						t.Errorf("request %d took %s", i+1, took)
					}
				}
			})
		})
	}
}

// TestTermination asks while the service is told to end.
func TestTermination(t *testing.T) {
	t.Parallel()
	for f, want := range map[fault]string{"": "v7", abrupt: ""} {
		t.Run("fault "+string(f), func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, end := context.WithCancel(t.Context())
			s := &service{version: "v7", fault: f, work: 300 * time.Millisecond}
			ended := make(chan error, 1)
			go func() { ended <- s.serve(ctx, listener) }()
			go func() {
				defer end()
				for s.asked.Load() == 0 && t.Context().Err() == nil {
					runtime.Gosched()
				}
			}()
			body := fetch(t, "http://"+listener.Addr().String()+"/")
			if body != want {
				t.Errorf("the request in flight got %q, want %q", body, want)
			}
			if err := <-ended; (err != nil) != (f == abrupt) {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// fetch returns what is answered; nothing if the request fails.
func fetch(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return ""
	}
	defer func() {
		if err := response.Body.Close(); err != nil {
			t.Error(err)
		}
	}()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}

func TestUnknownFault(t *testing.T) {
	t.Parallel()
	if err := fault("tired").known(); err == nil || !strings.Contains(err.Error(), `"tired"`) {
		t.Errorf("an unknown fault: %v", err)
	}
}
