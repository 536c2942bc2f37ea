package prometheus_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// clock is the real time; it does not wait long.
type clock struct{}

func (clock) Now() time.Time { return time.Now() }

func (clock) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// eventually waits for a condition.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited a minute until %s", what)
		}
	}
}

// counts are requests of one side: quick and well, failed, and slow.
type counts struct{ well, failed, slow int }

func (c counts) plus(o counts) counts {
	return counts{c.well + o.well, c.failed + o.failed, c.slow + o.slow}
}

// exporter exposes what ingresses, meshes and the service itself would of the
// same requests.
type exporter struct {
	*httptest.Server
	mu            sync.Mutex
	sides         map[rollout.Side]counts
	away          bool
	scrapes, fail int
}

func newExporter(t *testing.T) *exporter {
	e := &exporter{sides: map[rollout.Side]counts{}}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

// ServeHTTP is a scrape.
func (e *exporter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.away {
		e.fail++
		http.Error(w, "away", http.StatusServiceUnavailable)
		return
	}
	e.scrapes++
	var b strings.Builder
	for _, side := range []rollout.Side{rollout.Blue, rollout.Green} {
		for _, s := range spellings(side) {
			s.write(&b, e.sides[side])
		}
	}
	// Neighbours, whose names begin alike.
	for _, s := range spellings("blue-admin") {
		s.write(&b, counts{well: 1000 * e.scrapes, failed: 1000 * e.scrapes})
	}
	fmt.Fprintln(&b, `process_start_time_seconds 1`)
	if _, err := w.Write([]byte(b.String())); err != nil {
		return
	}
}

func (e *exporter) serve(side rollout.Side, c counts) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sides[side] = e.sides[side].plus(c)
}

// restart begins all counters anew.
func (e *exporter) restart() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sides = map[rollout.Side]counts{}
}

func (e *exporter) leave(away bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.away, e.fail = away, 0
}

// scraped waits until what was done so far was scraped, n times.
func (e *exporter) scraped(t *testing.T, n int) {
	t.Helper()
	read := func() int {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.scrapes
	}
	before := read()
	eventually(t, "it was scraped", func() bool { return read() >= before+n })
}

func (e *exporter) missed(t *testing.T, n int) {
	t.Helper()
	eventually(t, "scrapes failed", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.fail >= n
	})
}

// spelling is how one of them counts: name, labels, the label of the status,
// the histogram and its bounds as they are written.
type spelling struct {
	requests, labels, code, buckets string
	bounds                          []string
	quick, slow                     int  // how many bounds are below such a request
	zero                            bool // whether it is there before the first request
}

func spellings(side rollout.Side) []spelling {
	service, pod, deployment := "web-"+string(side), "web-7d9f8b6c5d-x2k4q", "web"
	canary := ""
	if side == rollout.Green {
		pod, deployment, canary = "web-green-6c5d7f9b8-k4q2z", "web-green", "shop-web-green-80"
	} else if side != rollout.Blue {
		pod, deployment = "web-admin-7d9f8b6c5d-x2k4q", "web-admin"
	}
	primary := service
	if canary != "" {
		primary = "web-blue"
	}
	seconds, millis := []string{"0.1", "0.3", "1.2", "5.0"}, []string{"100", "300", "1200"}
	return []spelling{
		{"traefik_service_requests_total", fmt.Sprintf(`method="GET",service="shop-%s-http-80@kubernetesgateway"`, service), "code", "traefik_service_request_duration_seconds", seconds, 0, 2, false},
		{"nginx_ingress_controller_requests", fmt.Sprintf(`exported_namespace="shop",exported_service=%q,service="metrics",canary=%q`, primary, canary), "status", "nginx_ingress_controller_request_duration_seconds", []string{"0.1", "0.25", "0.5", "1"}, 0, 3, false},
		{"istio_requests_total", fmt.Sprintf(`reporter="destination",destination_workload_namespace="shop",destination_workload=%q`, deployment), "response_code", "istio_request_duration_milliseconds", millis, 0, 2, false},
		{"istio_requests_total", fmt.Sprintf(`reporter="source",destination_workload_namespace="shop",destination_workload=%q`, deployment), "response_code", "istio_request_duration_milliseconds", millis, 0, 2, false},
		{"response_total", fmt.Sprintf(`direction="inbound",namespace="shop",deployment=%q`, deployment), "status_code", "response_latency_ms", millis, 0, 2, false},
		{"http_requests_total", fmt.Sprintf(`namespace="shop",pod=%q`, pod), "code", "http_request_duration_seconds", seconds, 0, 2, true},
		{"shop_calls", fmt.Sprintf(`side=%q`, side), "outcome", "shop_seconds", []string{"0.3"}, 0, 1, false},
	}
}

// write writes what there is: a status that was never answered has no series.
func (s spelling) write(b *strings.Builder, c counts) {
	if n := c.well + c.slow; n > 0 || s.zero {
		fmt.Fprintf(b, "%s{%s,%s=\"200\"} %d\n", s.requests, s.labels, s.code, n)
	}
	if c.failed > 0 {
		fmt.Fprintf(b, "%s{%s,%s=\"503\"} %d\n", s.requests, s.labels, s.code, c.failed)
	}
	if c == (counts{}) && !s.zero {
		return
	}
	for i, le := range append(s.bounds, "+Inf") {
		n := 0
		if i >= s.quick {
			n += c.well + c.failed
		}
		if i >= s.slow {
			n += c.slow
		}
		fmt.Fprintf(b, "%s_bucket{%s,le=%q} %d\n", s.buckets, s.labels, le, n)
	}
}

// server is a real Prometheus, run by hand, that scrapes a target every second.
type server struct {
	url string
	cmd *exec.Cmd
	log *strings.Builder
}

func start(t *testing.T, target string) *server {
	t.Helper()
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("no prometheus here: scripts/need prometheus=prometheus")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	text := "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n" +
		"- {job_name: shop, static_configs: [{targets: ['" + target + "']}]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	address := free(t)
	s := &server{url: "http://" + address, log: &strings.Builder{}}
	s.cmd = exec.CommandContext(t.Context(), binary, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	s.cmd.Stderr = s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	eventually(t, "prometheus is ready", func() bool {
		r, err := http.Get(s.url + "/-/ready")
		if err != nil {
			return false
		}
		return r.Body.Close() == nil && r.StatusCode == http.StatusOK
	})
	return s
}

// stop ends it; it may have ended.
func (s *server) stop() {
	if s.cmd.Process == nil || s.cmd.ProcessState != nil {
		return
	}
	_ = s.cmd.Process.Kill() //nolint:errcheck // it may be gone
	_ = s.cmd.Wait()         //nolint:errcheck // it was killed
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() //nolint:errcheck // only its address is wanted
	return l.Addr().String()
}
