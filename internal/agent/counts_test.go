package agent_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// counted waits until so many seconds are complete and returns the samples.
func (h *host) counted(t *testing.T, seconds int) []api.Sample {
	t.Helper()
	until := time.Now().Add(time.Duration(seconds) * time.Second)
	for {
		counts, err := h.client.Counts(t.Context(), time.Time{}, api.PerSplit)
		if err != nil {
			t.Fatal(err)
		}
		if counts.CompleteUntil.After(until) {
			return counts.Samples
		}
		<-time.After(20 * time.Millisecond)
	}
}

func TestCountsTellWhatEachRevisionDidUnderEachSplit(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	one, two := spec("v1", 2), spec("v2", 1)
	one.SlowOver, two.SlowOver = api.Duration(400*time.Millisecond), api.Duration(400*time.Millisecond)
	h.launch(api.Blue, "v1", one)
	h.launch(api.Green, "v2", two)
	h.shift(1000, 0)
	for range 10 {
		get(t, h.public, "/who")
	}
	get(t, h.public, "/slow")
	h.shift(0, 1000)
	for range 3 {
		get(t, h.public, "/error")
	}
	samples := h.counted(t, 2)
	sum := func(id string, green int) (sum api.Sample) {
		for _, s := range samples {
			if s.Revision.ID == id && s.Weights[api.Green] == green && len(s.Weights) > 0 {
				sum.Requests += s.Requests
				sum.Errors += s.Errors
				sum.Slow += s.Slow
				sum.Instances, sum.CPUSeconds, sum.MemoryBytes = s.Instances, s.CPUSeconds, s.MemoryBytes
			}
		}
		return sum
	}
	if s := sum("v1", 0); s.Requests != 11 || s.Errors != 0 || s.Slow != 1 || s.Instances != 2 {
		t.Errorf("v1 with all traffic: %+v, want 11 requests, 0 errors, 1 slow, 2 instances", s)
	}
	if s := sum("v2", 0); s.Requests != 0 {
		t.Errorf("v2 without traffic: %+v", s)
	}
	s := sum("v2", 1000)
	if s.Requests != 3 || s.Errors != 3 {
		t.Errorf("v2 with all traffic: %+v, want 3 requests and 3 errors", s)
	}
	if s.CPUSeconds == nil || s.MemoryBytes == nil || *s.MemoryBytes < 1<<20 {
		t.Errorf("v2 used %v s, %v bytes: a running process uses some of both", s.CPUSeconds, s.MemoryBytes)
	}
}

func TestMetricsAreInPrometheusFormatBehindTheToken(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	h.launch(api.Blue, "v1", spec("v1", 1))
	h.shift(1000, 0)
	get(t, h.public, "/error")
	if status, _ := h.metrics("wrong"); status != http.StatusUnauthorized {
		t.Errorf("metrics with a wrong token: status %d", status)
	}
	_, text := h.metrics(token)
	for _, line := range []string{
		`gapless_requests_total{digest="",revision="v1",service="shop",side="blue"} 1`,
		`gapless_request_errors_total{digest="",revision="v1",service="shop",side="blue"} 1`,
		`gapless_request_duration_seconds_count{digest="",revision="v1",service="shop",side="blue"} 1`,
		`gapless_weight_ratio{service="shop",side="blue"} 1`,
		`gapless_instances{digest="",phase="ready",revision="v1",service="shop",side="blue"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("metrics lack %s", line)
		}
	}
}

// metrics reads the page for Prometheus.
func (h *host) metrics(bearer string) (status int, page string) {
	h.t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+h.admin+"/metrics", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+bearer)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // everything was read
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return response.StatusCode, string(raw)
}
