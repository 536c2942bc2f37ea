package kubernetes_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/kubetest"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/platform/kubernetes"
	"github.com/gapless-deploy/gapless/internal/platform/platformtest"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

func TestSidesBySelector(t *testing.T) {
	t.Parallel()
	platformtest.Sides(t, func(t *testing.T) *platformtest.Stage {
		w := newTwoSided(t, rollout.BlueGreen, false)
		stage := w.stage()
		stage.WholeOnly = true
		return stage
	})
}

func TestSidesByReplicas(t *testing.T) {
	t.Parallel()
	platformtest.Sides(t, func(t *testing.T) *platformtest.Stage {
		return newTwoSided(t, rollout.Canary, false).stage()
	})
}

func TestSidesByRoute(t *testing.T) {
	t.Parallel()
	platformtest.Sides(t, func(t *testing.T) *platformtest.Stage {
		return newTwoSided(t, rollout.Canary, true).stage()
	})
}

// twoSided is the test web app in a namespace of its own, with no pods yet.
type twoSided struct {
	*kubetest.Access
	t         *testing.T
	namespace string
	host      string // of its route; empty where it has none
	strategy  rollout.Strategy
	target    config.Kubernetes
}

func newTwoSided(t *testing.T, strategy rollout.Strategy, route bool) *twoSided {
	t.Helper()
	cluster := kubetest.Cluster(t)
	w := &twoSided{Access: cluster, t: t, namespace: cluster.Namespace(t), strategy: strategy}
	w.target = config.Kubernetes{Namespace: w.namespace, Deployment: "web", Service: "web", Image: "gapless.test/web:{revision}"}
	web := kubetest.Web{PreStop: time.Second}
	if route {
		w.host, w.target.Route = w.namespace+".test", "web"
		web.Host = w.host
	}
	cluster.Apply(t, w.namespace, strings.Replace(web.Manifest(t), "replicas: 2", "replicas: 0", 1))
	return w
}

func (w *twoSided) stage() *platformtest.Stage {
	describe := func(fault string) func(string, int) rollout.Spec {
		return func(id string, instances int) rollout.Spec { return w.spec(id, fault+id, instances) }
	}
	none := func() {}
	return &platformtest.Stage{
		Platform: sidesAlone{w.open(none, none)},
		Hooked:   func(before, after func()) phase.Platform { return sidesAlone{w.open(before, after)} },
		Good:     describe(""), Unready: describe("unready-"), Crashing: describe("crashing-"),
		Path: "/", Ask: w.ask(),
		Patience: 2 * time.Minute, Short: 8 * time.Second,
	}
}

// spec is a revision of the test web app.
func (w *twoSided) spec(id, tag string, instances int) rollout.Spec {
	w.t.Helper()
	s, err := rollout.NewSpec(id, instances, config.KubernetesSpec{Image: kubetest.Image(tag)})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// sidesAlone hides that the platform can roll too.
type sidesAlone struct{ phase.Sides }

// open gives a client that calls before and after around each of its writes.
func (w *twoSided) open(before, after func()) *kubernetes.Platform {
	w.t.Helper()
	access := rest.CopyConfig(w.Config)
	access.Wrap(func(next http.RoundTripper) http.RoundTripper { return around{next, before, after} })
	return w.openBy(access)
}

func (w *twoSided) openBy(access *rest.Config) *kubernetes.Platform {
	w.t.Helper()
	p, err := kubernetes.New(access, kubernetes.Options{
		Service: "shop", Target: w.target, Strategy: w.strategy, Traffic: true, Drain: 5 * time.Second, Clock: phase.SystemClock{},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// ask asks by the route, and else at the Service's address.
func (w *twoSided) ask() func(context.Context) (string, error) {
	if w.host != "" {
		return func(ctx context.Context) (string, error) { return w.Ask(ctx, w.host) }
	}
	return func(ctx context.Context) (string, error) { return w.AskService(ctx, w.namespace, "web") }
}

type around struct {
	next          http.RoundTripper
	before, after func()
}

func (a around) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method == http.MethodGet {
		return a.next.RoundTrip(request)
	}
	a.before()
	response, err := a.next.RoundTrip(request)
	a.after()
	return response, err
}
