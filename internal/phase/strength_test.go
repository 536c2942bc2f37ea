package phase_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

func TestTrafficIsNotGivenToASideTooSmall(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		green := w.sides[rollout.Green]
		green.Ready, green.Instances[1].Ready, green.Instances[1].Problem = 1, false, "exit status 3"
		w.sides[rollout.Green] = green
		// One of two is enough for half of the traffic, not for all of it.
		res := run(t, w, work(rollout.Promote, "", rollout.Full))
		expect(t, res, rollout.Stopped, "1 of 2 instances of candidate v2 are ready", "exit status 3")
		if w.split.Green > 500 {
			t.Errorf("candidate has %s", w.split.Green)
		}
	})
}

func TestASideThatAShiftBringsToStrengthIsLargeEnough(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		green := w.sides[rollout.Green]
		green.Ready, green.Desired, green.Whole, green.Instances = 1, 1, 2, green.Instances[:1]
		w.sides[rollout.Green] = green
		expect(t, run(t, w, work(rollout.Promote, "", rollout.Full)), rollout.Done)
	})
}

// coarse is a platform on which one weight can be had, and all of the traffic.
type coarse struct {
	*world
	green rollout.Weight
}

func (c coarse) Nearest(context.Context, rollout.Split) (rollout.Split, error) {
	return rollout.SplitTo(rollout.Green, c.green), nil
}

func TestAWeightThatCannotBeHadIsTheNearest(t *testing.T) {
	stage(t, release()[:3], func(t *testing.T, w *world) {
		promote := func(to, nearest, want rollout.Weight, outcome rollout.Outcome, words ...string) {
			t.Helper()
			r := w.runner()
			r.Platform = coarse{w, nearest}
			res, err := r.Run(t.Context(), work(rollout.Promote, "", to))
			if err != nil {
				t.Fatal(err)
			}
			expect(t, res, outcome, words...)
			if w.split.Green != want {
				t.Errorf("candidate has %s, want %s", w.split.Green, want)
			}
		}
		promote(50, 200, 200, rollout.Done)
		promote(500, 200, 200, rollout.Stopped, "weight 50% cannot be had here, the nearest is 20%")
		promote(rollout.Full, 500, rollout.Full, rollout.Done)
	})
}

func TestStableIsBroughtBackToStrengthBeforeItTakesTheTraffic(t *testing.T) {
	for name, lose := range map[string]func(*world){
		"one instance": func(w *world) {
			blue := w.sides[rollout.Blue]
			blue.Ready = 1
			w.sides[rollout.Blue] = blue
		},
		"all of it": func(w *world) { delete(w.sides, rollout.Blue) },
	} {
		t.Run(name, func(t *testing.T) {
			stage(t, release()[:5], func(t *testing.T, w *world) {
				lose(w)
				expect(t, run(t, w, work(rollout.Rollback, "", 0)), rollout.Done)
				if w.sides[rollout.Blue].Ready != 2 || w.split.Blue != rollout.Full || w.dropped != "" {
					t.Errorf("%s\n%s", picture(w), w.dropped)
				}
			})
		})
	}
	stage(t, release()[:5], func(t *testing.T, w *world) {
		delete(w.sides, rollout.Blue)
		w.broken = "v1"
		expect(t, run(t, w, work(rollout.Rollback, "", 0)), rollout.NeedsPerson, "cannot take the traffic back", "cannot open config")
		if w.split.Green != rollout.Full {
			t.Error(picture(w))
		}
	})
}

func TestStableThatSomebodyStoppedIsDrift(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		delete(w.sides, rollout.Blue)
		expect(t, run(t, w, work(rollout.Promote, "", rollout.Full)), rollout.NeedsPerson, "side blue is empty, recorded is stable v1")
	})
}

func TestAPlatformThatIsAwayForAMomentIsWaitedFor(t *testing.T) {
	stage(t, release()[:3], func(t *testing.T, w *world) {
		done := make(chan phase.Result, 1)
		go func() { done <- run(t, w, work(rollout.Promote, "", 50)) }()
		pass(12 * time.Second)
		w.mu.Lock()
		w.away = time.Now().Add(8 * time.Second)
		w.mu.Unlock()
		expect(t, <-done, rollout.Done, "5%")
		w.away = time.Now().Add(time.Hour)
		if _, err := w.runner().Run(t.Context(), work(rollout.Tick, "", 0)); err == nil {
			t.Error("a platform that never answered was waited for")
		}
	})
}

// An agent that crashes in a bake loses its counts; what stable did was read
// before the switch.
func TestStablesPastOutlivesTheMeter(t *testing.T) {
	stage(t, inOneMove()[:3], func(t *testing.T, w *world) {
		done := make(chan phase.Result, 1)
		go func() { done <- run(t, w, work(rollout.Promote, "", rollout.Full)) }()
		for range 100 {
			pass(10 * time.Millisecond)
			w.mu.Lock()
			if w.split.Green == rollout.Full {
				w.shifts = w.shifts[len(w.shifts)-1:] // forgotten, all before the switch
			}
			w.mu.Unlock()
		}
		res := <-done
		expect(t, res, rollout.Done, "100%")
	})
}

// What ends now and then over a day is no reason to take back what has passed.
func TestCrashesCountWhileOnTrial(t *testing.T) {
	stage(t, release()[:5], func(t *testing.T, w *world) {
		green := w.sides[rollout.Green]
		green.Instances[0].Restarts = 2
		w.sides[rollout.Green] = green
		expect(t, run(t, w, work(rollout.Tick, "", 0)), rollout.Done, "nothing wrong seen")
	})
	stage(t, release()[:3], func(t *testing.T, w *world) {
		green := w.sides[rollout.Green]
		green.Instances[0].Restarts, green.Instances[0].Ended = 2, "exit status 7"
		w.sides[rollout.Green] = green
		expect(t, run(t, w, work(rollout.Promote, "", rollout.Full)), rollout.Stopped, "ended by themselves 2 times: exit status 7")
	})
}

// A retire that was cancelled right after stable had stopped goes on: nobody
// else has stopped it.
func TestACancelledRetireGoesOn(t *testing.T) {
	stage(t, release()[:5], func(t *testing.T, w *world) {
		pass(2 * time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		w.retired = cancel
		res, err := w.runner().Run(ctx, work(rollout.Retire, "", 0))
		if err != nil {
			t.Fatal(err)
		}
		expect(t, res, rollout.Stopped, "cancelled")
		w.retired = nil
		expect(t, run(t, w, work(rollout.Retire, "", 0)), rollout.Done, "v2 is stable")
	})
}

// A meter that does not divide the traffic itself is told which weight was in
// force when, also by a process that made none of the shifts.
func TestAMeterIsToldTheWeightsThatWerePassed(t *testing.T) {
	stage(t, release()[:5], func(t *testing.T, w *world) {
		asked := 0
		same := func(a, b rollout.Passage) bool { return a.Weight == b.Weight && a.Since.Equal(b.Since) }
		w.counting = func(in rollout.Window) {
			asked++
			var passed []rollout.Passage
			for _, s := range w.shifts {
				if s.split.Green > 0 {
					passed = append(passed, rollout.Passage{Since: s.at, Weight: s.split.Green})
				}
			}
			if in.Seen.Split != w.split || len(passed) < 2 || !slices.EqualFunc(in.Passed, passed, same) {
				t.Errorf("with split %v, after %v, the meter is told %+v", w.split, passed, in)
			}
		}
		expect(t, run(t, w, work(rollout.Tick, "", 0)), rollout.Done, "")
		if asked == 0 {
			t.Error("the meter was not asked")
		}
	})
}
