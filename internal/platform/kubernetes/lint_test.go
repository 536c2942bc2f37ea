package kubernetes_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/platform/kubernetes"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// TestLints puts in one thing after the other that was missing, and takes out
// what was in the way.
func TestLints(t *testing.T) {
	t.Parallel()
	r := newRolled(t, 0)
	r.patch(`{"spec":{"replicas":1,"template":{"spec":{"terminationGracePeriodSeconds":4,
		"containers":[{"name":"web","readinessProbe":null,"lifecycle":null}]}}}}`)
	target := config.Kubernetes{Namespace: r.namespace, Deployment: "web", Service: "web", Image: "gapless.test/web:{revision}"}
	lints := func(strategy rollout.Strategy) []string {
		t.Helper()
		p, err := kubernetes.New(r.Config, kubernetes.Options{
			Service: "shop", Strategy: strategy, Traffic: true, Drain: 5e9, Clock: phase.SystemClock{}, Target: target,
		})
		if err != nil {
			t.Fatal(err)
		}
		found, err := p.Lints(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	has := func(strategy rollout.Strategy, begins ...string) {
		t.Helper()
		found := lints(strategy)
		ok := slices.EqualFunc(found, begins, strings.Contains)
		if !ok {
			t.Errorf("%s: found is\n%s\nwant\n%s", strategy, strings.Join(found, "\n"), strings.Join(begins, "\n"))
		}
	}
	has(rollout.Rolling, "has no readinessProbe", "has no preStop: ", "requests that take longer than 4s are cut, drain allows them 5s", "has one pod")

	r.patch(`{"spec":{"replicas":2,"template":{"spec":{"terminationGracePeriodSeconds":7,
		"containers":[{"name":"web","readinessProbe":{"tcpSocket":{"port":8080}}}]}}}}`)
	target.InjectPreStop = 3e9
	has(rollout.Rolling, "inject_prestop gives it to the candidate", "no PodDisruptionBudget")

	r.Apply(t, r.namespace, `{"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
		"spec": {"maxUnavailable": 1, "selector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}}}`)
	r.patch(`{"spec":{"template":{"spec":{"containers":[{"name":"web","lifecycle":{"preStop":{"sleep":{"seconds":3}}}}]}}}}`)
	has(rollout.Rolling, "requests that take longer than 4s are cut")
	r.patch(`{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":30}}}}`)
	has(rollout.Rolling)
	has(rollout.Canary)

	r.Apply(t, r.namespace, `{"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "load"},
		"spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 9}}`)
	has(rollout.Rolling, "may go down to one pod")
	has(rollout.Canary, "may go down to one pod", "the candidate beside it keeps")
	target.Replicas = 4
	has(rollout.Rolling, "may go down to one pod", "so does target.kubernetes.replicas")
	target.Replicas = 0

	r.patch(`{"metadata":{"annotations":{"argocd.argoproj.io/tracking-id":"shop"}},"spec":{"paused":true,"revisionHistoryLimit":0}}`)
	has(rollout.Rolling, "revisionHistoryLimit 0", "is paused by somebody", "is Argo CD's: have it ignore", "may go down")
	r.patch(`{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null},"paused":false,"template":{"spec":{"containers":[{"name":"proxy","image":"proxy:1"}]}}}}`)
	has(rollout.Canary, "container proxy has no preStop beside web's", "strategy Recreate: whoever else", "may go down", "the candidate beside it")
}
