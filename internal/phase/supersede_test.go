package phase_test

import (
	"context"
	"strings"
	"testing"

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
		expect(t, run(t, w, same), rollout.Done, "candidate v2 stands on side green and takes 5%")
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

// A cancel does not take back what has passed, while its stable is being
// stopped to make room.
func TestACancelledSuccessionKeepsWhatHasPassed(t *testing.T) {
	stage(t, release()[:5], func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		w.retired = cancel
		res, err := w.runner().Run(ctx, superseded("v3"))
		if err != nil {
			t.Fatal(err)
		}
		expect(t, res, rollout.Stopped, "cancelled", "run this phase again")
		if w.split.Green != rollout.Full || w.mark.Back != nil {
			t.Fatal(picture(w))
		}
		w.retired = nil
		expect(t, run(t, w, superseded("v3")), rollout.Done, "candidate v3 stands")
	})
}
