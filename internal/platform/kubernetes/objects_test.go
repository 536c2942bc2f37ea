package kubernetes

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kubeyaml "k8s.io/apimachinery/pkg/util/yaml"
	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

var update = flag.Bool("update", false, "write the golden files anew")

func stored(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	json, err := kubeyaml.ToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(json); err != nil {
		t.Fatal(err)
	}
	return o
}

func golden(t *testing.T, name string, got *unstructured.Unstructured) {
	t.Helper()
	json, err := got.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.JSONToYAML(json)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(text)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func shop() *Platform {
	return &Platform{
		opts: Options{Target: config.Kubernetes{
			Namespace: "shop", Deployment: "web", Service: "web", Route: "web", Ingress: "web", PreviewHeader: "X-Canary: yes",
		}},
		cluster: &cluster{namespace: "shop"},
	}
}

func releasing(side rollout.Side, name string) candidate {
	return candidate{
		name: name, side: side, revision: rollout.Revision{ID: "1.1", Spec: "22"}, replicas: 3, drain: 20 * time.Second,
		target: config.KubernetesSpec{Image: "shop/web:1.1", Container: "web", PreStop: 4500 * time.Millisecond},
	}
}

func TestACopyKeepsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	base := stored(t, "deployment.yaml")
	made, err := releasing(rollout.Green, "web-green").copyOf(base)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "deployment-green.golden.yaml", made)
	if diff := cmp.Diff(stored(t, "deployment.yaml").Object, base.Object); diff != "" {
		t.Errorf("the base itself was changed:\n%s", diff)
	}
	// Copied back over the first one, the sides change and nothing else.
	back := stored(t, "deployment.yaml")
	if err := releasing(rollout.Blue, "web").over(back.Object, made); err != nil {
		t.Fatal(err)
	}
	golden(t, "deployment-blue.golden.yaml", back)
}

func TestACopyNeedsTheContainer(t *testing.T) {
	t.Parallel()
	c := releasing(rollout.Green, "web-green")
	c.target.Container = "app"
	if _, err := c.copyOf(stored(t, "deployment.yaml")); err == nil || !strings.Contains(err.Error(), `"app"`) {
		t.Errorf("copied without its container: %v", err)
	}
}

func TestARouteIsDividedRuleByRule(t *testing.T) {
	t.Parallel()
	p, route := shop(), stored(t, "route.yaml")
	stable := rollout.SplitTo(rollout.Blue, rollout.Full)
	if got := p.routed(route, stable); got != stable {
		t.Errorf("before the first shift: %+v", got)
	}
	if err := (byRoute{p}).weigh(route.Object, rollout.SplitTo(rollout.Green, 5)); err != nil {
		t.Fatal(err)
	}
	byRoute{p}.addPreview(route.Object, rollout.Green)
	golden(t, "route-divided.golden.yaml", route)
	if got := p.routed(route, stable); got != rollout.SplitTo(rollout.Green, 5) {
		t.Errorf("read back: %+v", got)
	}
	divided := len(items(at(route.Object, "spec"), "rules"))
	byRoute{p}.dropPreview(route.Object)
	if left := len(items(at(route.Object, "spec"), "rules")); divided != 5 || left != 3 {
		t.Errorf("%d rules with the preview, %d without", divided, left)
	}
	someone := items(items(at(route.Object, "spec"), "rules")[0], "backendRefs")
	someone[0]["weight"], someone[1]["weight"] = int64(50), int64(50)
	if got := p.routed(route, stable); got != rollout.SplitTo(rollout.Green, 253) {
		t.Errorf("rules that differ are read as %+v, want their mean", got)
	}
	if err := (byRoute{p}).weigh(route.Object, rollout.SplitTo(rollout.Green, 5)); err == nil {
		t.Error("weights of somebody else were taken for ours")
	}
}

func TestARouteIsReadAsItWasDivided(t *testing.T) {
	t.Parallel()
	p, route := shop(), stored(t, "route.yaml")
	rapid.Check(t, func(rt *rapid.T) {
		want := rollout.SplitTo(rollout.Green, rollout.Weight(rapid.IntRange(0, int(rollout.Full)).Draw(rt, "green")))
		if err := (byRoute{p}).weigh(route.Object, want); err != nil {
			rt.Fatal(err)
		}
		if got := p.routed(route, rollout.Split{}); got != want {
			rt.Errorf("read back: %+v, want %+v", got, want)
		}
		refs := items(items(at(route.Object, "spec"), "rules")[1], "backendRefs")
		var sum int64
		for _, ref := range refs {
			sum += number(ref, "weight", 1)
		}
		if other := number(refs[0], "weight", 1); len(refs) != 3 || other*4 != sum {
			rt.Errorf("the other service has %d of %d, want a quarter", other, sum)
		}
	})
}

func TestACanaryIngressLeadsToTheCandidateAlone(t *testing.T) {
	t.Parallel()
	p := shop()
	made, err := p.canaryOf(stored(t, "ingress.yaml"), rollout.Green, 5)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "ingress-canary.golden.yaml", made)
	blue := rollout.SplitTo(rollout.Blue, rollout.Full)
	if got := p.ingressed(made, blue); got != rollout.SplitTo(rollout.Green, 5) {
		t.Errorf("read back: %+v", got)
	}
	if green := rollout.SplitTo(rollout.Green, rollout.Full); p.ingressed(made, green) != green {
		t.Error("a canary that leads to where all goes divides nothing")
	}
}

func TestPodsComeClosestToTheWeight(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		weight := rollout.Weight(rapid.IntRange(1, int(rollout.Full)-1).Draw(rt, "weight"))
		stable, most := rapid.IntRange(1, 30).Draw(rt, "stable"), rapid.IntRange(1, 30).Draw(rt, "most")
		n := podsFor(weight, stable, most)
		if n < 1 || n > most {
			rt.Fatalf("%d pods of 1 to %d", n, most)
		}
		for m := 1; m <= most; m++ {
			if off(weight, m, stable) < off(weight, n, stable) {
				rt.Errorf("%d pods beside %d are further from %s than %d", n, stable, weight, m)
			}
		}
		for _, side := range sides() {
			split := splitOf(side, n, stable)
			if again := podsFor(split.Of(side), stable, most); splitOf(side, again, stable) != split {
				rt.Errorf("%s again are %d pods, were %d", split.Of(side), again, n)
			}
		}
	})
}
