// Package kubetest gives tests a real Kubernetes: the one that "cluster run"
// (scripts/cluster) runs them in. Without it they are skipped. Many tests, and
// test processes, share it, each in a namespace of its own.
package kubetest

import (
	"context"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// EnvKubeconfig names the environment variable with the administrator's
	// kubeconfig.
	EnvKubeconfig = "GAPLESS_TEST_KUBECONFIG"
	// EnvGateway names the one with the host and port of the Gateway's data plane.
	EnvGateway = "GAPLESS_TEST_GATEWAY"
	// EnvMetrics names the one with the address of the data plane's metrics.
	EnvMetrics = "GAPLESS_TEST_GATEWAY_METRICS"
)

// patience bounds what must happen in the cluster.
const patience = 60 * time.Second

// Access is an administrator's access to the cluster.
type Access struct {
	Kubeconfig string // a file
	Gateway    string // host and port that answer for each HTTPRoute of the Gateway
	Metrics    string // address of the data plane's Prometheus metrics

	Config *rest.Config
	Client dynamic.Interface
}

// Cluster gives access to the cluster, or skips the test and says why.
func Cluster(t testing.TB) *Access {
	t.Helper()
	file := os.Getenv(EnvKubeconfig)
	if file == "" {
		t.Skipf("no Kubernetes to test on: %s is unset; \"make test-kubernetes\" starts one", EnvKubeconfig)
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatalf("%s: %v", EnvKubeconfig, err)
	}
	config.QPS = -1 // a test waits for the cluster, not for its own client
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &Access{
		Kubeconfig: file, Gateway: os.Getenv(EnvGateway), Metrics: os.Getenv(EnvMetrics),
		Config: config, Client: client,
	}
}

// Namespace makes a namespace that goes with the test.
func (a *Access) Namespace(t testing.TB) string {
	t.Helper()
	spaces := a.Client.Resource(Resource("v1", "Namespace"))
	space := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{
			"generateName": "test-",
			"annotations":  map[string]any{"test": t.Name()},
		},
	}}
	made, err := spaces.Create(t.Context(), space, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		// Its pods may take their time to end: nobody waits for them.
		if err := spaces.Delete(ctx, made.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Errorf("remove the namespace %s: %v", made.GetName(), err)
		}
	})
	return made.GetName()
}

// Eventually waits until try gives no error; the test ends if it never does.
func Eventually(t testing.TB, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("after %s still: %v", patience, err)
		}
	}
}
