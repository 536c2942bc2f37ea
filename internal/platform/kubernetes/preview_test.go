package kubernetes_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gapless-deploy/gapless/internal/kubetest"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// TestTheHeaderLeadsToTheCandidate at every weight, by the route.
func TestTheHeaderLeadsToTheCandidate(t *testing.T) {
	t.Parallel()
	w := newTwoSided(t, rollout.Canary, true)
	w.target.PreviewHeader = "X-Canary: yes"
	p := served(t, w)
	p.launch(rollout.Green, p.spec("v2", "v2", 1))
	for _, weight := range []rollout.Weight{0, 5} {
		if weight > 0 {
			p.shift(rollout.Green, weight)
		}
		kubetest.Eventually(t, func(ctx context.Context) error { // Traefik takes its time
			_, err := p.Ask(ctx, p.host)
			return err
		})
		p.peek("v2")
		if seen := p.seen(); seen.Split.Green != weight {
			t.Errorf("split is %+v", seen.Split)
		}
	}
	p.shift(rollout.Blue, rollout.Full)
	p.peek("v1")
	if _, err := p.Retire(p.ctx(), p.seen().Token, rollout.Green); err != nil {
		t.Error(err)
	}
	rules, _, err := unstructured.NestedSlice(p.object("gateway.networking.k8s.io/v1", "HTTPRoute", "web").Object, "spec", "rules")
	if err != nil || len(rules) != 1 {
		t.Errorf("left are rules %v, %v", rules, err)
	}
}

// peek asks with the header until the version answers; the data plane takes up
// a new rule in its own time.
func (p playing) peek(want string) {
	p.t.Helper()
	kubetest.Eventually(p.t, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Gateway+"/", http.NoBody)
		if err != nil {
			return err
		}
		request.Host = p.host
		request.Header.Set("X-Canary", "yes")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(response.Body)
		if err = errors.Join(err, response.Body.Close()); err == nil && string(body) != want {
			err = fmt.Errorf("the header leads to %q, want %q", body, want)
		}
		return err
	})
}

// ingress leads to the test web app.
const ingress = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  ingressClassName: nginx
  rules:
    - host: shop.test
      http:
        paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]
`

// TestACanaryIngress plays the objects on a real API server. No controller of
// ingress-nginx is there to go by them.
func TestACanaryIngress(t *testing.T) {
	t.Parallel()
	w := newTwoSided(t, rollout.Canary, false)
	w.target.Ingress, w.target.PreviewHeader = "web", "X-Canary: yes"
	w.Apply(t, w.namespace, ingress)
	p := served(t, w)
	const nginx, canary = "nginx.ingress.kubernetes.io/", "web-gapless-canary"
	expect := func(weight string) {
		t.Helper()
		notes := p.object("networking.k8s.io/v1", "Ingress", canary).GetAnnotations()
		for key, want := range map[string]string{
			"canary": "true", "canary-weight": weight, "canary-weight-total": "1000",
			"canary-by-header": "X-Canary", "canary-by-header-value": "yes",
		} {
			if got := notes[nginx+key]; got != want {
				t.Errorf("%s is %q, want %q", key, got, want)
			}
		}
	}
	gone := func() {
		t.Helper()
		_, err := p.In(p.namespace, "networking.k8s.io/v1", "Ingress").Get(p.ctx(), canary, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			t.Errorf("the canary is there: %v", err)
		}
	}
	gone()
	p.launch(rollout.Green, p.spec("v2", "v2", 1))
	expect("0")
	if seen := p.seen(); seen.Split != rollout.SplitTo(rollout.Blue, rollout.Full) {
		t.Errorf("split is %+v", seen.Split)
	}
	p.shift(rollout.Green, 5)
	expect("5")
	p.shift(rollout.Green, 500)
	expect("500")
	p.shift(rollout.Blue, rollout.Full)
	gone()
	p.shift(rollout.Green, 250)
	expect("250")
	p.shift(rollout.Green, rollout.Full)
	gone()
	if _, err := p.Retire(p.ctx(), p.seen().Token, rollout.Blue); err != nil {
		t.Error(err)
	}
	if version, err := p.AskService(p.ctx(), p.namespace, "web"); version != "v2" {
		t.Errorf("the Service is answered by %q, %v", version, err)
	}
}
