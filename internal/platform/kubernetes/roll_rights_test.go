package kubernetes_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/kubetest"
	"github.com/gapless-deploy/gapless/internal/platform/kubernetes"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// TestRollRights writes down which rights a rolling update uses, one that fails
// too; testdata/rights has them.
func TestRollRights(t *testing.T) {
	t.Parallel()
	r := newRolled(t, 0)
	used := &rights{t: t, used: map[string]map[string]bool{}}
	p := r.openWith(1, used.note)
	look := func(verb string) rollout.Observation {
		t.Helper()
		used.begin(verb)
		seen, err := p.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return seen
	}
	roll := func(to rollout.Spec, n int) {
		t.Helper()
		seen := look("Observe")
		used.begin("Roll")
		if _, err := p.Roll(t.Context(), seen.Token, to, n, nil); err != nil {
			t.Fatal(err)
		}
	}
	seen := look("Observe")
	used.begin("Claim")
	if err := p.Claim(t.Context(), seen.Token, rollout.Mark{Service: "shop"}); err != nil {
		t.Fatal(err)
	}
	one := specOf(t, "v1", "v1", 4)
	roll(one, 4)
	roll(specOf(t, "v2", "v2", 4), 2)
	roll(specOf(t, "v2", "v2", 4), 4)
	roll(rollout.Spec{Revision: one.Revision}, 4)
	for tag, says := range map[string]string{"unready-v3": "probe", "crashing-v3": "last words"} {
		seen = look("Observe what fails")
		used.begin("Roll that fails")
		bad(t, p, seen.Token, specOf(t, tag, tag, 4))
		kubetest.Eventually(t, func(context.Context) error {
			for _, i := range look("Observe what fails").Sides[rollout.Green].Instances {
				if strings.Contains(i.Problem, says) {
					return nil
				}
			}
			return context.DeadlineExceeded
		})
	}
	used.begin("Lints")
	if _, err := p.Lints(t.Context()); err != nil {
		t.Fatal(err)
	}
	used.begin("")
	used.compare(filepath.Join("testdata", "rights", "rolling"))
}

func bad(t *testing.T, p *kubernetes.Platform, seen rollout.Token, spec rollout.Spec) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	if _, err := p.Roll(ctx, seen, spec, 1, nil); err == nil {
		t.Errorf("%s was rolled", spec.Revision)
	}
}
