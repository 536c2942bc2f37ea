package phase_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// stage plays a story up to the move that is tested.
func stage(t *testing.T, moves []move, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		follow(t, w, moves)
		test(t, w)
	})
}

func run(t *testing.T, w *world, work phase.Work) phase.Result {
	t.Helper()
	res, err := w.runner().Run(t.Context(), work)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// expect fails unless the phase ended so, for a reason and with a hint that
// hold these words.
func expect(t *testing.T, res phase.Result, outcome rollout.Outcome, words ...string) {
	t.Helper()
	told := res.Reason + "\n" + res.Hint
	if res.Outcome != outcome {
		t.Fatalf("ended %s, want %s:\n%s", res.Outcome, outcome, told)
	}
	for _, w := range words {
		if !strings.Contains(told, w) {
			t.Errorf("%q is not told:\n%s", w, told)
		}
	}
}

func TestOutOfOrder(t *testing.T) {
	stage(t, firstRelease(), func(t *testing.T, w *world) {
		expect(t, run(t, w, work(rollout.Deploy, "v2", 0)), rollout.Refused, "0007-split-street is absent", "gapless expand")
		expect(t, run(t, w, work(rollout.Retire, "", 0)), rollout.Done, "v1 is stable")
		if got := picture(w); !strings.Contains(got, "side blue: v1 2/2") || strings.Contains(got, "green: v2") {
			t.Fatalf("something was changed:\n%s", got)
		}
	})
	stage(t, release()[:3], func(t *testing.T, w *world) {
		expect(t, run(t, w, work(rollout.Contract, "", 0)), rollout.Refused, "standing", "promote --to 5")
		expect(t, run(t, w, work(rollout.Retire, "", 0)), rollout.Refused, "does not allow retire")
		expect(t, run(t, w, work(rollout.Expand, "v3", 0)), rollout.Refused, "revision v2 is under way", "rollback")
		expect(t, run(t, w, work(rollout.Promote, "", 70)), rollout.Refused, "7% is not a step", "5%, 50%, 100%")
	})
}

func TestSilenceIsNotAPass(t *testing.T) {
	stage(t, release()[:3], func(t *testing.T, w *world) {
		w.silent = true
		res := run(t, w, work(rollout.Promote, "", 50))
		expect(t, res, rollout.Waiting, "inconclusive", "--accept")
		if w.split.Green != 50 {
			t.Fatalf("candidate has %s, want it held at 5%%", w.split.Green)
		}
		accepted := work(rollout.Promote, "", 50)
		accepted.Request.Accept = "nobody is awake to send traffic"
		expect(t, run(t, w, accepted), rollout.Done, "5%")
	})
}

func TestAcceptingIsForInconclusiveVerdictsOnly(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		early := work(rollout.Promote, "", rollout.Full)
		early.Request.Accept = "in a hurry"
		expect(t, run(t, w, early), rollout.Refused, "only an inconclusive verdict")
	})
}

func TestABadCandidateIsTakenBackByItself(t *testing.T) {
	stage(t, release()[:3], func(t *testing.T, w *world) {
		w.errorShare = 0.2
		began := time.Now()
		res := run(t, w, work(rollout.Promote, "", rollout.Full))
		expect(t, res, rollout.Stopped, "candidate v2 was taken back", "errors")
		if w.split.Blue != rollout.Full || len(w.sides) != 1 {
			t.Fatalf("not back on stable:\n%s", picture(w))
		}
		if noticed := time.Since(began); noticed > 40*time.Second {
			t.Errorf("it took %s to notice one error in five at 15 requests/s", noticed)
		}
		if !w.schema.applied["0007-split-street/backfill"] {
			t.Error("the schema no longer serves both")
		}
	})
}

func TestACandidateThatDoesNotComeUpLeavesNothing(t *testing.T) {
	stage(t, release()[:2], func(t *testing.T, w *world) {
		w.broken = "v2"
		res := run(t, w, work(rollout.Deploy, "v2", 0))
		expect(t, res, rollout.Stopped, "0 of 2 instances are ready", "cannot open config")
		if got := picture(w); strings.Contains(got, "side green") || !strings.Contains(got, "record settled") {
			t.Fatalf("left over:\n%s", got)
		}
		w.broken = ""
		expect(t, run(t, w, work(rollout.Expand, "v2", 0)), rollout.Done)
		expect(t, run(t, w, work(rollout.Deploy, "v2", 0)), rollout.Done, "stands on side green")
	})
}

func TestRollbackNeedsNoRecord(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		w.lost = true
		expect(t, run(t, w, work(rollout.Promote, "", rollout.Full)), rollout.NeedsPerson, "no record is stored", "rollback")
		expect(t, run(t, w, work(rollout.Rollback, "", 0)), rollout.Done)
		if w.split.Blue != rollout.Full || !w.mark.Candidate.Zero() {
			t.Fatal(picture(w))
		}
		w.lost = false // found again: the next phase notes what happened
		expect(t, run(t, w, work(rollout.Promote, "", rollout.Full)), rollout.Stopped, "done without the record")
	})
}

func TestRollbackStopsForNothing(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		w.full = true
		expect(t, run(t, w, work(rollout.Promote, "", rollout.Full)), rollout.Stopped, "no space left on device")
		res := run(t, w, work(rollout.Rollback, "", 0))
		expect(t, res, rollout.Done)
		if w.split.Blue != rollout.Full || !w.mark.Candidate.Zero() || len(res.Warnings) == 0 {
			t.Fatalf("warned %v\n%s", res.Warnings, picture(w))
		}
	})
}

func TestDriftStopsAllButRollback(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		w.split = rollout.SplitTo(rollout.Green, 300) // by somebody else's hand
		expect(t, run(t, w, work(rollout.Promote, "", rollout.Full)), rollout.NeedsPerson, "takes 30%, recorded is 5%")
		expect(t, run(t, w, work(rollout.Tick, "", 0)), rollout.NeedsPerson, "rollback")
		expect(t, run(t, w, work(rollout.Rollback, "", 0)), rollout.Done)
		if w.split.Blue != rollout.Full {
			t.Fatal(picture(w))
		}
	})
}

func TestTwoPhasesAtOnce(t *testing.T) {
	stage(t, release()[:3], func(t *testing.T, w *world) {
		first := make(chan phase.Result, 1)
		go func() { first <- run(t, w, work(rollout.Promote, "", 50)) }()
		pass(5 * time.Second)
		expect(t, run(t, w, work(rollout.Promote, "", 50)), rollout.Waiting, "works on phase promote")
		expect(t, <-first, rollout.Done)
	})
}

func TestRollbackGoesAheadOfARunningPhase(t *testing.T) {
	stage(t, release()[:3], func(t *testing.T, w *world) {
		first := make(chan phase.Result, 1)
		go func() { first <- run(t, w, work(rollout.Promote, "", rollout.Full)) }()
		pass(10 * time.Second)
		began := time.Now()
		expect(t, run(t, w, work(rollout.Rollback, "", 0)), rollout.Done)
		expect(t, <-first, rollout.Stopped, "another run has taken over")
		if waited := time.Since(began); waited > 5*time.Second {
			t.Errorf("the running phase noticed after %s, want at most 5s", waited)
		}
		if w.split.Blue != rollout.Full || !w.mark.Candidate.Zero() {
			t.Fatal(picture(w))
		}
	})
}

func TestCancelledPromoteGoesBack(t *testing.T) {
	stage(t, release()[:3], func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan phase.Result, 1)
		go func() {
			res, err := w.runner().Run(ctx, work(rollout.Promote, "", rollout.Full))
			if err != nil {
				t.Error(err)
			}
			done <- res
		}()
		pass(10 * time.Second)
		cancel()
		began := time.Now()
		expect(t, <-done, rollout.Stopped, "cancelled; all traffic is back on stable")
		if safe := time.Since(began); safe > 5*time.Second {
			t.Errorf("safe after %s, want at most 5s", safe)
		}
		expect(t, run(t, w, work(rollout.Rollback, "", 0)), rollout.Done)
		if len(w.sides) != 1 {
			t.Fatal(picture(w))
		}
	})
}

func TestWindowAndQuietAreWaitedFor(t *testing.T) {
	stage(t, release()[:5], func(t *testing.T, w *world) {
		expect(t, run(t, w, work(rollout.Retire, "", 0)), rollout.Waiting, "rollback window is open until")
	})
}

func TestApprovalIsBoundToWhatIsDue(t *testing.T) {
	stage(t, release()[:3], func(t *testing.T, w *world) {
		stale := work(rollout.Promote, "", 50)
		stale.Expect = "0123456789abcdef"
		expect(t, run(t, w, stale), rollout.Waiting, "approved was 0123456789ab")
		if w.split.Green != 0 {
			t.Fatal("traffic moved under a stale approval")
		}
	})
}

func TestAGateThatNobodyCanProveStaysShut(t *testing.T) {
	gated := strings.Replace(configFile, "rollback_window", "gates: {promote: {environment: production}}\nrollback_window", 1)
	moves := release()[:3]
	for i := range moves[1:] {
		moves[i+1].work.Config.Data = []byte(gated)
	}
	stage(t, moves, func(t *testing.T, w *world) {
		// The file on disk no longer has the gate; the rollout was opened with it.
		res := run(t, w, work(rollout.Promote, "", 50))
		expect(t, res, rollout.Waiting, "environment production")
		due := run(t, w, work(rollout.Tick, "", 0)).GateDigest
		again := work(rollout.Promote, "", 50)
		again.Expect = due
		expect(t, run(t, w, again), rollout.Waiting)
		if w.split.Green != 0 {
			t.Fatal("traffic moved through a shut gate")
		}
	})
}

func TestRunTwiceEndsInTheSamePlace(t *testing.T) {
	moves := release()
	for i := range moves {
		stage(t, moves[:i+1], func(t *testing.T, w *world) {
			before := picture(w)
			res := run(t, w, moves[i].work)
			if res.Outcome != rollout.Done || picture(w) != before {
				t.Errorf("%s once more ended %s (%s):\n%s\nbefore\n%s", moves[i].name, res.Outcome, res.Reason, picture(w), before)
			}
		})
	}
}

func TestPlanChangesNothing(t *testing.T) {
	stage(t, firstRelease(), func(t *testing.T, w *world) {
		pass(time.Minute)
		before := w.clone()
		p, err := w.runner().Preview(t.Context(), phase.Work{
			Request: plan.Request{Phase: rollout.Plan}, Revision: "v2",
			Config: rollout.File{Name: "gapless.yaml", Data: []byte(configFile)}, ChangeFiles: work("", "", 0).ChangeFiles,
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Steps) != 3 || p.Traffic.PerMinute < 17_000 || len(p.PlanDigest) != 64 || len(p.Unmet) > 0 {
			t.Errorf("outlook %+v at %v, digest %q, unmet %v", p.Steps, p.Traffic, p.PlanDigest, p.Unmet)
		}
		if w.token != before.token || len(w.records) != len(before.records) {
			t.Error("plan changed something")
		}
	})
}

func TestBlind(t *testing.T) {
	w := newWorld()
	w.revive(1, false)
	if _, err := w.runner().Run(t.Context(), work(rollout.Deploy, "v1", 0)); !errors.Is(err, errKilled) {
		t.Fatalf("got %v, want the platform's own error", err)
	}
}

// approver approves whatever it is asked.
type approver struct{}

func (approver) Approval(context.Context, rollout.Ask) (string, error) {
	return "dana", nil
}

// TestAResumedPhaseGoesNoFurtherThanWasApproved: a promote to 5% that was
// killed must not carry its approval to 100%.
func TestAResumedPhaseGoesNoFurtherThanWasApproved(t *testing.T) {
	moves := release()[:3]
	for i := range moves[1:] {
		moves[i+1].work.Config.Data = []byte(strings.Replace(configFile, "rollback_window", "gates: {promote: {environment: production}}\nrollback_window", 1))
	}
	stage(t, moves, func(t *testing.T, w *world) {
		gated := func(work phase.Work) phase.Result {
			r := w.runner()
			r.Gates = approver{}
			res, err := r.Run(t.Context(), work)
			if err != nil {
				t.Fatal(err)
			}
			return res
		}
		first := work(rollout.Promote, "", 50)
		first.Expect = run(t, w, work(rollout.Tick, "", 0)).GateDigest
		w.revive(30, true) // in the bake at 5%
		gated(first)
		w.revive(0, false)
		if w.split.Green != 50 {
			t.Fatalf("candidate has %s, the test wants it killed at 5%%", w.split.Green)
		}
		expect(t, gated(work(rollout.Promote, "", rollout.Full)), rollout.Waiting, "approved was nothing")
		if w.split.Green != 50 {
			t.Fatalf("candidate has %s, approved was 5%%", w.split.Green)
		}
		same := w.clone()
		expect(t, gated(work(rollout.Promote, "", 50)), rollout.Done)
		w.mark, w.records = same.mark, same.records
		expect(t, gated(first), rollout.Done) // under the digest that it was begun with
	})
}

// cancelled cancels a promote in the midst of its bake, after breaking the
// world, and wants it to have ended within five seconds.
func cancelled(t *testing.T, r *phase.Runner, breaks func()) phase.Result {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan phase.Result, 1)
	go func() {
		res, err := r.Run(ctx, work(rollout.Promote, "", rollout.Full))
		if err != nil {
			t.Error(err)
		}
		done <- res
	}()
	pass(10 * time.Second)
	breaks()
	cancel()
	began := time.Now()
	res := <-done
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("ended %s after the cancel, allowed are 5s", took)
	}
	return res
}

func TestACancelWhoseWayBackFailsNeedsAPerson(t *testing.T) {
	stage(t, release()[:3], func(t *testing.T, w *world) {
		res := cancelled(t, w.runner(), func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.away = time.Now().Add(time.Minute)
		})
		expect(t, res, rollout.NeedsPerson, "the way back failed", "gapless rollback now")
	})
}

// slowStore is one that, once it hangs, saves nothing and does not even answer.
type slowStore struct {
	phase.Store
	hangs atomic.Bool
}

func (s *slowStore) Save(ctx context.Context, record rollout.Record, follows rollout.Head) error {
	if !s.hangs.Load() {
		return s.Store.Save(ctx, record, follows)
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// A cancelled phase is safe though its record cannot be saved, says so, leaves
// the lease to the next, and is written down by it.
func TestACancelDoesNotWaitForTheStore(t *testing.T) {
	for name, breaks := range map[string]func(*world, *slowStore){
		"full": func(w *world, _ *slowStore) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.full = true
		},
		"hung": func(_ *world, s *slowStore) { s.hangs.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			stage(t, release()[:3], func(t *testing.T, w *world) {
				r := w.runner()
				store, n := &slowStore{Store: r.Store}, &notebook{}
				r.Store, r.Journal = store, n
				res := cancelled(t, r, func() { breaks(w, store) })
				expect(t, res, rollout.Stopped, "all traffic is back on stable", "gapless rollback")
				if w.split.Green != 0 || w.mark.Lease != nil {
					t.Errorf("candidate takes %s, lease is %v", w.split.Green, w.mark.Lease)
				}
				if res.Next.Phase != rollout.Rollback {
					t.Errorf("next is %q, want rollback", res.Next.Phase)
				}
				w.full = false
				again := w.clone()
				got, err := journalled(again, n).Recover(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				state, err := rollout.Fold(got.Record)
				if err != nil || !state.WentBack || state.Begun != nil || again.mark.Head != got.Record.Head() || n.full {
					t.Errorf("the post step has not written down the way back: %v, %+v", err, state)
				}
				expect(t, run(t, w, work(rollout.Rollback, "", 0)), rollout.Done)
				expect(t, run(t, w, work(rollout.Tick, "", 0)), rollout.Done, "no rollout is under way")
			})
		})
	}
}

// A phase that cannot save gives up in time: while it waits nobody watches the
// candidate.
func TestAPhaseDoesNotWaitForeverForTheStore(t *testing.T) {
	stage(t, release()[:3], func(t *testing.T, w *world) {
		r := w.runner()
		store := &slowStore{Store: r.Store}
		store.hangs.Store(true)
		r.Store = store
		began := time.Now()
		res, err := r.Run(t.Context(), work(rollout.Promote, "", rollout.Full))
		if err != nil {
			t.Fatal(err)
		}
		expect(t, res, rollout.Stopped, "not saved within 1m0s")
		if took := time.Since(began); took > 3*time.Minute {
			t.Errorf("gave up after %s", took)
		}
		expect(t, run(t, w, work(rollout.Promote, "", rollout.Full)), rollout.Done)
	})
}
