package phase_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

func TestAnAbandonedRolloutIsTakenBackByTick(t *testing.T) {
	for name, moves := range map[string][]move{"open": release()[:2], "standing": release()[:3], "exposed": release()[:4]} {
		t.Run(name, func(t *testing.T) {
			stage(t, moves, func(t *testing.T, w *world) {
				w.silent = true // days of samples would only take time
				for range 6 {   // a schedule keeps nothing alive
					pass(24 * time.Hour)
					expect(t, run(t, w, work(rollout.Tick, "", 0)), rollout.Done, "nothing wrong seen")
				}
				pass(25 * time.Hour)
				expect(t, run(t, w, work(rollout.Tick, "", 0)), rollout.Stopped, "abandoned: nothing happened since")
				if got := picture(w); !strings.Contains(got, "split blue 100%") || strings.Contains(got, "side green") {
					t.Errorf("left is\n%s", got)
				}
			})
		})
	}
	stage(t, release()[:5], func(t *testing.T, w *world) { // what is live is nobody's to take back
		w.silent = true
		pass(30 * 24 * time.Hour)
		expect(t, run(t, w, work(rollout.Tick, "", 0)), rollout.Done)
	})
}

func TestAChangeOfSettingsAloneIsARelease(t *testing.T) {
	stage(t, firstRelease(), func(t *testing.T, w *world) {
		expect(t, run(t, w, work(rollout.Expand, "v1", 0)), rollout.Done, "v1 is stable already")
		for name, edit := range map[string][2]string{
			"the command":           {`command: ["./{revision}/app"]`, `command: ["./{revision}/app", "-v"]`},
			"the instances' number": {"instances: 2", "instances: 3"},
		} {
			settings := firstRelease()[0].work
			settings.Config.Data = []byte(strings.Replace(string(settings.Config.Data), edit[0], edit[1], 1))
			res := run(t, w, settings)
			expect(t, res, rollout.Done, "candidate v1 stands on side green")
			if w.mark.Candidate == w.mark.Stable {
				t.Errorf("%s: the same revision", name)
			}
			expect(t, run(t, w, work(rollout.Rollback, "", 0)), rollout.Done)
		}
	})
}

func TestAHotfixWhileAChangeWaitsForContract(t *testing.T) {
	stage(t, release()[:7], func(t *testing.T, w *world) {
		// The hotfix knows nothing of the change.
		hotfix := firstRelease()[0].work
		hotfix.Revision = "v2.1"
		expect(t, run(t, w, hotfix), rollout.Done, "candidate v2.1 stands")
		expect(t, run(t, w, work(rollout.Contract, "", 0)), rollout.Refused, "standing: the old form is still needed")
		expect(t, run(t, w, work(rollout.Promote, "", rollout.Full)), rollout.Done)
		pass(2 * time.Hour)
		expect(t, run(t, w, work(rollout.Retire, "", 0)), rollout.Done)
		res := run(t, w, work(rollout.Contract, "", 0))
		expect(t, res, rollout.Done)
		if got := picture(w); !strings.Contains(got, "change 0007-split-street is contracted") {
			t.Errorf("left is\n%s", got)
		}
	})
	// One that touches the same columns has to wait for the contract.
	stage(t, release()[:7], func(t *testing.T, w *world) {
		other := work(rollout.Expand, "v3", 0)
		other.ChangeFiles = []rollout.File{{Name: "changes/0009-upper.yaml", Data: []byte(strings.ReplaceAll(changeFile, "street_name", "street_upper"))}}
		expect(t, run(t, w, other), rollout.Refused, "touches street of table address, which change 0007-split-street holds until its contract")
		if w.schema.applied["0009-upper/add_columns"] {
			t.Error("something was changed")
		}
	})
}
