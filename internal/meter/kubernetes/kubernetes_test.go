package kubernetes_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/gapless-deploy/gapless/internal/meter/kubernetes"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

var _ phase.Meter = (*kubernetes.Meter)(nil)

var (
	v1    = rollout.Revision{ID: "v1", Spec: "s1"}
	v2    = rollout.Revision{ID: "v2", Spec: "s2"}
	begin = time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)
)

func at(seconds float64) time.Time { return begin.Add(time.Duration(seconds * float64(time.Second))) }

type used struct {
	at     float64 // seconds since begin
	cores  float64
	spent  float64 // CPU seconds
	memory int64
}

// apiServer answers as one with metrics.k8s.io does, or without as one that
// passes on to the kubelet of its one node.
type apiServer struct {
	*httptest.Server
	t                  *testing.T
	metrics, forbidden bool
	pods               map[string]used
	asked              []string
}

func newAPIServer(t *testing.T) *apiServer {
	s := &apiServer{t: t, pods: map[string]used{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// ServeHTTP answers one question.
func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked = append(s.asked, r.URL.Path)
	var items []string
	around := `{"items":[%s]}`
	var format string
	switch {
	case s.forbidden:
		w.WriteHeader(http.StatusForbidden)
		s.write(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"nodes is forbidden"}`)
		return
	case r.URL.Path == "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods" && s.metrics:
		format = `{"metadata":{"name":"NAME"},"timestamp":"TIME","window":"15s","containers":[{"usage":{"cpu":"CORESn","memory":"MEMORY"}},{"usage":{"cpu":"0","memory":"0"}}]}`
	case r.URL.Path == "/api/v1/namespaces/shop/pods":
		format = `{"metadata":{"name":"NAME"},"spec":{"nodeName":"n1"}}`
	case r.URL.Path == "/api/v1/nodes/n1/proxy/stats/summary":
		around = `{"pods":[{"podRef":{"name":"blue-1","namespace":"other"},"cpu":{"time":"2026-01-02T15:00:00Z","usageCoreNanoSeconds":1},"memory":{"workingSetBytes":1}},%s]}`
		format = `{"podRef":{"name":"NAME","namespace":"shop"},"containers":[{"cpu":{"time":"TIME","usageCoreNanoSeconds":SPENT},"memory":{"time":"TIME","workingSetBytes":MEMORY}}]}`
	default:
		http.NotFound(w, r)
		return
	}
	if strings.HasSuffix(r.URL.Path, "/pods") && r.URL.Query().Get("labelSelector") != "app=web" {
		http.Error(w, "all pods of the namespace were asked for", http.StatusBadRequest)
		return
	}
	for name, u := range s.pods {
		items = append(items, strings.NewReplacer("NAME", name, "TIME", at(u.at).Format(time.RFC3339Nano),
			"CORES", fmt.Sprint(int64(u.cores*1e9)), "SPENT", fmt.Sprint(int64(u.spent*1e9)), "MEMORY", fmt.Sprint(u.memory)).Replace(format))
	}
	s.write(w, fmt.Sprintf(around, strings.Join(items, ",")))
}

func (s *apiServer) write(w http.ResponseWriter, text string) {
	if _, err := w.Write([]byte(text)); err != nil {
		s.t.Error(err)
	}
}

// counted is a meter of requests that gives the same samples each time.
type counted []verdict.Sample

func (c counted) Counts(context.Context, rollout.Window, ...rollout.Revision) ([]verdict.Sample, error) {
	return append([]verdict.Sample{}, c...), nil
}

// stage has pods of both revisions, seen at that time.
func stage(seconds float64) rollout.Window {
	side := func(r rollout.Revision, names ...string) rollout.SideState {
		s := rollout.SideState{Revision: r}
		for _, name := range names {
			s.Instances = append(s.Instances, rollout.Instance{Name: name, Ready: name != "blue-starting"})
		}
		return s
	}
	return rollout.Window{Since: begin, Seen: rollout.Observation{At: at(seconds), Sides: map[rollout.Side]rollout.SideState{
		rollout.Blue: side(v1, "blue-1", "blue-2", "blue-starting"), rollout.Green: side(v2, "green-1"),
	}}}
}

func sample(r rollout.Revision, from, to float64) verdict.Sample {
	return verdict.Sample{Revision: r.Key(), From: at(from), To: at(to), Weight: 50, Requests: 10}
}

func meter(t *testing.T, s *apiServer, requests kubernetes.Requests, warn func(string)) *kubernetes.Meter {
	t.Helper()
	m, err := kubernetes.New(&rest.Config{Host: s.URL}, kubernetes.Options{Namespace: "shop", Selector: "app=web", Requests: requests, Warn: warn})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func counts(t *testing.T, m *kubernetes.Meter, in rollout.Window) []verdict.Sample {
	t.Helper()
	samples, err := m.Counts(t.Context(), in, v1, v2)
	if err != nil {
		t.Fatal(err)
	}
	return samples
}

func expect(t *testing.T, s verdict.Sample, cpu time.Duration, memory int64, instances int) {
	t.Helper()
	if s.HasCPU != (cpu > 0) || (s.CPU-cpu).Abs() > time.Millisecond || s.Memory != memory || s.Instances != instances || s.Requests != 10 {
		t.Errorf("%s from %s: cpu %s (%t), memory %d, %d instances", s.Revision, s.From.Format(time.TimeOnly), s.CPU, s.HasCPU, s.Memory, s.Instances)
	}
}

func TestARateIsCPUTimeOverTheSample(t *testing.T) {
	s := newAPIServer(t)
	s.metrics = true
	s.pods = map[string]used{
		"blue-1": {at: 100, cores: 0.25, memory: 100}, "blue-2": {at: 104, cores: 0.5, memory: 300},
		"blue-starting": {at: 104, cores: 1, memory: 1 << 40}, "green-1": {at: 101, cores: 0.1, memory: 70},
	}
	m := meter(t, s, counted{sample(v1, 102, 106), sample(v2, 102, 103), sample(v1, 300, 304)}, nil)
	got := counts(t, m, stage(106))
	expect(t, got[0], 3*time.Second, 200, 2)
	expect(t, got[1], 100*time.Millisecond, 70, 1)
	expect(t, got[2], 0, 0, 0) // much later: nobody has looked
	// A pod of which nothing is told leaves the CPU of all unknown.
	delete(s.pods, "blue-2")
	s.pods["blue-1"] = used{at: 302, cores: 9, memory: 100}
	expect(t, counts(t, m, stage(303))[2], 0, 100, 2)
}

func TestWithoutMetricsTheKubeletsAreAsked(t *testing.T) {
	s := newAPIServer(t)
	s.pods = map[string]used{"blue-1": {at: 100, spent: 50, memory: 100}, "blue-2": {at: 100, spent: 7, memory: 300}, "green-1": {at: 100, spent: 1, memory: 70}}
	m := meter(t, s, counted{sample(v1, 105, 109), sample(v2, 105, 109)}, func(text string) { t.Errorf("warned: %s", text) })
	for _, one := range counts(t, m, stage(101)) {
		if one.HasCPU || one.Memory == 0 {
			t.Errorf("a counter that was read once tells CPU time: %+v", one)
		}
	}
	s.pods["blue-1"], s.pods["blue-2"] = used{at: 110, spent: 52, memory: 100}, used{at: 110, spent: 10, memory: 300}
	got := counts(t, m, stage(110)) // the kubelet has not looked at green-1 since
	expect(t, got[0], 2*time.Second, 200, 2)
	expect(t, got[1], 0, 70, 1)
	s.pods["green-1"] = used{at: 112, spent: 0.5, memory: 60} // began anew
	expect(t, counts(t, m, stage(113))[1], 0, 60, 1)
	s.pods["green-1"] = used{at: 122, spent: 3, memory: 60}
	expect(t, counts(t, m, stage(123))[1], time.Second, 60, 1)
	if n := len(s.asked); s.asked[0] != "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods" || n != 9 {
		t.Errorf("asked %d times: %v", n, s.asked)
	}
}

// TestUsageIsOfOneWeight: what was measured at one weight says nothing of another.
func TestUsageIsOfOneWeight(t *testing.T) {
	s := newAPIServer(t)
	s.metrics = true
	s.pods = map[string]used{"green-1": {at: 100, cores: 0.1, memory: 70}, "blue-1": {at: 100}, "blue-2": {at: 100}}
	m := meter(t, s, counted{sample(v2, 110, 111), sample(v2, 90, 91)}, nil)
	in := stage(111)
	in.Passed = []rollout.Passage{{Since: at(95), Weight: 10}}
	got := counts(t, m, in) // measured from 85 to 100
	expect(t, got[0], 0, 0, 0)
	expect(t, got[1], 0, 0, 0)
	s.pods["green-1"] = used{at: 112, cores: 0.2, memory: 80}
	expect(t, counts(t, m, in)[0], 200*time.Millisecond, 80, 1)
}

func TestAWorkerIsMeteredWithoutRequests(t *testing.T) {
	s := newAPIServer(t)
	s.metrics = true
	s.pods = map[string]used{"green-1": {at: 100, cores: 0.1, memory: 70}}
	m := meter(t, s, nil, nil)
	if got := counts(t, m, stage(100)); len(got) != 0 {
		t.Errorf("one look makes samples: %v", got)
	}
	s.pods["green-1"] = used{at: 108, cores: 0.1, memory: 90}
	in := stage(110)
	in.Passed = []rollout.Passage{{Since: begin, Weight: 250}}
	got := counts(t, m, in)
	want := verdict.Sample{Revision: v2.Key(), From: at(100), To: at(110), Weight: 250, CPU: time.Second, HasCPU: true, Memory: 90, Instances: 1}
	if len(got) != 1 || got[0] != want {
		t.Errorf("want %+v, got %+v", want, got)
	}
	in = stage(120)
	in.Passed = []rollout.Passage{{Since: at(115), Weight: 500}}
	if got := counts(t, m, in); len(got) != 0 {
		t.Errorf("a sample of two weights: %+v", got)
	}
}

// TestWhatMayNotBeReadIsAbsent: requests are judged all the same.
func TestWhatMayNotBeReadIsAbsent(t *testing.T) {
	s := newAPIServer(t)
	s.forbidden = true
	var warnings []string
	m := meter(t, s, counted{sample(v1, 1, 2)}, func(text string) { warnings = append(warnings, text) })
	for range 2 {
		expect(t, counts(t, m, stage(3))[0], 0, 0, 0)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "what pods use is not known: ") || !strings.Contains(warnings[0], "forbidden") {
		t.Errorf("warned %q", warnings)
	}
}
