package phase_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// counting approves as often as a run was reviewed.
type counting struct{ given int }

func (c counting) Approval(_ context.Context, ask rollout.Ask) (string, error) {
	if ask.Used >= c.given {
		return "", fmt.Errorf("%d approvals, %d used", c.given, ask.Used)
	}
	return "dana", nil
}

// meanwhile approves after something else has happened.
type meanwhile func()

func (m meanwhile) Approval(context.Context, rollout.Ask) (string, error) {
	m()
	return "dana", nil
}

// under runs a phase with what proves approvals.
func under(t *testing.T, w *world, gates phase.Gates, work phase.Work) phase.Result {
	t.Helper()
	r := w.runner()
	r.Gates = gates
	res, err := r.Run(t.Context(), work)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// gatedRelease is a release whose config has a gate before promote.
func gatedRelease(n int) []move {
	moves := release()[:n]
	for i := range moves[1:] {
		moves[i+1].work.Config.Data = gatedConfig(moves[i+1].work.Config.Data)
	}
	return moves
}

func due(t *testing.T, w *world) string {
	t.Helper()
	status, err := w.runner().Status(t.Context(), work(rollout.Plan, "", 0))
	if err != nil {
		t.Fatal(err)
	}
	return status.GateDigest
}

func isHeld(w *world) bool {
	state, err := rollout.Fold(w.records[w.mark.Head])
	return err == nil && state.Held != nil
}

// TestAnApprovalIsUsedUpAlsoForTheRolloutAfter: the forge counts approvals by
// run, and a run may release twice.
func TestAnApprovalIsUsedUpAlsoForTheRolloutAfter(t *testing.T) {
	stage(t, gatedRelease(3), func(t *testing.T, w *world) {
		step := func(given int) phase.Result {
			next := work(rollout.Promote, "", 0)
			next.Expect = due(t, w)
			return under(t, w, counting{given}, next)
		}
		expect(t, step(1), rollout.Done)
		expect(t, step(1), rollout.Waiting, "1 used")
		expect(t, run(t, w, work(rollout.Rollback, "", 0)), rollout.Done)
		again := work(rollout.Deploy, "v3", 0)
		again.Config.Data = gatedConfig(again.Config.Data)
		expect(t, run(t, w, again), rollout.Done)
		expect(t, step(1), rollout.Waiting, "1 used")
		expect(t, step(2), rollout.Done)
		expect(t, step(2), rollout.Waiting, "2 used")
		expect(t, run(t, w, work(rollout.Rollback, "", 0)), rollout.Done)
		again.Revision = "v4"
		expect(t, run(t, w, again), rollout.Done)
		expect(t, step(2), rollout.Waiting, "2 used")
	})
}

// TestAHoldThatComesBetweenTheLookAndTheClaimHolds: neither does the approval
// given before it let anything through, nor does the phase undo it.
func TestAHoldThatComesBetweenTheLookAndTheClaimHolds(t *testing.T) {
	stage(t, gatedRelease(3), func(t *testing.T, w *world) {
		next := work(rollout.Promote, "", 50)
		next.Expect = due(t, w)
		once := false
		res := under(t, w, meanwhile(func() {
			if !once {
				once = true
				expect(t, run(t, w, held("wait")), rollout.Done)
			}
		}), next)
		expect(t, res, rollout.Waiting, "on hold: wait")
		if !isHeld(w) || w.split.Green != 0 || w.mark.Lease != nil {
			t.Errorf("held %t, lease %v\n%s", isHeld(w), w.mark.Lease, picture(w))
		}
	})
}

// TestADigestThatNobodyComparesUndoesNoHold: tick and rollback ask no gate.
func TestADigestThatNobodyComparesUndoesNoHold(t *testing.T) {
	stage(t, release()[:5], func(t *testing.T, w *world) {
		expect(t, run(t, w, held("wait")), rollout.Done)
		for _, digest := range []string{"0123456789abcdef", due(t, w)} {
			for _, p := range []rollout.Phase{rollout.Tick, rollout.Hold} {
				w1 := work(p, "", 0)
				w1.Expect = digest
				run(t, w, w1)
				if !isHeld(w) {
					t.Fatalf("%s undid the hold", p)
				}
			}
		}
		pass(release()[6].wait)
		expect(t, run(t, w, work(rollout.Retire, "", 0)), rollout.Waiting, "on hold: wait")
		expect(t, run(t, w, superseded("v3")), rollout.Waiting, "on hold: wait", "rollback")
		if w.mark.Rollout == "" || w.mark.Candidate.ID != "v2" {
			t.Fatal(picture(w))
		}
	})
}

// TestADigestIsComparedAlsoWithoutAGate: by every phase that goes on.
func TestADigestIsComparedAlsoWithoutAGate(t *testing.T) {
	moves := release()
	for i := 1; i < len(moves); i++ {
		p := moves[i].work.Request.Phase
		if p == rollout.Tick || p == rollout.Rollback { // which go nowhere but back
			continue
		}
		stage(t, moves[:i], func(t *testing.T, w *world) {
			pass(moves[i].wait)
			before := picture(w)
			wrong := moves[i].work
			wrong.Expect = "0123456789abcdef"
			if res := run(t, w, wrong); res.Outcome != rollout.Waiting || picture(w) != before {
				t.Errorf("%s ended %s (%s)", p, res.Outcome, res.Reason)
			}
		})
	}
}

// TestAHoldThatIsNotWrittenDownIsNotDone.
func TestAHoldThatIsNotWrittenDownIsNotDone(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		whole := w.clone()
		whole.revive(0, false)
		run(t, whole, held("wait"))
		for call := range whole.calls {
			v := w.clone()
			r := v.runner()
			r.Store = &filling{Store: v, left: call}
			res, err := r.Run(t.Context(), held("wait"))
			if err != nil {
				t.Fatal(err)
			}
			if res.Outcome == rollout.Done && !isHeld(v) {
				t.Fatalf("save %d failed: done, and not on hold", call+1)
			}
		}
	})
}

// filling is a store that keeps so many records and then none.
type filling struct {
	phase.Store
	left int
}

func (f *filling) Save(ctx context.Context, r rollout.Record, follows rollout.Head) error {
	if f.left--; f.left < 0 {
		return errors.New("the store is away")
	}
	return f.Store.Save(ctx, r, follows)
}

// away is a store that does not answer.
type away struct{ phase.Store }

func (away) Load(context.Context, string, rollout.Head) (rollout.Record, error) {
	return rollout.Record{}, errors.New("status 503")
}

// TestARecordThatCannotBeAskedForIsNotAdopted: it may be there.
func TestARecordThatCannotBeAskedForIsNotAdopted(t *testing.T) {
	stage(t, release()[:7], func(t *testing.T, w *world) {
		r := w.runner()
		r.Store = away{w}
		res, err := r.Run(t.Context(), adopting())
		if err != nil {
			t.Fatal(err)
		}
		expect(t, res, rollout.Stopped, "503")
	})
}

// interposed is a platform at which something happens before a first claim.
type interposed struct {
	*world
	before func()
}

func (p *interposed) Claim(ctx context.Context, seen rollout.Token, m rollout.Mark) error {
	if before := p.before; before != nil {
		p.before = nil
		before()
	}
	return p.world.Claim(ctx, seen, m)
}

// TestAJobMeansOneRolloutAlsoAfterTheClaim: another one may have begun since it
// looked.
func TestAJobMeansOneRolloutAlsoAfterTheClaim(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		back := work(rollout.Rollback, "", 0)
		back.Rollout = w.mark.Rollout
		r := w.runner()
		r.Platform = &interposed{w, func() {
			expect(t, run(t, w, superseded("v3")), rollout.Done)
		}}
		res, err := r.Run(t.Context(), back)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, res, rollout.Refused, "the job is of rollout")
		if w.mark.Candidate.ID != "v3" || w.mark.Lease != nil {
			t.Fatal(picture(w))
		}
	})
}

// TestTheWayBackGoesOnWithoutARecordThatMovedMeanwhile.
func TestTheWayBackGoesOnWithoutARecordThatMovedMeanwhile(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		r := w.runner()
		r.Platform = &interposed{w, func() {
			expect(t, run(t, w, work(rollout.Tick, "", 0)), rollout.Done)
			w.forget()
		}}
		res, err := r.Run(t.Context(), phase.Work{Request: plan.Request{Phase: rollout.Rollback}})
		if err != nil {
			t.Fatal(err)
		}
		expect(t, res, rollout.Done)
		if w.split.Blue != rollout.Full || strings.Contains(picture(w), "side green") {
			t.Fatal(picture(w))
		}
	})
}
