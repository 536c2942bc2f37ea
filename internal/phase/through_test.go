package phase_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// TestSupersedingLetsNothingThrough: a phase that was begun to end another
// rollout, and killed, is no leave to go on with that one.
func TestSupersedingLetsNothingThrough(t *testing.T) {
	moves := batchwise(rollingStop)[:2]
	moves[1].work.Config.Data = gatedConfig(moves[1].work.Config.Data)
	stage(t, moves, func(t *testing.T, w *world) {
		half := halfRolled(t, w)
		next := rollingWork(rollingStop, rollout.Deploy, "v3")
		next.Request.Supersede = true
		whole := half.clone()
		run(t, whole, next)
		for n := 1; n <= whole.calls; n++ {
			v := half.clone()
			v.revive(n, true)
			_, _ = v.runner().Run(t.Context(), next) //nolint:errcheck // it was killed
			v.revive(0, false)
			if v.mark.Back != nil || v.mark.Rollout != half.mark.Rollout {
				return // from here on v2 is on its way out
			}
			res := run(t, v, rollingWork(rollingStop, rollout.Deploy, "v2"))
			if v.split.Green > half.split.Green {
				t.Fatalf("killed at call %d, then it went on without an approval: %s", n, res.Reason)
			}
		}
		t.Fatal("the way back was never begun")
	})
}

// halfRolled is the world in which an approved rolling update was cut short in
// its middle, and ended by a person's hold.
func halfRolled(t *testing.T, w *world) *world {
	t.Helper()
	deploy := rollingWork(rollingStop, rollout.Deploy, "v2")
	deploy.Expect = run(t, w, deploy).GateDigest
	approved := func(v *world) *phase.Runner {
		r := v.runner()
		r.Gates = approver{}
		return r
	}
	for n := 1; ; n++ {
		v := w.clone()
		v.revive(n, true)
		_, _ = approved(v).Run(t.Context(), deploy) //nolint:errcheck // it was killed
		v.revive(0, false)
		if v.split.Green == 500 {
			expect(t, run(t, v, work(rollout.Hold, "", 0)), rollout.Done)
			return v
		}
		if v.split.Green > 500 {
			t.Fatal("it was never in the middle")
		}
	}
}

// asked notes which gates were asked.
type asked struct{ gates []string }

func (a *asked) Approval(_ context.Context, ask rollout.Ask) (string, error) {
	a.gates = append(a.gates, ask.Gate.String())
	return "dana", nil
}

// TestEachStepCanHaveAnEnvironmentOfItsOwn: the name in the config holds the
// weight, and an approval of one step is none of another.
func TestEachStepCanHaveAnEnvironmentOfItsOwn(t *testing.T) {
	moves := release()[:3]
	for i := range moves[1:] {
		file := &moves[i+1].work.Config
		file.Data = []byte(strings.Replace(string(gatedConfig(file.Data)), "environment: production", `environment: "production-{to}"`, 1))
	}
	stage(t, moves, func(t *testing.T, w *world) {
		status, err := w.runner().Status(t.Context(), work(rollout.Plan, "", 0))
		if err != nil {
			t.Fatal(err)
		}
		gates, digest := &asked{}, status.GateDigest
		for _, to := range []rollout.Weight{50, 500, rollout.Full} {
			r, step := w.runner(), work(rollout.Promote, "", to)
			r.Gates, step.Expect = gates, digest
			res, err := r.Run(t.Context(), step)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, res, rollout.Done)
			digest = res.GateDigest
		}
		want := []string{"environment production-5", "environment production-50", "environment production-100"}
		if got := slices.Compact(gates.gates); !slices.Equal(got, want) {
			t.Errorf("asked were %v, want %v", got, want)
		}
	})
}

// TestAWaiverIsPartOfWhatIsApproved: contract with a waiver has another digest
// than without, and status tells it beforehand.
func TestAWaiverIsPartOfWhatIsApproved(t *testing.T) {
	moves := release()[:7]
	for i := range moves[1:] {
		file := &moves[i+1].work.Config
		file.Data = []byte(strings.Replace(string(file.Data), "rollback_window", "gates: {contract: {environment: production}}\nrollback_window", 1))
	}
	stage(t, moves, func(t *testing.T, w *world) {
		digest := func(waiver string) string {
			asked := work(rollout.Plan, "", 0)
			asked.Request.Accept = waiver
			status, err := w.runner().Status(t.Context(), asked)
			if err != nil {
				t.Fatal(err)
			}
			return status.GateDigest
		}
		contract := func(waiver, digest string) phase.Result {
			r, last := w.runner(), work(rollout.Contract, "", 0)
			r.Gates, last.Request.Accept, last.Expect = approver{}, waiver, digest
			res, err := r.Run(t.Context(), last)
			if err != nil {
				t.Fatal(err)
			}
			return res
		}
		const why = "the only reader is this service"
		expect(t, contract(why, digest("")), rollout.Waiting, "approved was")
		expect(t, contract("", digest(why)), rollout.Waiting, "approved was")
		expect(t, contract(why, digest(why)), rollout.Done)
	})
}
