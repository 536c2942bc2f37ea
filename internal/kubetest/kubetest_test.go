package kubetest_test

import (
	"context"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gapless-deploy/gapless/internal/kubetest"
)

// TestWeb shows that the cluster does what the tests on it rely on: pods run,
// services and routes lead to them, and a template that changes rolls out.
func TestWeb(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Cluster(t)
	namespace := cluster.Namespace(t)
	host := namespace + ".test"
	for _, version := range []string{"v1", "v2"} {
		cluster.Run(t, namespace, kubetest.Web{Tag: version, Host: host})
		kubetest.Eventually(t, func(ctx context.Context) error {
			routed, err := cluster.Ask(ctx, host)
			if err != nil {
				return err
			}
			served, err := cluster.AskService(ctx, namespace, "web")
			if err != nil {
				return err
			}
			if routed != version || served != version {
				return fmt.Errorf("the route answers %q, the service %q; want %q", routed, served, version)
			}
			return nil
		})
	}
}

// TestBadImages shows that each bad image is bad in its own way.
func TestBadImages(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Cluster(t)
	namespace := cluster.Namespace(t)
	for tag, sign := range map[string]func(container map[string]any) bool{
		"unready-v1": func(c map[string]any) bool {
			_, running, err := unstructured.NestedMap(c, "state", "running")
			return err == nil && running && c["ready"] == false
		},
		"crashing-v1": func(c map[string]any) bool { return c["restartCount"] != int64(0) },
		"missing": func(c map[string]any) bool {
			reason, _, err := unstructured.NestedString(c, "state", "waiting", "reason")
			return err == nil && reason == "ErrImagePull"
		},
	} {
		cluster.Apply(t, namespace, kubetest.Web{Name: tag, Tag: tag, Replicas: 1}.Manifest(t))
		kubetest.Eventually(t, func(ctx context.Context) error {
			pods, err := cluster.In(namespace, "v1", "Pod").List(ctx, metav1.ListOptions{LabelSelector: "app=" + tag})
			if err != nil {
				return err
			}
			if len(pods.Items) != 1 {
				return fmt.Errorf("%s: %d pods", tag, len(pods.Items))
			}
			containers, _, err := unstructured.NestedSlice(pods.Items[0].Object, "status", "containerStatuses")
			if err != nil {
				return err
			}
			if len(containers) != 1 {
				return fmt.Errorf("%s: no container yet", tag)
			}
			if c, ok := containers[0].(map[string]any); !ok || !sign(c) {
				return fmt.Errorf("%s: the container is %v", tag, containers[0])
			}
			return nil
		})
	}
}
