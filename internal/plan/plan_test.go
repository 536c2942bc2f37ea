package plan_test

import (
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// TestGateDigestBindsEachField: whoever approves one thing has approved no
// other.
func TestGateDigestBindsEachField(t *testing.T) {
	base := plan.GateInput{
		PlanDigest: "p", Rollout: "r", Phase: rollout.Promote, To: 50, Environment: "production",
		Head: rollout.Head{Rollout: "r", Seq: 7, Hash: "h"}, Dropped: []string{"street"},
	}
	digest := func(g plan.GateInput) string {
		d, err := plan.GateDigest(g)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	want := digest(base)
	for name, edit := range map[string]func(*plan.GateInput){
		"plan":        func(g *plan.GateInput) { g.PlanDigest = "q" },
		"rollout":     func(g *plan.GateInput) { g.Rollout = "s" },
		"phase":       func(g *plan.GateInput) { g.Phase = rollout.Contract },
		"weight":      func(g *plan.GateInput) { g.To = rollout.Full },
		"environment": func(g *plan.GateInput) { g.Environment = "staging" },
		"head":        func(g *plan.GateInput) { g.Head.Hash = "i" },
		"seq":         func(g *plan.GateInput) { g.Head.Seq = 8 },
		"dropped":     func(g *plan.GateInput) { g.Dropped = []string{"street", "city"} },
		"waived":      func(g *plan.GateInput) { g.Waived = true },
	} {
		g := base
		edit(&g)
		if digest(g) == want {
			t.Errorf("another %s has the same digest", name)
		}
	}
	reordered := base
	reordered.Dropped = []string{"b", "a"}
	sorted := base
	sorted.Dropped = []string{"a", "b"}
	if digest(reordered) != digest(sorted) {
		t.Error("the order of what is dropped changes the digest")
	}
}

func TestPlanDigestChangesWithThePlanOnly(t *testing.T) {
	digest := func(intent string, candidate, stable rollout.Revision, structure string) string {
		d, err := plan.Digest(intent, candidate, stable, map[string]string{"0007": structure})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	v1, v2 := rollout.Revision{ID: "1", Spec: "a"}, rollout.Revision{ID: "2", Spec: "b"}
	want := digest("i", v2, v1, "s")
	if want != digest("i", v2, v1, "s") {
		t.Error("the same plan has two digests")
	}
	v2b := v2
	v2b.Spec = "other settings"
	for name, got := range map[string]string{
		"intent": digest("j", v2, v1, "s"), "candidate": digest("i", v2b, v1, "s"),
		"stable": digest("i", v2, v2, "s"), "structure": digest("i", v2, v1, "t"),
	} {
		if got == want {
			t.Errorf("another %s has the same digest", name)
		}
	}
}

func TestDrift(t *testing.T) {
	v1, v2 := rollout.Revision{ID: "1"}, rollout.Revision{ID: "2"}
	state := func(stage rollout.Stage, w rollout.Weight) *rollout.State {
		return &rollout.State{
			Rollout: "r", Stage: stage, Weight: w, Opening: rollout.Opened{Candidate: v2, Stable: v1, Side: rollout.Green},
		}
	}
	seen := func(green rollout.Weight, blueHas, greenHas rollout.Revision) rollout.Observation {
		o := rollout.Observation{
			Mark: &rollout.Mark{Rollout: "r", Candidate: v2}, Split: rollout.SplitTo(rollout.Green, green),
			Sides: map[rollout.Side]rollout.SideState{rollout.Blue: {Revision: blueHas}},
		}
		if !greenHas.Zero() {
			o.Sides[rollout.Green] = rollout.SideState{Revision: greenHas}
		}
		return o
	}
	shifting := state(rollout.StageExposed, 50)
	shifting.Pending = &rollout.Shifting{From: 50, To: 250}
	scaling := seen(100, v1, v2)
	scaling.Sides[rollout.Green] = rollout.SideState{Revision: v2, Whole: 4}
	beyond := seen(300, v1, v2)
	beyond.Sides[rollout.Green] = scaling.Sides[rollout.Green]
	back, gone := seen(0, v1, v2), seen(0, v1, rollout.Revision{})
	back.Mark.Back, gone.Mark.Candidate = &rollout.GoingBack{From: 50}, rollout.Revision{}
	unmarked := seen(50, v1, v2)
	unmarked.Mark = nil
	for name, c := range map[string]struct {
		state *rollout.State
		seen  rollout.Observation
		want  string
	}{
		"as recorded":                {state(rollout.StageExposed, 50), seen(50, v1, v2), ""},
		"no record":                  {nil, unmarked, ""},
		"settled":                    {state(rollout.StageSettled, 0), seen(50, v1, v2), ""},
		"before the shift begun":     {shifting, seen(50, v1, v2), ""},
		"after the shift begun":      {shifting, seen(250, v1, v2), ""},
		"neither":                    {shifting, seen(100, v1, v2), "takes 10%, recorded is 5%"},
		"on its way by numbers":      {shifting, scaling, ""},
		"further than it was to go":  {shifting, beyond, "takes 30%, recorded is 5%"},
		"no mark":                    {state(rollout.StageExposed, 50), unmarked, "mark is gone"},
		"another rollout's mark":     {&rollout.State{Rollout: "q", Stage: rollout.StageOpen}, seen(0, v1, v2), `of rollout "r", the record of "q"`},
		"candidate replaced":         {state(rollout.StageExposed, 50), seen(50, v1, rollout.Revision{ID: "3"}), "holds revision 3"},
		"candidate gone":             {state(rollout.StageExposed, 50), seen(50, v1, rollout.Revision{}), "side green is empty"},
		"stable replaced":            {state(rollout.StageExposed, 50), seen(50, rollout.Revision{ID: "0"}, v2), "holds revision 0, recorded is stable 1"},
		"the way back was begun":     {state(rollout.StageExposed, 50), back, ""},
		"the way back is done":       {state(rollout.StageExposed, 50), gone, ""},
		"candidate not yet launched": {state(rollout.StageOpen, 0), seen(0, v1, rollout.Revision{}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := plan.Drift(c.state, c.seen)
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestLints(t *testing.T) {
	parse := func(extra string) []string {
		cfg, err := config.Parse("gapless.yaml", []byte(`
service: shop
target: {local: {agent: "http://127.0.0.1:7070", command: ["./{revision}"], health: /healthz, instances: 2}}
strategy: {canary: {}}
`+extra))
		if err != nil {
			t.Fatal(err)
		}
		return plan.Lints(cfg)
	}
	careful := parse(`
smoke: [{get: /healthz}]
probe: {url: "http://127.0.0.1:8080/"}
gates: {promote: {environment: production}}
`)
	if len(careful) > 0 {
		t.Errorf("a careful config is told %q", careful)
	}
	told := strings.Join(parse("drain: 10ms\nrollback_window: 1m\n"), "\n")
	for _, want := range []string{"smoke", "probe", "drain", "rollback_window", "gate promote"} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not told of:\n%s", want, told)
		}
	}
}
