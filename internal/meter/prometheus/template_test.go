package prometheus

import (
	"regexp"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// TestPodsAreThoseOfTheDeployment: also of one whose name is so long that
// Kubernetes cuts it, and not those of a neighbour.
func TestPodsAreThoseOfTheDeployment(t *testing.T) {
	long := strings.Repeat("a", 50)
	for _, tc := range []struct {
		deployment, pod string
		want            bool
	}{
		{"web", "web-7575f7dcb4-66r9c", true},
		{"web", "web-green-7575f7dcb4-66r9c", false},
		{"web", "web-bcd-7575f7dcb4-66r9c", false},
		{"web", "web-0", false},
		{"web", "my-web-7575f7dcb4-66r9c", false},
		{"web.v1", "web.v1-7575f7dcb4-66r9c", true},
		{"web.v1", "web-v1-7575f7dcb4-66r9c", false},
		{long, long + "-7575f7d66r9c", true},
		{strings.Repeat("a", 57), strings.Repeat("a", 57) + "-66r9c", true},
		{strings.Repeat("a", 60), strings.Repeat("a", 58) + "66r9c", true},
		{long, long[1:] + "-7575f7d66r9c", false},
	} {
		if got := regexp.MustCompile("^(?:" + podsOf(tc.deployment) + ")$").MatchString(tc.pod); got != tc.want {
			t.Errorf("pod %s is one of %s: %t", tc.pod, tc.deployment, got)
		}
	}
}

func TestPodsByNameAreNoOthers(t *testing.T) {
	for pattern, want := range map[string]bool{
		podsNamed([]rollout.Instance{{Name: "a.1"}, {Name: "b-2"}}): true, podsNamed(nil): false, podsNamed([]rollout.Instance{{Name: "b"}}): false,
	} {
		all := regexp.MustCompile("^(?:" + pattern + ")$")
		if all.MatchString("b-2") != want || all.MatchString("") || all.MatchString("a-1") {
			t.Errorf("%q matches what it should not, or not what it should", pattern)
		}
	}
}

// TestTraefikNamesAServiceByItsRoute: as its providers for the Gateway API,
// Ingress and IngressRoute do, and no Service whose name only begins so.
func TestTraefikNamesAServiceByItsRoute(t *testing.T) {
	p := place{namespace: "shop", Side: Side{Service: "web"}}
	_, value, _ := strings.Cut(p.traefik()[0], `"`)
	all := regexp.MustCompile("^(?:" + strings.TrimSuffix(value, `"`) + ")$")
	for service, want := range map[string]bool{
		"shop-web-http-80@kubernetesgateway": true, "shop-web-80@kubernetes": true, "shop-web-web@kubernetes": true, "shop-web-8080@kubernetescrd": true,
		"shop-web-green-http-80@kubernetesgateway": false, "shop-web-green-80@kubernetes": false, "shop-web-http-80@file": false,
		"workshop-web-80@kubernetes": false, "shop-web-http-80@kubernetes": false,
	} {
		if all.MatchString(service) != want {
			t.Errorf("%s: %t", service, !want)
		}
	}
}
