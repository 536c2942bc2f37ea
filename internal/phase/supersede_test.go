package phase_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

func superseded(revision string) phase.Work {
	w := work(rollout.Deploy, revision, 0)
	w.Request.Supersede = true
	return w
}

func TestSupersedingTellsWhatIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		moves []move
		told  string
		left  string
	}{
		"on trial": {release()[:4], "v2 is taken back, v1 is what serves", "stable v1 on blue, candidate v3"},
		"live":     {release()[:5], "v2 is settled, and the way back to v1 is given up", "stable v2 on green, candidate v3"},
	} {
		t.Run(name, func(t *testing.T) {
			stage(t, c.moves, func(t *testing.T, w *world) {
				expect(t, run(t, w, work(rollout.Deploy, "v3", 0)), rollout.Refused, "revision v2 is under way", "--supersede")
				preview, err := w.runner().Preview(t.Context(), superseded("v3"))
				if err != nil {
					t.Fatal(err)
				}
				if told := strings.Join(preview.Warnings, "\n"); !strings.Contains(told, c.told) || len(preview.Unmet) > 0 {
					t.Errorf("plan tells %q, unmet %v", told, preview.Unmet)
				}
				res := run(t, w, superseded("v3"))
				expect(t, res, rollout.Done, "candidate v3 stands")
				if told := strings.Join(res.Warnings, "\n"); !strings.Contains(told, c.told) {
					t.Errorf("told is %q", told)
				}
				if got := picture(w); !strings.Contains(got, c.left) {
					t.Errorf("left is\n%s", got)
				}
			})
		})
	}
}

// The same version with other settings supersedes itself; with the same ones,
// the rollout only goes on.
func TestSettingsAloneSupersedeARollout(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		same := superseded("v2")
		expect(t, run(t, w, same), rollout.Refused, "does not allow deploy")
		before := w.mark.Candidate
		same.Config.Data = []byte(strings.Replace(string(same.Config.Data), "instances: 2", "instances: 3", 1))
		expect(t, run(t, w, same), rollout.Done, "candidate v2 stands")
		if w.mark.Candidate == before || w.sides[rollout.Green].Ready != 3 {
			t.Error(picture(w))
		}
	})
}

// What the new rollout needs is looked at before the open one is ended for it.
func TestNothingIsEndedForARolloutThatCannotBegin(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		before := picture(w)
		w3 := superseded("v3")
		w3.ChangeFiles = append(w3.ChangeFiles, rollout.File{
			Name: "changes/0008-phone.yaml", Data: []byte("name: phone\ntable: address\nexpand:\n  - add_column: {name: phone, type: text}\n"),
		})
		expect(t, run(t, w, w3), rollout.Refused, "change 0008-phone is absent, the candidate needs it expanded")
		broken := superseded("v3")
		broken.Config.Data = []byte("service: address-book\n")
		expect(t, run(t, w, broken), rollout.Refused, "missing key")
		if got := picture(w); got != before {
			t.Errorf("was\n%s\nis\n%s", before, got)
		}
		w3.Request.Phase = rollout.Expand
		expect(t, run(t, w, w3), rollout.Done, "2 changes are expanded")
		w3.Request = plan.Request{Phase: rollout.Deploy}
		expect(t, run(t, w, w3), rollout.Done, "candidate v3 stands")
	})
}

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
		if w.applied["0009-upper/add_columns"] {
			t.Error("something was changed")
		}
	})
}

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
