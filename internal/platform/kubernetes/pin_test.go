package kubernetes_test

import (
	"context"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gapless-deploy/gapless/internal/kubetest"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// TestPinned shifts traffic away from what an autoscaler would then take pods
// from.
func TestPinned(t *testing.T) {
	t.Parallel()
	w := newTwoSided(t, rollout.BlueGreen, false)
	p := served(t, w)
	w.Apply(t, w.namespace, `{"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "load"},
		"spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 9}}`)
	scale(t, p, 3)
	is := func(want int, when string) {
		t.Helper()
		if least := kubetest.Int(p.object("autoscaling/v2", "HorizontalPodAutoscaler", "load"), "spec", "minReplicas"); least != want {
			t.Errorf("%s, minReplicas is %d, want %d", when, least, want)
		}
	}
	p.launch(rollout.Green, w.spec("v2", "v2", 1))
	is(1, "with a candidate that has no traffic")
	p.shift(rollout.Green, rollout.Full)
	is(3, "with all of the traffic elsewhere")
	p.shift(rollout.Blue, rollout.Full)
	is(1, "with all of the traffic back")
	p.shift(rollout.Green, rollout.Full)
	is(3, "with all of the traffic elsewhere again")
	_, err := p.Retire(p.ctx(), p.seen().Token, rollout.Blue)
	p.must(err)
	is(1, "retired")
}

// scale has the app's first Deployment run so many pods, as an autoscaler would.
func scale(t *testing.T, p playing, n int) {
	t.Helper()
	_, err := p.In(p.namespace, "apps/v1", "Deployment").Patch(t.Context(), "web", types.MergePatchType,
		fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n), metav1.PatchOptions{})
	p.must(err)
	kubetest.Eventually(t, func(context.Context) error {
		if ready := p.seen().Sides[rollout.Blue].Ready; ready != n {
			return fmt.Errorf("%d pods are ready, want %d", ready, n)
		}
		return nil
	})
}
