package phase_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

const splitStreet = "0007-split-street"

// with gives the work other changes, by name and text.
func with(w phase.Work, changes ...string) phase.Work {
	w.ChangeFiles = nil
	for i := 0; i < len(changes); i += 2 {
		w.ChangeFiles = append(w.ChangeFiles, rollout.File{Name: "changes/" + changes[i] + ".yaml", Data: []byte(changes[i+1])})
	}
	return w
}

func TestADatabaseThatDoesNotAnswerDelaysNoWayBack(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		w.schema.deaf = true
		res := run(t, w, reverting())
		expect(t, res, rollout.Stopped, "v1", "serves; the schema is not taken back: the database does not answer")
		if !strings.Contains(res.Hint, "gapless rollback --schema revert again") {
			t.Errorf("hint %q", res.Hint)
		}
		if got := picture(w); !strings.Contains(got, "split blue 100%") || strings.Contains(got, "side green") {
			t.Errorf("left is\n%s", got)
		}
		w.schema.deaf = false
		expect(t, run(t, w, reverting()), rollout.Done, "1 change is taken back: the schema is as it was")
		expect(t, run(t, w, reverting()), rollout.Done, "no schema change is left to take back")
		if len(w.schema.changes) > 0 {
			t.Errorf("left is\n%s", picture(w))
		}
	})
}

func TestAWayBackWaitsForWhoItOvertook(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		w.schema.busy = "run 7 of another service"
		begun := time.Now()
		res := run(t, w, reverting())
		expect(t, res, rollout.Stopped, "not taken back", "run 7 of another service")
		if waited := time.Since(begun); waited < 10*time.Second || w.split.Blue != rollout.Full {
			t.Errorf("waited %s, blue has %s", waited, w.split.Blue)
		}
		if at := w.shifts[len(w.shifts)-1].at.Sub(begun); at > time.Second {
			t.Errorf("traffic was back after %s", at)
		}
	})
}

func TestTwoPhasesOnOneDatabase(t *testing.T) {
	stage(t, firstRelease(), func(t *testing.T, w *world) {
		w.schema.busy = "run 7 of another service"
		expect(t, run(t, w, work(rollout.Expand, "v2", 0)), rollout.Waiting, "run 7 of another service")
		w.schema.busy = ""
		expect(t, run(t, w, work(rollout.Expand, "v2", 0)), rollout.Done)
	})
}

func TestNothingIsTakenBackWhileSomethingNewerStands(t *testing.T) {
	stage(t, takenBack(), func(t *testing.T, w *world) {
		w.sides[rollout.Green] = rollout.SideState{Revision: rollout.Revision{ID: "stray", Spec: strings.Repeat("9", 64)}, Desired: 1, Ready: 1}
		expect(t, run(t, w, reverting()), rollout.Stopped, "other revisions still run: stray", "which may use the new form")
		delete(w.sides, rollout.Green)
		w.schema.claims = []change.Claim{{Service: "billing", Table: "address", Columns: []string{"street_name"}, Since: time.Now()}}
		expect(t, run(t, w, reverting()), rollout.Stopped, "service billing uses columns street_name of table address since")
		if w.schema.state(splitStreet) != rollout.Expanded {
			t.Errorf("left is\n%s", picture(w))
		}
	})
}

// What stable was released with is never taken back with the rollout after it,
// though the config still names it.
func TestWhatWasReleasedStays(t *testing.T) {
	stage(t, release()[:7], func(t *testing.T, w *world) {
		expect(t, run(t, w, reverting()), rollout.Refused, "was released", "uses the new form")
		expect(t, run(t, w, work(rollout.Deploy, "v3", 0)), rollout.Done)
		expect(t, run(t, w, reverting()), rollout.Done)
		if w.schema.state(splitStreet) != rollout.Expanded {
			t.Fatalf("left is\n%s", picture(w))
		}
		expect(t, run(t, w, work(rollout.Contract, "", 0)), rollout.Done, "no old form is left")
		if w.schema.state(splitStreet) != rollout.Contracted {
			t.Errorf("left is\n%s", picture(w))
		}
	})
}

func TestACorrectedChangeUnderTheSameName(t *testing.T) {
	corrected := strings.Replace(changeFile, `street_name: "street"`, `street_name: "trim(street)"`, 1)
	stage(t, takenBack(), func(t *testing.T, w *world) {
		res := run(t, w, with(work(rollout.Expand, "v3", 0), splitStreet, corrected))
		expect(t, res, rollout.Refused, "was edited after it was begun")
		expect(t, run(t, w, reverting()), rollout.Done)
		expect(t, run(t, w, with(work(rollout.Expand, "v3", 0), splitStreet, corrected)), rollout.Done, "1 change is expanded")
		if k := w.schema.changes[splitStreet]; string(k.Source.Data) != corrected {
			t.Errorf("expanded is %s", k.Source.Data)
		}
	})
}

// What a rollout left that went back is known to those after it, until it is
// taken back or brought again.
func TestWhatWasLeftIsRemembered(t *testing.T) {
	stage(t, takenBack(), func(t *testing.T, w *world) {
		other := strings.ReplaceAll(changeFile, "street_name", "street_upper")
		res := run(t, w, with(work(rollout.Expand, "v3", 0), "0008-upper", other))
		expect(t, res, rollout.Refused, "touches columns street of table address, held by change "+splitStreet+" of service address-book, which is expanded since")
		if !strings.Contains(res.Hint, "gapless rollback --schema revert") {
			t.Errorf("hint %q", res.Hint)
		}
		for _, m := range firstRelease() { // a release that knows nothing of it
			m.work.Revision = "v3"
			expect(t, run(t, w, m.work), rollout.Done)
		}
		expect(t, run(t, w, work(rollout.Rollback, "", 0)), rollout.Done)
		expect(t, run(t, w, reverting()), rollout.Done, "1 change is taken back")
		if len(w.schema.changes) > 0 {
			t.Errorf("left is\n%s", picture(w))
		}
	})
}

func TestHiddenAndBroughtBack(t *testing.T) {
	stage(t, ending(hiding(release()), rollout.Waiting), func(t *testing.T, w *world) {
		state, err := rollout.Fold(w.records[w.mark.Head])
		if err != nil {
			t.Fatal(err)
		}
		if way, why := state.WayBack(); way != rollout.BackByLaunch || !strings.Contains(why, "gapless restore "+splitStreet) {
			t.Errorf("way back %s: %s", way, why)
		}
		res := run(t, w, work(rollout.Contract, "", 0))
		expect(t, res, rollout.Waiting, "the old form is hidden until", "nothing is lost, the way back is gapless restore "+splitStreet)
		if res.Next.Phase != rollout.Contract || !strings.Contains(res.Next.Waits, "is hidden until") {
			t.Errorf("next %+v", res.Next)
		}
		// Deploys go on meanwhile, and the debt stays one.
		expect(t, run(t, w, with(work(rollout.Deploy, "v3", 0), splitStreet, changeFile+"hide_for: 2h\n")), rollout.Done)
		expect(t, run(t, w, work(rollout.Rollback, "", 0)), rollout.Done)
		expect(t, run(t, w, restoring()), rollout.Done, "old and new alike")
		expect(t, run(t, w, restoring()), rollout.Done)
		expect(t, run(t, w, work(rollout.Contract, "", 0)), rollout.Waiting, "the old form is hidden until")
		pass(3 * time.Hour)
		expect(t, run(t, w, work(rollout.Contract, "", 0)), rollout.Done)
	})
}

func TestRestore(t *testing.T) {
	stage(t, release(), func(t *testing.T, w *world) {
		unknown := restoring()
		unknown.Request.Change = "0001-nothing"
		expect(t, run(t, w, unknown), rollout.Refused, `knows no change "0001-nothing"`)
		// A release later the record does not hold it any more.
		for _, m := range firstRelease() {
			m.work.Revision = "v3"
			expect(t, run(t, w, m.work), rollout.Done)
		}
		expect(t, run(t, w, restoring()), rollout.Refused, "standing: the schema stays as it is until that is over")
		expect(t, run(t, w, work(rollout.Promote, "", rollout.Full)), rollout.Done)
		pass(2 * time.Hour)
		expect(t, run(t, w, work(rollout.Retire, "", 0)), rollout.Done)
		res := run(t, w, restoring())
		expect(t, res, rollout.Done, "change "+splitStreet+" is expanded")
		if res.Next.Phase != rollout.Contract {
			t.Errorf("its contract is not owed again: next is %s", res.Next.Command())
		}
		expect(t, run(t, w, work(rollout.Contract, "", 0)), rollout.Done)
		if w.schema.state(splitStreet) != rollout.Contracted {
			t.Errorf("left is\n%s", picture(w))
		}
	})
}

// using has the config say what the service uses.
func using(w phase.Work, columns string) phase.Work {
	w.Config.Data = []byte(strings.Replace(string(w.Config.Data), "url_env: DATABASE_URL,", "url_env: DATABASE_URL, uses: [{table: address, columns: ["+columns+"]}],", 1))
	return w
}

// Until a release has settled, what both revisions use is claimed; then what the
// new one does. Contract waits for whoever claims what it takes away.
func TestClaims(t *testing.T) {
	stage(t, nil, func(t *testing.T, w *world) {
		claimed := func() (all []string) {
			for _, c := range w.schema.claims {
				all = append(all, c.Service+" "+strings.Join(c.Columns, "+"))
			}
			slices.Sort(all)
			return all
		}
		expect(t, run(t, w, using(firstRelease()[0].work, "street")), rollout.Done)
		if got := claimed(); !slices.Equal(got, []string{"address-book street"}) {
			t.Fatalf("claimed are %v", got)
		}
		for _, m := range release()[1:6] {
			expect(t, run(t, w, using(m.work, "street_name")), m.want)
		}
		if got := claimed(); !slices.Equal(got, []string{"address-book street", "address-book street_name"}) {
			t.Fatalf("claimed are %v", got)
		}
		pass(2 * time.Hour)
		expect(t, run(t, w, work(rollout.Retire, "", 0)), rollout.Done)
		if got := claimed(); !slices.Equal(got, []string{"address-book street_name"}) {
			t.Fatalf("claimed are %v", got)
		}
		w.schema.claims = append(w.schema.claims, change.Claim{Service: "billing", Table: "address", Columns: []string{"street"}, Since: time.Now()})
		res := run(t, w, work(rollout.Contract, "", 0))
		expect(t, res, rollout.Waiting, "service billing uses columns street of table address since")
		if !strings.Contains(res.Hint, "schema.uses") {
			t.Errorf("hint %q", res.Hint)
		}
		w.schema.claims = nil
		expect(t, run(t, w, work(rollout.Contract, "", 0)), rollout.Done)
	})
}

func TestOverlappingChangesAreRefused(t *testing.T) {
	other := strings.ReplaceAll(changeFile, "street_name", "street_upper")
	stage(t, firstRelease(), func(t *testing.T, w *world) {
		both := with(work(rollout.Expand, "v2", 0), splitStreet, changeFile, "0008-upper", other)
		expect(t, run(t, w, both), rollout.Refused, "changes "+splitStreet+" and 0008-upper both hold columns street of table address")
		w.schema.changes["0003-theirs"] = change.Known{
			ID: "0003-theirs", Service: "billing", State: rollout.Expanded, Since: time.Now(), Table: "address", Columns: []string{"street"}, Ends: true,
		}
		expect(t, run(t, w, work(rollout.Expand, "v2", 0)), rollout.Refused,
			"held by change 0003-theirs of service billing, which is expanded since")
		if len(w.schema.applied) > 0 {
			t.Error("something was changed")
		}
	})
}

func TestUninstallWaitsForTheRolloutToEnd(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		_, err := w.runner().Uninstall(context.WithoutCancel(t.Context()), work(rollout.Rollback, "", 0), phase.Uninstall{})
		if err == nil || !strings.Contains(err.Error(), "is under way") || !strings.Contains(rollout.HintOf(err), "gapless rollback") {
			t.Fatalf("%v (%s)", err, rollout.HintOf(err))
		}
		expect(t, run(t, w, reverting()), rollout.Done)
		if _, err := w.runner().Uninstall(context.WithoutCancel(t.Context()), work(rollout.Rollback, "", 0), phase.Uninstall{}); err != nil {
			t.Fatal(err)
		}
		if w.locked {
			t.Error("the database is still locked")
		}
	})
}
