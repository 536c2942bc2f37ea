package kubernetes_test

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gapless-deploy/gapless/internal/kubetest"
	"github.com/gapless-deploy/gapless/internal/meter/kubernetes"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// lastSecond is a meter that counted something in the second before it was asked.
type lastSecond struct{}

func (lastSecond) Counts(_ context.Context, in rollout.Window, of ...rollout.Revision) ([]verdict.Sample, error) {
	return []verdict.Sample{{Revision: of[0].Key(), From: in.Seen.At.Add(-time.Second), To: in.Seen.At, Requests: 1}}, nil
}

// TestARealPodsUsageIsRead: of pods that serve, from a real cluster.
func TestARealPodsUsageIsRead(t *testing.T) {
	t.Parallel()
	c := kubetest.Cluster(t)
	namespace := c.Namespace(t)
	c.Run(t, namespace, kubetest.Web{Name: "web", Replicas: 2})
	list, err := c.In(namespace, "v1", "Pod").List(t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		t.Fatal(err)
	}
	side := rollout.SideState{Revision: v1}
	for _, pod := range list.Items {
		side.Instances = append(side.Instances, rollout.Instance{Name: pod.GetName(), Ready: true})
	}
	m, err := kubernetes.New(c.Config, kubernetes.Options{
		Namespace: namespace, Selector: "app=web", Requests: lastSecond{}, Warn: func(text string) { t.Log(text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	kubetest.Eventually(t, func(ctx context.Context) error {
		for range 20 {
			if _, err := c.AskService(ctx, namespace, "web"); err != nil {
				return err
			}
		}
		in := rollout.Window{Seen: rollout.Observation{At: time.Now(), Sides: map[rollout.Side]rollout.SideState{rollout.Blue: side}}}
		samples, err := m.Counts(ctx, in, v1)
		if err != nil {
			return err
		}
		s := samples[0]
		if !s.HasCPU || s.Memory == 0 || s.Instances != 2 {
			return errors.New("usage is not known yet")
		}
		if s.CPU <= 0 || s.CPU > 4*time.Second || s.Memory < 100<<10 || s.Memory > 1<<30 {
			t.Errorf("cpu %s in a second, %d bytes", s.CPU, s.Memory)
		}
		t.Logf("cpu %s in a second, %d bytes a pod", s.CPU, s.Memory)
		return nil
	})
}
