package phase_test

import (
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

func held(reason string) phase.Work {
	w := work(rollout.Hold, "", 0)
	w.Request.Reason = reason
	return w
}

// TestHoldVoidsWhatWasApproved: an approval given before the hold is bound to a
// head that has moved; one given after it goes on.
func TestHoldVoidsWhatWasApproved(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		before := run(t, w, work(rollout.Tick, "", 0)).GateDigest
		res := run(t, w, held("the mail queue looks odd"))
		expect(t, res, rollout.Done, "on hold at 5%")
		if w.split.Green != 50 {
			t.Fatalf("a hold moved traffic:\n%s", picture(w))
		}
		expect(t, run(t, w, work(rollout.Promote, "", rollout.Full)), rollout.Waiting, "on hold: the mail queue looks odd", "--expect")
		stale := work(rollout.Promote, "", rollout.Full)
		stale.Expect = before
		if before == res.GateDigest || res.GateDigest == "" {
			t.Fatalf("digest %q before the hold, %q after it", before, res.GateDigest)
		}
		stale.Expect = "0123456789abcdef"
		expect(t, run(t, w, stale), rollout.Waiting)

		expect(t, run(t, w, work(rollout.Tick, "", 0)), rollout.Done) // which still looks, and moves the head
		next := work(rollout.Promote, "", 500)
		status, err := w.runner().Status(t.Context(), work(rollout.Plan, "", 0))
		if err != nil {
			t.Fatal(err)
		}
		next.Expect = status.GateDigest
		expect(t, run(t, w, next), rollout.Done)
		expect(t, run(t, w, work(rollout.Promote, "", rollout.Full)), rollout.Done) // no longer on hold
	})
}

// TestHoldGoesAheadOfARunningPhase: what is at work stops where it is.
func TestHoldGoesAheadOfARunningPhase(t *testing.T) {
	stage(t, release()[:3], func(t *testing.T, w *world) {
		first := make(chan phase.Result, 1)
		go func() { first <- run(t, w, work(rollout.Promote, "", rollout.Full)) }()
		pass(10 * time.Second)
		expect(t, run(t, w, held("")), rollout.Done, "on hold at 5%")
		expect(t, <-first, rollout.Stopped, "another run has taken over")
		if w.split.Green != 50 {
			t.Fatalf("not where it was:\n%s", picture(w))
		}
		// Whoever ran it may not simply go on.
		expect(t, run(t, w, work(rollout.Promote, "", rollout.Full)), rollout.Waiting, "on hold")
		expect(t, run(t, w, work(rollout.Rollback, "", 0)), rollout.Done)
		expect(t, run(t, w, held("")), rollout.Stopped, "taken back")
	})
}

func TestHoldTwiceIsHoldOnce(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		expect(t, run(t, w, held("one")), rollout.Done)
		expect(t, run(t, w, held("two")), rollout.Done)
		res := run(t, w, work(rollout.Promote, "", rollout.Full))
		expect(t, res, rollout.Waiting, "on hold: one")
	})
}
