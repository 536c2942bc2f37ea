package kubernetes_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/platform/kubernetes"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

var _ phase.Sides = (*kubernetes.Platform)(nil)

// playing is a platform on which the test's verbs must succeed.
type playing struct {
	*twoSided
	*kubernetes.Platform
}

// served has v1 on blue take all of the traffic.
func served(t *testing.T, w *twoSided) playing {
	t.Helper()
	p := playing{w, w.open(func() {}, func() {})}
	p.launch(rollout.Blue, w.spec("v1", "v1", 1))
	p.shift(rollout.Blue, rollout.Full)
	return p
}

func (p playing) ctx() context.Context {
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	p.t.Cleanup(cancel)
	return ctx
}

func (p playing) seen() rollout.Observation {
	p.t.Helper()
	seen, err := p.Observe(p.ctx())
	p.must(err)
	return seen
}

func (p playing) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p playing) launch(side rollout.Side, spec rollout.Spec) {
	p.t.Helper()
	p.must(p.Launch(p.ctx(), p.seen().Token, side, spec))
}

func (p playing) shift(side rollout.Side, w rollout.Weight) {
	p.t.Helper()
	p.must(p.Shift(p.ctx(), p.seen().Token, rollout.SplitTo(side, w)))
	if seen := p.seen(); seen.Split != rollout.SplitTo(side, w) {
		p.t.Errorf("in force is %+v, asked for was %s on %s", seen.Split, w, side)
	}
}

func (p playing) object(apiVersion, kind, name string) *unstructured.Unstructured {
	p.t.Helper()
	o, err := p.In(p.namespace, apiVersion, kind).Get(p.t.Context(), name, metav1.GetOptions{})
	p.must(err)
	return o
}

// through has each request pass by way of by.
type through struct {
	next http.RoundTripper
	by   func(*http.Request, http.RoundTripper) (*http.Response, error)
}

func (t through) RoundTrip(request *http.Request) (*http.Response, error) {
	return t.by(request, t.next)
}

func (p playing) through(by func(*http.Request, http.RoundTripper) (*http.Response, error)) playing {
	access := rest.CopyConfig(p.Config)
	access.Wrap(func(next http.RoundTripper) http.RoundTripper { return through{next, by} })
	return playing{p.twoSided, p.openBy(access)}
}

func TestADeploymentThatIsDeletedMeanwhileIsNamed(t *testing.T) {
	t.Parallel()
	p := served(t, newTwoSided(t, rollout.BlueGreen, false))
	watching := p.through(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/deployments") {
			response, err := next.RoundTrip(r)
			if derr := p.In(p.namespace, "apps/v1", "Deployment").Delete(context.WithoutCancel(r.Context()), "web-green", metav1.DeleteOptions{}); derr != nil {
				t.Error(derr)
			}
			return response, err
		}
		return next.RoundTrip(r)
	})
	err := watching.Launch(p.ctx(), p.seen().Token, rollout.Green, p.spec("v2", "unready-v2", 1))
	if err == nil || !strings.Contains(err.Error(), "web-green was deleted") {
		t.Errorf("launched with %v", err)
	}
	if seen := p.seen(); seen.Split != rollout.SplitTo(rollout.Blue, rollout.Full) {
		t.Errorf("split is %+v", seen.Split)
	}
}

func TestOthersMayWriteTheSameObjects(t *testing.T) {
	t.Parallel()
	p := served(t, newTwoSided(t, rollout.BlueGreen, false))
	var conflicts atomic.Int32
	disturbed := p.through(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		kinds := map[string]string{"/services/web": "v1", "/deployments/web-green": "apps/v1"}
		for suffix, version := range kinds {
			if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, suffix) && conflicts.Load() < 4 {
				conflicts.Add(1)
				kind := map[string]string{"v1": "Service", "apps/v1": "Deployment"}[version]
				mark := []byte(`{"metadata":{"annotations":{"example.com/n":"` + string('a'+conflicts.Load()) + `"}}}`)
				_, name, _ := strings.Cut(strings.TrimPrefix(suffix, "/"), "/")
				if _, err := p.In(p.namespace, version, kind).Patch(r.Context(), name, types.MergePatchType, mark, metav1.PatchOptions{}); err != nil {
					t.Error(err)
				}
			}
		}
		return next.RoundTrip(r)
	})
	disturbed.launch(rollout.Green, p.spec("v2", "v2", 1))
	disturbed.shift(rollout.Green, rollout.Full)
	if conflicts.Load() < 4 {
		t.Errorf("%d conflicts were made", conflicts.Load())
	}
	if mark := p.object("v1", "Service", "web").GetAnnotations()["example.com/n"]; mark == "" {
		t.Error("what others wrote is gone")
	}
}

func TestAServerThatThrottlesIsAskedAgain(t *testing.T) {
	t.Parallel()
	p := served(t, newTwoSided(t, rollout.BlueGreen, false))
	var throttled atomic.Int32
	slowed := p.through(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if n := throttled.Load(); r.Method == http.MethodPut && n < 2 && throttled.CompareAndSwap(n, n+1) {
			return &http.Response{
				StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}, Request: r,
				Body: io.NopCloser(strings.NewReader("slowly")),
			}, nil
		}
		return next.RoundTrip(r)
	})
	slowed.launch(rollout.Green, p.spec("v2", "v2", 1))
	slowed.shift(rollout.Green, rollout.Full)
	if throttled.Load() != 2 {
		t.Errorf("throttled %d times", throttled.Load())
	}
}

func TestAServerThatIsAwaySaysSo(t *testing.T) {
	t.Parallel()
	p := served(t, newTwoSided(t, rollout.BlueGreen, false))
	p.launch(rollout.Green, p.spec("v2", "v2", 1))
	var away atomic.Bool
	cut := p.through(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if away.Load() || r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/services/web") && away.CompareAndSwap(false, true) {
			return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		}
		return next.RoundTrip(r)
	})
	to := rollout.SplitTo(rollout.Green, rollout.Full)
	if err := cut.Shift(p.ctx(), p.seen().Token, to); !errors.Is(err, rollout.ErrUnavailable) {
		t.Errorf("shifted with %v, want ErrUnavailable", err)
	}
	if _, err := cut.Observe(p.ctx()); !errors.Is(err, rollout.ErrUnavailable) {
		t.Errorf("observed with %v, want ErrUnavailable", err)
	}
	p.shift(rollout.Green, rollout.Full)
}

func TestAnAccountWithoutRightsIsToldSo(t *testing.T) {
	t.Parallel()
	w := newTwoSided(t, rollout.BlueGreen, false)
	access := rest.CopyConfig(w.Config)
	access.Impersonate.UserName = "nobody"
	_, err := w.openBy(access).Observe(t.Context())
	if err == nil || !strings.Contains(rollout.HintOf(err), "Role") || errors.Is(err, rollout.ErrUnavailable) {
		t.Errorf("observed with %v, hint %q", err, rollout.HintOf(err))
	}
}

func TestPodsWithoutTheLabelAreNotReleasedOver(t *testing.T) {
	t.Parallel()
	w := newTwoSided(t, rollout.BlueGreen, false)
	patch := []byte(`{"spec":{"replicas":1}}`)
	if _, err := w.In(w.namespace, "apps/v1", "Deployment").Patch(t.Context(), "web", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	p := playing{w, w.open(func() {}, func() {})}
	for p.seen().Sides[rollout.Blue].Ready == 0 {
		if p.ctx().Err() != nil {
			t.Fatal("it never came up")
		}
	}
	err := p.Launch(p.ctx(), p.seen().Token, rollout.Green, p.spec("v2", "v2", 1))
	if err == nil || rollout.HintOf(err) == "" {
		t.Errorf("launched with %v", err)
	}
	if seen := p.seen(); len(seen.Sides) != 1 || seen.Split != rollout.SplitTo(rollout.Blue, rollout.Full) {
		t.Errorf("observed: %+v", seen)
	}
}
