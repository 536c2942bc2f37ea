package phase_test

import (
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

func adopting() phase.Work {
	w := work(rollout.Adopt, "", 0)
	w.Request.Reason = "the artifact expired"
	return w
}

// TestALostRecordIsBegunAnew: status and rollback work without it, adopt begins
// another one, and the next release goes its usual way.
func TestALostRecordIsBegunAnew(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		lost := w.mark.Head
		w.forget()
		status, err := w.runner().Status(t.Context(), work(rollout.Plan, "", 0))
		if err != nil {
			t.Fatal(err)
		}
		if status.Cause == nil || status.Next.Phase != rollout.Adopt {
			t.Fatalf("status tells %v and %s", status.Cause, status.Next.Phase)
		}
		expect(t, run(t, w, adopting()), rollout.Refused, "no revision takes all of the traffic", "rollback")
		expect(t, run(t, w, work(rollout.Rollback, "", 0)), rollout.Done)

		unsaid := adopting()
		unsaid.Request.Reason = ""
		expect(t, run(t, w, unsaid), rollout.Refused, "needs a reason")
		res := run(t, w, adopting())
		expect(t, res, rollout.Done, "v1 is stable")
		if res.Record.Entries[0].Prev != lost.Hash || res.Record.Entries[0].Seq != lost.Seq+1 {
			t.Errorf("begins at %d after %q, want after %d, %q", res.Record.Entries[0].Seq, res.Record.Entries[0].Prev, lost.Seq, lost.Hash)
		}
		expect(t, run(t, w, adopting()), rollout.Done)
		for _, m := range release()[1:] {
			pass(m.wait)
			expect(t, run(t, w, m.work), m.want)
		}
	})
}

func TestARecordThatIsThereIsNotAdopted(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		expect(t, run(t, w, adopting()), rollout.Refused, "can be read")
	})
}

// TestALostRecordDoesNotOpenTheGate: the gates are stamped on the platform, so
// that neither a lost record nor another config does away with them.
func TestALostRecordDoesNotOpenTheGate(t *testing.T) {
	gated := firstRelease()
	gated[0].work.Config.Data = gatedConfig(gated[0].work.Config.Data)
	gated[0].want = rollout.Waiting
	stage(t, gated, func(t *testing.T, w *world) {
		let := func(work phase.Work, digest string) phase.Result {
			r := w.runner()
			r.Gates, work.Expect = approver{}, digest
			res, err := r.Run(t.Context(), work)
			if err != nil {
				t.Fatal(err)
			}
			return res
		}
		first, err := w.runner().Preview(t.Context(), gated[0].work)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, let(gated[0].work, first.GateDigest), rollout.Done)
		w.forget()
		expect(t, run(t, w, adopting()), rollout.Waiting, "environment production")
		status, err := w.runner().Status(t.Context(), work(rollout.Plan, "", 0))
		if err != nil {
			t.Fatal(err)
		}
		expect(t, let(adopting(), status.GateDigest), rollout.Done)
		// The config on disk has no gate; that of the platform is in force.
		deploy := work(rollout.Expand, "v2", 0)
		expect(t, run(t, w, deploy), rollout.Done)
		expect(t, run(t, w, work(rollout.Deploy, "v2", 0)), rollout.Done)
		expect(t, run(t, w, work(rollout.Promote, "", 50)), rollout.Waiting, "environment production")
	})
}

func gatedConfig(file []byte) []byte {
	return []byte(strings.Replace(string(file), "rollback_window", "gates: {promote: {environment: production}}\nrollback_window", 1))
}
