package prometheus_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/meter/prometheus"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

var _ phase.Meter = (*prometheus.Meter)(nil)

var (
	v1 = rollout.Revision{ID: "v1", Spec: "s1"}
	v2 = rollout.Revision{ID: "v2", Spec: "s2"}
)

// seen has stable on blue and the candidate, with that weight, on green.
func seen(since time.Time, weight rollout.Weight) rollout.Observation {
	return rollout.Observation{
		At: time.Now(), Split: rollout.SplitTo(rollout.Green, weight), SplitSince: since,
		Sides: map[rollout.Side]rollout.SideState{
			rollout.Blue: {Revision: v1, Instances: []rollout.Instance{{Name: "web-7d9f8b6c5d-x2k4q"}}}, rollout.Green: {Revision: v2, Instances: []rollout.Instance{{Name: "web-green-6c5d7f9b8-k4q2z"}}},
		},
	}
}

func meter(t *testing.T, cfg config.Prometheus, alter ...func(*prometheus.Options)) *prometheus.Meter {
	t.Helper()
	o := prometheus.Options{
		Config: cfg, SlowOver: 300 * time.Millisecond, Namespace: "shop", Clock: clock{},
		Sides: map[rollout.Side]prometheus.Side{
			rollout.Blue: {Deployment: "web", Service: "web-blue"}, rollout.Green: {Deployment: "web-green", Service: "web-green"},
		},
		Warn: func(text string) { t.Log("warning: " + text) },
	}
	for _, a := range alter {
		a(&o)
	}
	m, err := prometheus.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// what adds up samples by revision and weight.
type what struct {
	revision string
	weight   int
}

func added(samples []verdict.Sample) map[what]verdict.Counts {
	sums := map[what]verdict.Counts{}
	for _, s := range samples {
		if s.Requests == 0 {
			continue
		}
		k := what{s.Revision, s.Weight}
		c := sums[k]
		c.Requests, c.Errors, c.Slow = c.Requests+s.Requests, c.Errors+s.Errors, c.Slow+s.Slow
		sums[k] = c
	}
	return sums
}

func counters() map[string]config.Prometheus {
	all := map[string]config.Prometheus{}
	for _, ingress := range config.Ingress("").Values() {
		all[ingress] = config.Prometheus{Ingress: config.Ingress(ingress)}
	}
	all["queries"] = config.Prometheus{Queries: &config.Queries{
		Requests: `shop_calls{side="{side}"}`, Errors: `shop_calls{side="{side}",outcome=~"5.."}`, Buckets: `shop_seconds_bucket{side="{side}"}`, Unit: config.Seconds,
	}}
	return all
}

// TestEveryKindOfCounterIsReadAsItCounted reads a rollout from a real Prometheus:
// stable alone, then both, with a restart of what counts.
func TestEveryKindOfCounterIsReadAsItCounted(t *testing.T) {
	t.Parallel()
	e := newExporter(t)
	e.serve(rollout.Blue, counts{well: 500, failed: 50, slow: 50}) // long before
	s := start(t, e.Listener.Addr().String())
	e.scraped(t, 3)
	since := time.Now()
	e.scraped(t, 2)
	for range 3 {
		e.serve(rollout.Blue, counts{well: 10, failed: 1, slow: 2})
		e.scraped(t, 1)
	}
	e.scraped(t, 2)
	shifted := time.Now()
	e.scraped(t, 2)
	e.serve(rollout.Green, counts{well: 4, failed: 3})
	e.serve(rollout.Blue, counts{well: 30})
	e.scraped(t, 2)
	e.restart()
	e.serve(rollout.Green, counts{well: 2, slow: 1})
	e.serve(rollout.Blue, counts{well: 20, failed: 1})
	e.scraped(t, 4)

	in := rollout.Window{Since: since, Seen: seen(shifted, 50), Passed: []rollout.Passage{{Since: shifted, Weight: 50}}}
	want := map[what]verdict.Counts{
		{v1.Key(), 0}:  {Requests: 39, Errors: 3, Slow: 6},
		{v1.Key(), 50}: {Requests: 51, Errors: 1},
		{v2.Key(), 50}: {Requests: 10, Errors: 3, Slow: 1},
	}
	for name, cfg := range counters() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg.URL = s.url
			m := meter(t, cfg)
			var samples []verdict.Sample
			var err error
			eventually(t, "all is read", func() bool {
				samples, err = m.Counts(t.Context(), in, v1, v2)
				sums := added(samples)
				return err != nil || sums[what{v2.Key(), 50}].Requests >= 10 && sums[what{v1.Key(), 50}].Requests >= 51
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, added(samples)); diff != "" {
				t.Error(diff)
			}
			ordered(t, samples, since)
			// Stable alone, as a plan asks for it: from the split in force on.
			alone, err := m.Counts(t.Context(), rollout.Window{Since: since, Seen: seen(shifted, 50)}, v1)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[what]verdict.Counts{{v1.Key(), 50}: want[what{v1.Key(), 50}]}, added(alone)); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("look by look", func(t *testing.T) {
		t.Parallel()
		lookByLook(t, s, in, want)
	})
	t.Run("a step", func(t *testing.T) {
		t.Parallel()
		samples, err := meter(t, config.Prometheus{URL: s.url, Ingress: config.Traefik, Step: 3 * time.Second}).Counts(t.Context(), in, v1, v2)
		if err != nil || len(samples) == 0 {
			t.Fatal(len(samples), err)
		}
		for _, one := range samples {
			if one.To.Sub(one.From) < 3*time.Second {
				t.Errorf("a sample of %s", one.To.Sub(one.From))
			}
		}
	})
}

// ordered: samples are about a second each, one after the other, and none begins
// before what was asked for.
func ordered(t *testing.T, samples []verdict.Sample, since time.Time) {
	t.Helper()
	last := map[string]time.Time{}
	for _, s := range samples {
		if s.From.Before(since.Truncate(time.Millisecond)) || s.From.Before(last[s.Revision]) || !s.To.After(s.From) || s.To.Sub(s.From) > 4*time.Second {
			t.Errorf("a sample from %s to %s after %s", s.From, s.To, last[s.Revision])
		}
		last[s.Revision] = s.To
	}
}

// lookByLook reads as a phase does, each time from where the newest sample ended.
func lookByLook(t *testing.T, s *server, in rollout.Window, want map[what]verdict.Counts) {
	m := meter(t, config.Prometheus{URL: s.url, Ingress: config.Traefik})
	var samples []verdict.Sample
	eventually(t, "all is read", func() bool {
		more, err := m.Counts(t.Context(), in, v1, v2)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range more {
			if one.From.Before(in.Since.Truncate(time.Millisecond)) {
				t.Fatalf("a sample from %s was read before %s", one.From, in.Since)
			}
		}
		samples = append(samples, more...)
		for _, one := range more {
			if one.To.After(in.Since) {
				in.Since = one.To
			}
		}
		return len(samples) > 10 && len(more) > 0
	})
	if diff := cmp.Diff(want, added(samples)); diff != "" {
		t.Error(diff)
	}
}

// TestAGapIsAbsent: what was counted while nobody looked is in no sample, and no
// sample says that nothing happened.
func TestAGapIsAbsent(t *testing.T) {
	t.Parallel()
	e := newExporter(t)
	e.serve(rollout.Blue, counts{well: 500})
	s := start(t, e.Listener.Addr().String())
	e.scraped(t, 4)
	since := time.Now()
	e.scraped(t, 1)
	e.serve(rollout.Blue, counts{well: 10})
	e.scraped(t, 2)
	left := time.Now()
	e.leave(true)
	e.serve(rollout.Blue, counts{well: 7000})
	e.missed(t, 5)
	back := time.Now()
	e.leave(false)
	e.scraped(t, 1)
	e.serve(rollout.Blue, counts{well: 20})
	in := rollout.Window{Since: since, Seen: seen(since, 0)}
	m := meter(t, config.Prometheus{URL: s.url, Ingress: config.Traefik})
	var samples []verdict.Sample
	eventually(t, "both ends are read", func() bool {
		var err error
		if samples, err = m.Counts(t.Context(), in, v1); err != nil {
			t.Fatal(err)
		}
		return added(samples)[what{v1.Key(), 0}].Requests >= 30
	})
	if got := added(samples)[what{v1.Key(), 0}].Requests; got != 30 {
		t.Errorf("counted 30 outside of the gap, read %d", got)
	}
	for _, one := range samples {
		if one.From.After(left.Add(1500*time.Millisecond)) && one.To.Before(back) {
			t.Errorf("a sample in the gap, from %s to %s", one.From, one.To)
		}
	}
}

// TestWhatIsNotKnownIsSaid: counts that would be read wrongly are not read.
func TestWhatIsNotKnownIsSaid(t *testing.T) {
	t.Parallel()
	e := newExporter(t)
	s := start(t, e.Listener.Addr().String())
	e.scraped(t, 2)
	since := time.Now()
	for range 3 {
		e.serve(rollout.Blue, counts{well: 10, slow: 1})
		e.scraped(t, 1)
	}
	in := rollout.Window{Since: since, Seen: seen(since, 0)}
	ask := func(cfg config.Prometheus, alter ...func(*prometheus.Options)) error {
		cfg.URL = s.url
		_, err := meter(t, cfg, alter...).Counts(t.Context(), in, v1, v2)
		return err
	}
	queries := func(requests, errors, buckets string) config.Prometheus {
		return config.Prometheus{Queries: &config.Queries{Requests: requests, Errors: errors, Buckets: buckets, Unit: config.Seconds}}
	}
	calls := `shop_calls{side="{side}"}`
	eventually(t, "durations are missed", func() bool {
		err := ask(queries(calls, calls, `nowhere_bucket{side="{side}"}`))
		return err != nil && strings.Contains(err.Error(), `how long they took is not: nowhere_bucket{side="blue"} has nothing`)
	})
	same := func(o *prometheus.Options) { o.Sides[rollout.Green] = o.Sides[rollout.Blue] }
	var alike *prometheus.AlikeError
	if err := ask(config.Prometheus{Ingress: config.Traefik}, same); !errors.As(err, &alike) || !strings.Contains(alike.Hint(), "application") {
		t.Errorf("two revisions of one Service: %v", err)
	}
	if err := ask(config.Prometheus{Ingress: config.Application}, same); err != nil {
		t.Errorf("two revisions of one Deployment are told apart by their pods: %v", err)
	}
	var warnings []string
	hear := func(o *prometheus.Options) { o.Warn = func(text string) { warnings = append(warnings, text) } }
	for range 2 {
		if err := ask(config.Prometheus{Ingress: config.IngressNginx}, hear, func(o *prometheus.Options) { o.SlowOver = 300 * time.Millisecond }); err != nil {
			t.Fatal(err)
		}
	}
	if len(warnings) != 2 || !strings.HasPrefix(warnings[0], "slow requests are those over 500ms: ") {
		t.Errorf("warned %q", warnings)
	}
	warnings = nil
	high := func(o *prometheus.Options) { o.SlowOver = time.Minute }
	if err := ask(config.Prometheus{Ingress: config.Traefik}, hear, high); err != nil || len(warnings) != 1 || !strings.HasPrefix(warnings[0], "slow requests are those over 5s: ") {
		t.Errorf("%v, warned %q", err, warnings)
	}
}

// TestAPrometheusInTrouble: one that throttles or restarts is asked again, one
// that is away or refuses is told of, without a secret.
func TestAPrometheusInTrouble(t *testing.T) {
	t.Parallel()
	e := newExporter(t)
	s := start(t, e.Listener.Addr().String())
	behind, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(behind)
	var refused atomic.Int32
	status := http.StatusTooManyRequests
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		if refused.Add(-1) >= 0 {
			http.Error(w, "not now, s3cret", status)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	in := rollout.Window{Since: time.Now(), Seen: seen(time.Now(), 0)}
	ask := func(address, token string) error {
		m := meter(t, config.Prometheus{URL: address, Ingress: config.Traefik}, func(o *prometheus.Options) { o.Token = token })
		_, err := m.Counts(t.Context(), in, v1, v2)
		return err
	}
	for _, status = range []int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable} {
		refused.Store(3)
		if err := ask(front.URL, "s3cret"); err != nil {
			t.Errorf("after three times %d: %v", status, err)
		}
	}
	refused.Store(1000)
	told(t, ask(front.URL, "s3cret"), "answered 503 Service Unavailable: not now, ***", "overloaded")
	refused.Store(0)
	var sent atomic.Value
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent.Store(r.Header.Get("Authorization"))
		http.NotFound(w, r)
	}))
	t.Cleanup(elsewhere.Close)
	away := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	t.Cleanup(away.Close)
	told(t, ask(away.URL, "s3cret"), "answered 404 Not Found", "meter.prometheus.url")
	if got := sent.Load(); got != "" {
		t.Errorf("the token went elsewhere: %v", got)
	}
	told(t, ask(front.URL, "wrong"), "answered 401 Unauthorized: who are you", "token_env")
	told(t, ask(s.url+"/elsewhere", ""), "answered 404 Not Found", "meter.prometheus.url")
	s.stop()
	told(t, ask(s.url, ""), "connection refused", "reachable")
}

func told(t *testing.T, err error, text, hint string) {
	t.Helper()
	var failed *prometheus.QueryError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), text) || !strings.Contains(failed.Hint(), hint) ||
		!strings.Contains(err.Error(), "query count by (le) (traefik_service_request_duration_seconds_bucket{") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("want %s and a hint at %s, got %v", text, hint, err)
	}
}
