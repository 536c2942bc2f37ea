package kubetest

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"text/template"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Image is the test web app's of a tag: "v1", or with a fault, "unready-v1";
// testdata/apps/web says which faults there are. An unknown tag is an image that
// cannot be pulled.
func Image(tag string) string { return "gapless.test/web:" + tag }

// Web is the test web app as people run it before Gapless comes: a Deployment, a
// Service of the same name, and, if it has a host, an HTTPRoute of that name too.
// It listens on 8080, answers the tag of its image, and is ready by /healthz.
type Web struct {
	Name     string // default "web"
	Tag      string // of its image, default "v1"
	Replicas int    // default 2
	Host     string // that its route answers for; none makes no route
	// Work is how long a request takes (default 5ms).
	Work time.Duration
	// PreStop is how long a pod that is to end goes on serving, in whole seconds;
	// 0 leaves the hook out.
	PreStop time.Duration
}

//go:embed web.yaml
var webManifest string

// Manifest gives the app's objects as YAML documents.
func (w Web) Manifest(t testing.TB) string {
	t.Helper()
	w = w.filled()
	parsed, err := template.New("web").Parse(webManifest)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := parsed.Execute(&text, struct {
		Web
		Image string
	}{w, Image(w.Tag)}); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func (w Web) filled() Web {
	w.Name = cmp.Or(w.Name, "web")
	w.Tag = cmp.Or(w.Tag, "v1")
	w.Replicas = cmp.Or(w.Replicas, 2)
	w.Work = cmp.Or(w.Work, 5*time.Millisecond)
	return w
}

// Run makes the app in the namespace and waits until all its pods are ready, and
// its route answers.
func (a *Access) Run(t testing.TB, namespace string, w Web) {
	t.Helper()
	w = w.filled()
	a.Apply(t, namespace, w.Manifest(t))
	Eventually(t, func(ctx context.Context) error {
		d, err := a.In(namespace, "apps/v1", "Deployment").Get(ctx, w.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if ready := Int(d, "status", "readyReplicas"); ready < w.Replicas {
			return fmt.Errorf("%s: %d of %d pods are ready", w.Name, ready, w.Replicas)
		}
		if w.Host == "" {
			return nil
		}
		_, err = a.Ask(ctx, w.Host)
		return err
	})
}

// Int reads a number of an object; an absent one is 0.
func Int(o *unstructured.Unstructured, path ...string) int {
	n, _, err := unstructured.NestedInt64(o.Object, path...)
	if err != nil {
		return 0
	}
	return int(n)
}

// Ask sends one request for a host through the gateway, on a connection of its
// own and without trying again, and returns which version answered.
func (a *Access) Ask(ctx context.Context, host string) (version string, err error) {
	return ask(ctx, a.Gateway, host)
}

// AskService does the same at the address of a Service.
func (a *Access) AskService(ctx context.Context, namespace, name string) (version string, err error) {
	service, err := a.In(namespace, "v1", "Service").Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	address, _, err := unstructured.NestedString(service.Object, "spec", "clusterIP")
	if err != nil {
		return "", err
	}
	return ask(ctx, address, name)
}

func ask(ctx context.Context, address, host string) (body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", http.NoBody)
	if err != nil {
		return "", err
	}
	request.Host = host
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return string(content), fmt.Errorf("status %d: %q", response.StatusCode, content)
	}
	return string(content), nil
}
