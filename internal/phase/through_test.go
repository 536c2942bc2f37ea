package phase_test

import (
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
