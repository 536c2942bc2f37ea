package prometheus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/kubetest"
	"github.com/gapless-deploy/gapless/internal/meter/prometheus"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// TestTraefikCountsWhatItsRouteDivides: a real Traefik, behind a real HTTPRoute
// with weights, counts each answer that a client got under the revision that gave
// it.
func TestTraefikCountsWhatItsRouteDivides(t *testing.T) {
	t.Parallel()
	c := kubetest.Cluster(t)
	metrics, err := url.Parse(c.Metrics)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, metrics.Host)
	namespace := c.Namespace(t)
	host := namespace + ".test"
	c.Run(t, namespace, kubetest.Web{Name: "web-blue", Tag: "v1"})
	c.Run(t, namespace, kubetest.Web{Name: "web-green", Tag: "errors-v2", Replicas: 1})
	route(t, c, namespace, host, 0)
	kubetest.Eventually(t, func(ctx context.Context) error {
		_, err := c.Ask(ctx, host)
		return err
	})
	s.scrape(t, 3)
	since := time.Now()
	got := map[string]verdict.Counts{}
	ask := func(n int) {
		for range n {
			version, err := c.Ask(t.Context(), host)
			one := got[version]
			if one.Requests++; err != nil && strings.Contains(err.Error(), "status 5") {
				one.Errors++
			} else if err != nil {
				t.Fatal(err)
			}
			got[version] = one
		}
	}
	s.scrape(t, 2)
	ask(50)
	before := got
	got = map[string]verdict.Counts{}
	s.scrape(t, 3)
	shifted := time.Now()
	route(t, c, namespace, host, 100)
	s.scrape(t, 2)
	ask(200)
	if len(before) != 1 || len(got) < 2 {
		t.Fatalf("before the shift %v answered, after it %v", before, got)
	}
	// A failed answer does not say whose it is.
	green := verdict.Counts{}
	for version, n := range got {
		if version != "v1" {
			green.Requests, green.Errors = green.Requests+n.Requests, green.Errors+n.Errors
		}
	}
	want := map[what]verdict.Counts{
		{v1.Key(), 0}: before["v1"], {v1.Key(), 100}: got["v1"], {v2.Key(), 100}: green,
	}
	m := meter(t, config.Prometheus{URL: s.url, Ingress: config.Traefik}, func(o *prometheus.Options) { o.Namespace = namespace })
	in := rollout.Window{Since: since, Seen: seen(shifted, 100), Passed: []rollout.Passage{{Since: shifted, Weight: 100}}}
	var samples []verdict.Sample
	kubetest.Eventually(t, func(ctx context.Context) error {
		if samples, err = m.Counts(ctx, in, v1, v2); err != nil {
			return err
		}
		if diff := cmp.Diff(want, added(samples)); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
	t.Logf("%d samples of %d answers, %d failed", len(samples), 250, green.Errors)
}

func route(t *testing.T, c *kubetest.Access, namespace, host string, green int) {
	t.Helper()
	c.Apply(t, namespace, fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: public, namespace: gateway}]
  hostnames: [%s]
  rules:
    - backendRefs: [{name: web-blue, port: 80, weight: %d}, {name: web-green, port: 80, weight: %d}]
`, host, 1000-green, green))
}

// scrape waits until there were so many more scrapes.
func (s *server) scrape(t *testing.T, n int) {
	t.Helper()
	read := func() int {
		r, err := http.Get(s.url + "/api/v1/query?query=" + url.QueryEscape("sum(count_over_time(up[1h]))"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := r.Body.Close(); err != nil {
				t.Error(err)
			}
		}()
		var answer struct {
			Data struct {
				Result []struct {
					Value [2]any `json:"value"`
				} `json:"result"`
			} `json:"data"`
		}
		if err := json.NewDecoder(r.Body).Decode(&answer); err != nil || len(answer.Data.Result) == 0 {
			return 0
		}
		count, err := strconv.Atoi(fmt.Sprint(answer.Data.Result[0].Value[1]))
		if err != nil {
			t.Fatal(err)
		}
		return count
	}
	first := read()
	eventually(t, "it was scraped", func() bool { return read() >= first+n })
}
