package kubernetes_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/kubetest"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/platform/kubernetes"
	"github.com/gapless-deploy/gapless/internal/platform/platformtest"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

func TestRoller(t *testing.T) {
	t.Parallel()
	platformtest.Roller(t, rollStage)
}

// rollStage is a Deployment without pods behind a Service.
func rollStage(t *testing.T) *platformtest.Stage {
	t.Helper()
	r := newRolled(t, 0)
	describe := func(fault string) func(string, int) rollout.Spec {
		return func(id string, instances int) rollout.Spec { return specOf(t, id, fault+id, instances) }
	}
	return &platformtest.Stage{
		Platform: r.open(nil, nil),
		Hooked:   func(before, after func()) phase.Platform { return r.open(before, after) },
		Good:     describe(""), Unready: describe("unready-"), Crashing: describe("crashing-"),
		Path: "/", Ask: asking(t, r.address), Serves: true,
		Patience: 2 * time.Minute, Short: 8 * time.Second,
	}
}

// specOf is a revision of the test web app.
func specOf(t testing.TB, id, tag string, instances int) rollout.Spec {
	t.Helper()
	s, err := rollout.NewSpec(id, instances, config.KubernetesSpec{Image: kubetest.Image(tag)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rolled is the test web app in a namespace of its own.
type rolled struct {
	*kubetest.Access
	testing.TB
	namespace, address string
}

func newRolled(t testing.TB, replicas int) *rolled {
	t.Helper()
	cluster := kubetest.Cluster(t)
	r := &rolled{Access: cluster, TB: t, namespace: cluster.Namespace(t)}
	web := kubetest.Web{Replicas: replicas, PreStop: 2 * time.Second}
	if replicas > 0 {
		cluster.Run(t, r.namespace, web)
	} else {
		cluster.Apply(t, r.namespace, strings.Replace(web.Manifest(t), "replicas: 2", "replicas: 0", 1))
	}
	service := r.get("v1", "Service", "web")
	address, _, err := unstructured.NestedString(service.Object, "spec", "clusterIP")
	if err != nil {
		t.Fatal(err)
	}
	r.address = "http://" + address + "/"
	return r
}

func (r *rolled) get(apiVersion, kind, name string) *unstructured.Unstructured {
	r.Helper()
	o, err := r.In(r.namespace, apiVersion, kind).Get(r.Context(), name, metav1.GetOptions{})
	if err != nil {
		r.Fatal(err)
	}
	return o
}

// spec is a Deployment's.
func (r *rolled) spec(name string) map[string]any {
	r.Helper()
	spec, _, err := unstructured.NestedMap(r.get("apps/v1", "Deployment", name).Object, "spec")
	if err != nil {
		r.Fatal(err)
	}
	return spec
}

// open gives a client that calls before and after around each of its writes.
func (r *rolled) open(before, after func()) *kubernetes.Platform {
	r.Helper()
	if before == nil {
		return r.openWith(1, nil)
	}
	return r.openWith(1, func(request *http.Request, next http.RoundTripper) (*http.Response, error) {
		if request.Method == http.MethodGet {
			return next.RoundTrip(request)
		}
		before()
		response, err := next.RoundTrip(request)
		after()
		return response, err
	})
}

// openWith gives one whose requests pass by way of by, where the file names a
// number of pods, or none.
func (r *rolled) openWith(replicas int, by func(*http.Request, http.RoundTripper) (*http.Response, error)) *kubernetes.Platform {
	r.Helper()
	access := rest.CopyConfig(r.Config)
	if by != nil {
		access.Wrap(func(next http.RoundTripper) http.RoundTripper { return through{next, by} })
	}
	p, err := kubernetes.New(access, kubernetes.Options{
		Service: "shop", Strategy: rollout.Rolling, Traffic: true, Drain: 5 * time.Second, Clock: phase.SystemClock{},
		Target: config.Kubernetes{
			Namespace: r.namespace, Deployment: "web", Service: "web", Image: "gapless.test/web:{revision}", Replicas: replicas,
		},
	})
	if err != nil {
		r.Fatal(err)
	}
	return p
}

// asking gives a client that opens a connection for each request, so that it
// has nothing to try again on.
func asking(t testing.TB, address string) func(context.Context) (string, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	return func(ctx context.Context) (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return "", err
		}
		response, err := client.Do(request)
		if err != nil {
			return "", err
		}
		body, err := io.ReadAll(response.Body)
		if err = errors.Join(err, response.Body.Close()); err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d: %q", response.StatusCode, body)
		}
		return string(body), err
	}
}

func (r *rolled) roll(p *kubernetes.Platform, to rollout.Spec, n int, admit func(context.Context, rollout.Instance) error) {
	r.Helper()
	seen, err := p.Observe(r.Context())
	if err == nil {
		_, err = p.Roll(r.Context(), seen.Token, to, n, admit)
	}
	if err != nil {
		r.Fatal(err)
	}
}

// TestRollOvershoot watches each number that the controller gives a ReplicaSet:
// however slow gapless is, there is one new pod at most that was not let in.
func TestRollOvershoot(t *testing.T) {
	t.Parallel()
	r := newRolled(t, 0)
	p := r.open(nil, nil)
	one, two := specOf(t, "v1", "v1", 4), specOf(t, "v2", "v2", 4)
	r.roll(p, one, 4, nil)
	before := r.spec("web")
	sizes, end := r.sizes()
	admitted := 0
	slow := func(ctx context.Context, _ rollout.Instance) error {
		// The controller had all the time it may want by now.
		err := phase.SystemClock{}.Sleep(ctx, 2*time.Second)
		for name, size := range sizes() {
			if size.total > 5 || size.side == rollout.Green && size.wanted > admitted+1 {
				t.Errorf("%s was at %+v when %d pods were let in", name, size, admitted)
			}
		}
		admitted++
		return err
	}
	calls := p.Calls()
	for _, n := range []int{1, 3, 4} {
		r.roll(p, two, n, slow)
		if paused := r.spec("web")["paused"] == true; paused != (n < 4) {
			t.Errorf("after %d of 4 pods, paused is %t", n, paused)
		}
	}
	end()
	t.Logf("a roll of 4 pods in 3 batches took %d requests", p.Calls()-calls)
	after := r.spec("web")
	delete(before, "template")
	delete(after, "template")
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the Deployment's own settings are others now (-before +after):\n%s", diff)
	}
}

type size struct {
	side          rollout.Side
	wanted, total int // the most that were wanted of it, and of all
}

// sizes follows the ReplicaSets.
func (r *rolled) sizes() (seen func() map[string]size, end func()) {
	r.Helper()
	watcher, err := r.In(r.namespace, "apps/v1", "ReplicaSet").Watch(r.Context(), metav1.ListOptions{})
	if err != nil {
		r.Fatal(err)
	}
	var mu sync.Mutex
	most, now := map[string]size{}, map[string]int{}
	var done sync.WaitGroup
	done.Go(func() {
		for event := range watcher.ResultChan() {
			set, ok := event.Object.(*unstructured.Unstructured)
			if !ok {
				continue
			}
			mu.Lock()
			now[set.GetName()] = kubetest.Int(set, "spec", "replicas")
			total := 0
			for _, n := range now {
				total += n
			}
			side, _, err := unstructured.NestedString(set.Object, "spec", "template", "metadata", "labels", "gapless.dev/side")
			if err != nil {
				r.Error(err)
			}
			s := most[set.GetName()]
			most[set.GetName()] = size{rollout.Side(side), max(s.wanted, now[set.GetName()]), max(s.total, total)}
			mu.Unlock()
		}
	})
	return func() map[string]size {
			mu.Lock()
			defer mu.Unlock()
			return maps.Clone(most)
		}, func() {
			watcher.Stop()
			done.Wait()
		}
}

// TestRollScaled changes the number of pods while they are rolled, as an
// autoscaler does: the shares stay, and nobody scales it back.
func TestRollScaled(t *testing.T) {
	t.Parallel()
	r := newRolled(t, 0)
	p := r.openWith(0, nil)
	one, two := specOf(t, "v1", "v1", 2), specOf(t, "v2", "v2", 2)
	r.roll(p, one, 2, nil)
	r.roll(p, two, 1, nil)
	half := rollout.SplitTo(rollout.Green, rollout.Full/2)
	is := func(split rollout.Split, blue, green int) {
		t.Helper()
		kubetest.Eventually(t, func(ctx context.Context) error {
			seen, err := p.Observe(ctx)
			if err == nil && (seen.Split != split || seen.Sides["blue"].Ready != blue || seen.Sides["green"].Ready != green) {
				err = fmt.Errorf("observed is %+v at %+v, want %d blue and %d green", seen.Sides, seen.Split, blue, green)
			}
			return err
		})
	}
	is(half, 1, 1)
	r.patch(`{"spec":{"replicas":4}}`)
	is(half, 2, 2)
	r.roll(p, two, 2, nil)
	is(rollout.SplitTo(rollout.Green, rollout.Full), 0, 4)
	r.patch(`{"spec":{"replicas":3}}`)
	r.roll(p, rollout.Spec{Revision: one.Revision}, 2, nil)
	is(rollout.SplitTo(rollout.Blue, rollout.Full), 3, 0)
}

// TestRollRefused tells what keeps a Deployment from being rolled, and leaves it
// as it is.
func TestRollRefused(t *testing.T) {
	t.Parallel()
	r := newRolled(t, 0)
	p := r.open(nil, nil)
	for patch, want := range map[string]string{
		`{"spec":{"paused":true}}`:                                       "somebody has paused it",
		`{"spec":{"revisionHistoryLimit":0}}`:                            "its revisionHistoryLimit is 0",
		`{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null}}}`: "its strategy is Recreate",
	} {
		before := r.spec("web")
		r.patch(patch)
		seen, err := p.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err = p.Roll(t.Context(), seen.Token, specOf(t, "v1", "v1", 2), 2, nil); err == nil || !strings.Contains(err.Error(), want) || rollout.HintOf(err) == "" {
			t.Errorf("rolled with %v, want %q and a hint", err, want)
		}
		put := r.get("apps/v1", "Deployment", "web")
		put.Object["spec"] = before
		if _, err := r.In(r.namespace, "apps/v1", "Deployment").Update(t.Context(), put, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	r.Apply(t, r.namespace, "apiVersion: v1\nkind: Service\nmetadata: {name: web-green}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n")
	seen, err := p.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = p.Roll(t.Context(), seen.Token, specOf(t, "v1", "v1", 2), 2, nil); err == nil || !strings.Contains(err.Error(), "Service web-green of a canary is there") {
		t.Errorf("rolled with %v beside a canary's Service", err)
	}
}
