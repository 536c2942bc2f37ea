package rollout_test

import (
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// TestAWindowKnowsEachWeightThatWasPassed: what a meter is told comes from the
// record, also in a job that did not make the shifts itself.
func TestAWindowKnowsEachWeightThatWasPassed(t *testing.T) {
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	shift := func(from, to rollout.Weight, minutes int) entry {
		return entry{rollout.Promote, rollout.Shifted{From: from, To: to, InForce: at(minutes)}}
	}
	s, err := folded(t, open, launched, shift(0, 50, 5), shift(50, rollout.Full, 9),
		entry{rollout.Rollback, rollout.RolledBack{From: rollout.Full, Reason: "errors", InForce: at(20)}})
	if err != nil {
		t.Fatal(err)
	}
	window := rollout.Window{Passed: s.Passed}
	for minutes, want := range map[int]rollout.Weight{-60: 0, 4: 0, 5: 50, 8: 50, 9: rollout.Full, 19: rollout.Full, 20: 0, 90: 0} {
		if got := window.WeightAt(at(minutes)); got != want {
			t.Errorf("after %d minutes: want %s, got %s", minutes, want, got)
		}
	}
	s, err = folded(t, rolling, replaced(0, 1))
	if err != nil {
		t.Fatal(err)
	}
	if got := (rollout.Window{Passed: s.Passed}).WeightAt(at(1)); got != 250 {
		t.Errorf("one of four instances is replaced, the weight is %s", got)
	}
	if got := (rollout.Window{}).WeightAt(start); got != 0 {
		t.Errorf("without a rollout the weight is %s", got)
	}
}
