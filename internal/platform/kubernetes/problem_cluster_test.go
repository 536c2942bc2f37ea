package kubernetes_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gapless-deploy/gapless/internal/kubetest"
)

// TestProblem makes pods that do not become ready, each for another reason.
func TestProblem(t *testing.T) {
	t.Parallel()
	container := func(text string) string {
		return `{"spec":{"template":{"spec":{"containers":[{"name":"web",` + text + `}]}}}}`
	}
	image := func(tag string) string { return container(fmt.Sprintf(`"image":%q`, kubetest.Image(tag))) }
	for name, test := range map[string]struct{ patch, want string }{
		"image":       {image("missing"), "container web: image gapless.test/web:missing cannot be had: "},
		"crash":       {image("crashing-v1"), `last words: "web: crashing, as FAULT asks"`},
		"probe":       {image("unready-v1"), "container web runs and is not ready: Readiness probe failed: "},
		"unscheduled": {`{"spec":{"template":{"spec":{"nodeSelector":{"disk":"fast"}}}}}`, "no node can take it: 0/1 nodes are available"},
		"secret": {
			container(`"env":[{"name":"KEY","valueFrom":{"secretKeyRef":{"name":"keys","key":"one"}}}]`),
			`container web cannot be started: secret "keys" not found`,
		},
		"volume": {
			`{"spec":{"template":{"spec":{"volumes":[{"name":"files","configMap":{"name":"files"}}],
			"containers":[{"name":"web","volumeMounts":[{"name":"files","mountPath":"/files"}]}]}}}}`,
			`starting: MountVolume.SetUp failed for volume "files" : configmap "files" not found`,
		},
		"init": {
			fmt.Sprintf(`{"spec":{"template":{"spec":{"initContainers":[{"name":"prepare","image":%q}]}}}}`, kubetest.Image("crashing-v1")),
			"init container prepare ended with status 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRolled(t, 0)
			r.patch(test.patch)
			r.patch(`{"spec":{"replicas":1}}`)
			p := r.open(nil, nil)
			kubetest.Eventually(t, func(ctx context.Context) error {
				seen, err := p.Observe(ctx)
				if err != nil {
					return err
				}
				for _, side := range seen.Sides {
					for _, i := range side.Instances {
						if strings.Contains(i.Problem, test.want) && !strings.Contains(i.Problem, "\n") {
							return nil
						}
						err = fmt.Errorf("the problem is %q, want %q", i.Problem, test.want)
					}
				}
				return err
			})
		})
	}
}

func (r *rolled) patch(text string) {
	r.Helper()
	_, err := r.In(r.namespace, "apps/v1", "Deployment").Patch(r.Context(), "web", types.StrategicMergePatchType,
		[]byte(text), metav1.PatchOptions{})
	if err != nil {
		r.Fatal(err)
	}
}

// TestRollWithoutRoom rolls where the cluster makes no pod at all.
func TestRollWithoutRoom(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hinder func(*rolled)
		want   string
	}{
		"quota": {func(r *rolled) {
			r.Apply(r, r.namespace, `{"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "2"}}}`)
		}, "exceeded quota: few"},
		"admission": {func(r *rolled) {
			_, err := r.Client.Resource(kubetest.Resource("v1", "Namespace")).Patch(r.Context(), r.namespace, types.MergePatchType,
				[]byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`), metav1.PatchOptions{})
			if err != nil {
				r.Fatal(err)
			}
		}, "violates PodSecurity"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRolled(t, 0)
			p := r.open(nil, nil)
			r.roll(p, specOf(t, "v1", "v1", 2), 2, nil)
			test.hinder(r)
			late := errors.New("not ready in the time it was given")
			ctx, cancel := context.WithTimeoutCause(t.Context(), 6*time.Second, late)
			defer cancel()
			seen, err := p.Observe(ctx)
			if err != nil {
				t.Fatal(err)
			}
			_, err = p.Roll(ctx, seen.Token, specOf(t, "v2", "v2", 2), 1, nil)
			if !errors.Is(err, late) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("rolled with %v, want %q", err, test.want)
			}
			if seen, err = p.Observe(t.Context()); err != nil || seen.Sides["blue"].Ready != 2 {
				t.Errorf("stable is %+v, %v", seen.Sides, err)
			}
		})
	}
}
