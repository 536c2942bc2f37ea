package kubernetes_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

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

// open gives a client that calls before and after around each of its writes.
func (r *rolled) open(before, after func()) *reaching {
	r.Helper()
	access := rest.CopyConfig(r.Config)
	if before != nil {
		access.Wrap(func(next http.RoundTripper) http.RoundTripper { return writing{next, before, after} })
	}
	p, err := kubernetes.New(access, kubernetes.Options{
		Service: "shop", Strategy: rollout.Rolling, Traffic: true, Drain: 5 * time.Second, Clock: phase.SystemClock{},
		Target: config.Kubernetes{
			Namespace: r.namespace, Deployment: "web", Service: "web", Image: "gapless.test/web:{revision}", Replicas: 1,
		},
	})
	if err != nil {
		r.Fatal(err)
	}
	return &reaching{p}
}

type writing struct {
	next          http.RoundTripper
	before, after func()
}

func (w writing) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method == http.MethodGet {
		return w.next.RoundTrip(request)
	}
	w.before()
	response, err := w.next.RoundTrip(request)
	w.after()
	return response, err
}

type reaching struct{ *kubernetes.Platform }

func (reaching) Reach(_ context.Context, i rollout.Instance) (http.RoundTripper, error) {
	return podAt(i.Address), nil
}

type podAt string

func (p podAt) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.URL.Scheme, request.URL.Host = "http", string(p)+":8080"
	return http.DefaultTransport.RoundTrip(request)
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
