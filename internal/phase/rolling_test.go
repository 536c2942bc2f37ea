package phase_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// rollingWork is of a rolling release of two instances, one by one.
func rollingWork(strategy string, p rollout.Phase, revision string) phase.Work {
	return by(strategy, []move{{work: work(p, revision, 0)}})[0].work
}

func TestARollingUpdateStopsWhereAFaultMeetsIt(t *testing.T) {
	stage(t, batchwise(rollingStop)[:2], func(t *testing.T, w *world) {
		w.errorShare = 0.5
		res := run(t, w, rollingWork(rollingStop, rollout.Deploy, "v2"))
		expect(t, res, rollout.NeedsPerson, "1 of 2 instances run candidate v2 and are left so", "errors", "gapless rollback")
		if got := picture(w); !strings.Contains(got, "side green: v2 1/1") || !strings.Contains(got, "side blue: v1 1/1") {
			t.Fatalf("not left as it was:\n%s", got)
		}
		if way, _ := res.State.WayBack(); way != rollout.BackInBatches || res.Next.Phase != rollout.Rollback {
			t.Errorf("way back %s, next %s", way, res.Next.Phase)
		}
		// No verdict but a new one clears it, and none is asked for: it stays.
		w.errorShare = 0
		again := rollingWork(rollingStop, rollout.Deploy, "v2")
		expect(t, run(t, w, again), rollout.NeedsPerson, "left so")
		again.Request.Accept = "it looks fine to me"
		expect(t, run(t, w, again), rollout.Refused, "only an inconclusive verdict")
		expect(t, run(t, w, work(rollout.Tick, "", 0)), rollout.NeedsPerson, "left so")

		expect(t, run(t, w, work(rollout.Rollback, "", 0)), rollout.Done)
		if got := picture(w); !strings.Contains(got, "side blue: v1 2/2") || strings.Contains(got, "green: v2") {
			t.Fatalf("not back:\n%s", got)
		}
	})
}

func TestABatchThatDoesNotComeUpTakesNoTraffic(t *testing.T) {
	stage(t, batchwise(rollingStop)[:2], func(t *testing.T, w *world) {
		w.broken = "v2"
		res := run(t, w, rollingWork(rollingStop, rollout.Deploy, "v2"))
		expect(t, res, rollout.Stopped, "0 of 2 instances run candidate v2", "never became healthy", "run gapless deploy again")
		if w.split.Green != 0 || w.sides[rollout.Blue].Ready != 2 {
			t.Fatal(picture(w))
		}
		w.broken = "" // mended
		expect(t, run(t, w, rollingWork(rollingStop, rollout.Deploy, "v2")), rollout.Done, "all 2 instances run candidate v2")
	})
}

func TestARollingUpdateGoesBackByItself(t *testing.T) {
	for name, bad := range map[string]func(*world){
		"errors": func(w *world) { w.errorShare = 0.5 }, "ended by themselves 2 times": func(w *world) { w.crashing = "v2" },
	} {
		stage(t, batchwise(rollingBack)[:2], func(t *testing.T, w *world) {
			bad(w)
			expect(t, run(t, w, rollingWork(rollingBack, rollout.Deploy, "v2")), rollout.Stopped, "candidate v2 was taken back", name)
			if got := picture(w); !strings.Contains(got, "side blue: v1 2/2") || strings.Contains(got, "green: v2") {
				t.Fatalf("not back:\n%s", got)
			}
		})
	}
}

func TestASilentBatchHoldsUntilAPersonAcceptsIt(t *testing.T) {
	stage(t, batchwise(rollingStop)[:2], func(t *testing.T, w *world) {
		w.silent = true
		held := rollingWork(rollingStop, rollout.Deploy, "v2")
		expect(t, run(t, w, held), rollout.Waiting, "the verdict at 50% is inconclusive", "deploy again")
		held.Request.Accept = "the workers are idle at night"
		res := run(t, w, held)
		expect(t, res, rollout.Waiting, "the verdict at 100% is inconclusive")
		if res.State.Replaced.To != 2 {
			t.Errorf("%d instances are replaced", res.State.Replaced.To)
		}
	})
}

func TestPromoteIsNotHowARollingUpdateGoesOn(t *testing.T) {
	moves := ending(batchwise(rollingStop)[:3], rollout.Waiting)
	moves[1].work.Config.Data = []byte(strings.Replace(string(moves[1].work.Config.Data), "min_requests: 50", "min_requests: 50000000", 1))
	stage(t, moves, func(t *testing.T, w *world) {
		expect(t, run(t, w, work(rollout.Promote, "", rollout.Full)), rollout.Refused, "does not allow promote", "gapless deploy")
	})
	stage(t, batchwise(rollingStop)[:3], func(t *testing.T, w *world) {
		expect(t, run(t, w, work(rollout.Promote, "", rollout.Full)), rollout.Refused, "does not allow promote", "gapless retire")
	})
}

func TestTheFirstExposureIsGatedWhateverThePhaseIsCalled(t *testing.T) {
	gate := func(file *rollout.File) {
		file.Data = []byte(strings.Replace(string(file.Data), "rollback_window", "gates: {promote: {environment: production}}\nrollback_window", 1))
	}
	moves := batchwise(rollingStop)[:2]
	gate(&moves[1].work.Config)
	stage(t, moves, func(t *testing.T, w *world) {
		deploy := rollingWork(rollingStop, rollout.Deploy, "v2")
		res := run(t, w, deploy)
		expect(t, res, rollout.Waiting, "environment production", "approved was nothing")
		if len(res.GateDigest) != 64 {
			t.Fatalf("the digest to approve is %q", res.GateDigest)
		}
		r := w.runner()
		r.Gates = approver{}
		deploy.Expect = res.GateDigest
		approved, err := r.Run(t.Context(), deploy)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, approved, rollout.Done, "all 2 instances")
		if len(approved.State.Approvals) != 1 {
			t.Errorf("approvals used: %v, want one for all batches", approved.State.Approvals)
		}
	})
	// At weight 0 nobody is exposed: a canary's deploy passes, also right after
	// a first release, which was gated.
	stage(t, firstRelease(), func(t *testing.T, w *world) {
		deploy := work(rollout.Expand, "v2", 0)
		gate(&deploy.Config)
		expect(t, run(t, w, deploy), rollout.Done)
		deploy.Request.Phase = rollout.Deploy
		expect(t, run(t, w, deploy), rollout.Done, "at 0%")
	})
}

func TestACancelledRollingUpdateHoldsOrGoesBack(t *testing.T) {
	for onCancel, want := range map[string]string{"hold": "blue: v1 1/1", "rollback": "blue: v1 2/2"} {
		moves := batchwise(rollingStop)[:2]
		moves[1].work.Config.Data = []byte(strings.Replace(string(moves[1].work.Config.Data), "rollback_window", "on_cancel: "+onCancel+"\nrollback_window", 1))
		stage(t, moves, func(t *testing.T, w *world) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan phase.Result, 1)
			go func() {
				res, err := w.runner().Run(ctx, rollingWork(rollingStop, rollout.Deploy, "v2"))
				if err != nil {
					t.Error(err)
				}
				done <- res
			}()
			pass(20 * time.Second) // in the first batch's bake
			cancel()
			expect(t, <-done, rollout.Stopped, "cancelled")
			if got := picture(w); !strings.Contains(got, want) {
				t.Errorf("on_cancel %s left\n%s", onCancel, got)
			}
		})
	}
}

func TestAPlatformThatCannotDoItSaysSo(t *testing.T) {
	for strategy, platform := range map[string]func(*world) phase.Platform{
		rollingStop: func(w *world) phase.Platform { return struct{ phase.Sides }{w} },
		blueGreen:   func(w *world) phase.Platform { return struct{ phase.Roller }{w} },
	} {
		stage(t, by(strategy, firstRelease()), func(t *testing.T, w *world) {
			r := w.runner()
			r.Platform = platform(w)
			res, err := r.Run(t.Context(), rollingWork(strategy, rollout.Deploy, "v2"))
			if err != nil {
				t.Fatal(err)
			}
			expect(t, res, rollout.Refused, "the platform cannot")
		})
	}
}

// A way back needs neither record nor config: the mark says how it goes.
func TestARollingUpdateGoesBackByTheMarkAlone(t *testing.T) {
	stage(t, batchwise(rollingStop)[:3], func(t *testing.T, w *world) {
		w.lost = true
		rollback := work(rollout.Rollback, "", 0)
		rollback.Config.Data = []byte("not a config")
		expect(t, run(t, w, rollback), rollout.Done)
		if got := w.sides[rollout.Blue]; w.split.Blue != rollout.Full || got.Ready != 2 || len(w.sides) != 1 || !w.mark.Candidate.Zero() {
			t.Errorf("split %+v, sides %+v, mark %+v", w.split, w.sides, w.mark)
		}
	})
}
