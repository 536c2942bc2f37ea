package report_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/report"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

var update = flag.Bool("update", false, "write the golden files anew")

var digest = strings.Repeat("4e7d01c9", 8)

// pages are the moments of a release at which somebody reads.
func pages(t *testing.T) map[string]report.Page {
	return map[string]report.Page{
		"plan":              report.Plan(freshPlan()),
		"plan-refused":      report.Plan(refusedPlan()),
		"expanding":         report.Rollout(expandingView(t)),
		"standing":          report.Rollout(standingView(t)),
		"gate-comment":      report.Rollout(commentGateView(t)),
		"gate-environment":  report.Rollout(environmentGateView(t)),
		"exposed":           report.Rollout(exposedView(t)),
		"inconclusive":      report.Rollout(inconclusiveView(t)),
		"taken-back":        report.Rollout(takenBackView(t)),
		"live":              report.Rollout(liveView(t)),
		"settled-owing":     report.Rollout(settledView(t)),
		"contracted":        report.Rollout(contractedView(t)),
		"first-release":     report.Rollout(firstReleaseView(t)),
		"needs-person":      report.Rollout(needsPersonView(t)),
		"killed":            report.Rollout(killedView(t)),
		"status-drifted":    report.Status(driftedStatus(t)),
		"status-lost":       report.Status(lostStatus(t)),
		"can-retire":        report.Can("address-book", rollout.Retire, retireNeeds(), ""),
		"can-retire-now":    report.Can("address-book", rollout.Retire, retireNeeds()[:1], ""),
		"rolling":           report.Rollout(rollingView(t)),
		"rolling-left":      report.Rollout(rollingLeftView(t)),
		"rolling-live":      report.Rollout(rollingLiveView(t)),
		"ticks-and-accepts": report.Rollout(tickedView(t)),
		"reverted":          report.Rollout(revertedView(t)),
		"unreverted":        report.Rollout(unrevertedView(t)),
		"hidden":            report.Rollout(hiddenView(t)),
		"restored":          report.Rollout(restoredView(t)),
		"status-shared":     report.Status(sharedStatus(t)),
	}
}

func TestGolden(t *testing.T) {
	for name, page := range pages(t) {
		t.Run(name, func(t *testing.T) {
			compare(t, name+".md", page.Markdown())
			compare(t, name+".txt", page.Terminal(100, false))
		})
	}
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("..", "..", "testdata", "golden", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (write it with go test ./internal/report -update)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", name, diff)
	}
}

func freshPlan() report.PlanView {
	return report.PlanView{
		Service: "address-book", Candidate: v2, Stable: v1, Strategy: "canary", Target: "local",
		Side: rollout.Green, Instances: 3, Serving: []rollout.Share{{Revision: v1, Weight: rollout.Full}},
		PerMinute: 18_000, Errors: 0.0002, Slow: 0.002,
		Weights: []rollout.Weight{10, 50, 250, 500, 1000},
		Steps: []report.PlanStep{
			{Weight: 10, Bake: 5 * time.Minute, Requests: 150, Pass: time.Minute, Effect: 0.01, Detect: 3 * time.Minute},
			{Weight: 50, Bake: 5 * time.Minute, Requests: 420, Pass: 30 * time.Second, Effect: 0.01, Detect: 45 * time.Second},
			{Weight: 250, Bake: 5 * time.Minute, Requests: 2_100, Pass: 28 * time.Second, Effect: 0.01, Detect: 20 * time.Second},
			{Weight: 1000, Bake: 5 * time.Minute, Effect: 0.01, Detect: 20 * time.Second},
		},
		Changes: []report.PlanChange{{
			ID: changeID, Name: "split street into name and number", Table: "public.address", State: rollout.Absent,
			Rows: 200_000, Bytes: 21_454_848, Backfill: 22 * time.Second,
			Steps: []report.PlanLock{
				{Step: "add_columns", Lock: "the whole table, for an instant"},
				{Step: "backfill", Lock: "the rows of one batch"},
				{Step: "create_index", Lock: "none that readers or writers wait for"},
			},
			Drops:    []string{"column street", "index address_street_idx"},
			Warnings: []string{"table is published by \"shop\": subscribers need the new columns too"},
			Rehearsal: &report.PlanRehearsal{Statements: []report.PlanStatement{
				{Part: "expand", Step: "add_columns", Statement: `alter table "public"."address" add column "street_name" text`, Locks: []string{"access exclusive on public.address"}, Took: 2 * time.Millisecond, Held: 3 * time.Millisecond},
				{Part: "expand", Step: "sql/1", Statement: "alter table address alter phone type bigint", Locks: []string{"access exclusive on public.address", "share on public.address"}, Rewrites: []string{"public.address"}, Took: 9 * time.Millisecond, Held: 12 * time.Millisecond},
				{Part: "contract", Step: "drop", Statement: `alter table "public"."address" drop column street`, Under: true, Held: time.Millisecond},
				{Part: "revert", Step: "undo/create_index/street_name", Statement: `drop index concurrently "public"."address_street_name_idx"`, Held: time.Millisecond},
			}},
		}},
		Lints:  []string{"drain 5s is shorter than the slowest request seen, 7.2s: it would be cut off"},
		Intent: digest, PlanDigest: strings.Repeat("81f2aa07", 8),
		Next: &report.Next{Phase: rollout.Expand, Command: "expand", Asked: "make the schema ready for both"},
	}
}

func refusedPlan() report.PlanView {
	v := freshPlan()
	v.Changes[0].Refusals = []string{`column "street" of table "address" does not exist`}
	v.Needs = []report.Precondition{{Text: "rollout 51ab0e-77c0de is under way", How: "finish it first, or end it with gapless rollback"}}
	v.PerMinute, v.Errors, v.Slow, v.Next = 0, 0, 0, nil
	for i := range v.Steps {
		v.Steps[i].Pass, v.Steps[i].Detect = 0, 0
	}
	return v
}

func expandingView(t *testing.T) report.View {
	s := release(t).expanding()
	s.add(rollout.Migrating{Change: changeID, Digest: "d1", Step: "backfill", State: rollout.Expanding}).after(11 * time.Second)
	v := s.view()
	v.Seen = s.seen(rollout.Split{Blue: rollout.Full})
	v.Seen.Mark.Lease = &rollout.Lease{Holder: "run 101", Phase: rollout.Expand, Until: s.now.Add(15 * time.Second)}
	v.Progress = &change.Progress{
		Step: "backfill", Done: 104_000, Total: 200_000, Rate: 9615, ETA: 10 * time.Second, Note: "waits for replica lag 4s",
	}
	return v
}

func standingView(t *testing.T) report.View {
	v := release(t).standing().view()
	v.Next = &report.Next{
		Phase: rollout.Promote, Command: "promote --to 1", Asked: "give the candidate 1% of the traffic", GateDigest: digest,
	}
	return v
}

func commentGateView(t *testing.T) report.View {
	v := standingView(t)
	v.Next.Gate = &rollout.Gate{Comment: "write", SecondPerson: true}
	return v
}

func environmentGateView(t *testing.T) report.View {
	v := settledView(t)
	v.Next.Gate = &rollout.Gate{Environment: "production-schema"}
	v.RunURL = "https://github.com/ana/book/actions/runs/12345678901/attempts/1"
	return v
}

func exposedView(t *testing.T) report.View {
	s := release(t).standing().promoted("103", 0, 10)
	s.run(rollout.Promote, "104", "ben").add(rollout.Began{To: 50, Approval: "cleo in environment production"})
	s.shift(10, 50).after(4*time.Minute + 10*time.Second)
	v := s.view()
	v.Seen = s.seen(rollout.SplitTo(rollout.Green, 50))
	v.Seen.Mark.Lease = &rollout.Lease{Holder: "run 104", Phase: rollout.Promote, Until: s.now.Add(15 * time.Second)}
	j := passing(50)
	v.Judgement = &j
	v.Next = &report.Next{Phase: rollout.Promote, Command: "promote --to 5", Asked: "bring the bake at 5% to its verdict"}
	return v
}

func inconclusiveView(t *testing.T) report.View {
	s := release(t).standing().run(rollout.Promote, "103", "ben").add(rollout.Began{To: 10})
	s.shift(0, 10).after(30*time.Minute).judged(10, unsure())
	s.add(rollout.Ended{
		Outcome: rollout.Waiting, Reason: "the verdict at 1% is inconclusive: the candidate served 96 requests, 150 needed",
		Hint: "let it run and promote again, accept it by name with --accept, or gapless rollback",
	}).after(2 * time.Minute)
	v := s.view()
	v.Seen = s.seen(rollout.SplitTo(rollout.Green, 10))
	v.Next = &report.Next{Phase: rollout.Promote, Command: "promote --to 1", Asked: "bring the bake at 1% to its verdict"}
	return v
}

func takenBackView(t *testing.T) report.View {
	s := release(t).standing().run(rollout.Promote, "103", "ben").add(rollout.Began{To: 10})
	s.shift(0, 10).after(68*time.Second).judged(10, failing())
	decided := s.now
	s.after(9 * time.Millisecond)
	s.add(rollout.RolledBack{From: 10, Reason: failing().Reason, Decided: decided, InForce: s.now, Epoch: 1})
	s.after(4 * time.Second).add(rollout.Retired{Side: rollout.Green, Revision: v2})
	s.add(rollout.Ended{
		Outcome: rollout.Stopped, Reason: "candidate 9f3c72 was taken back: " + failing().Reason,
		Hint:  "mend it and release it as a new revision; the schema serves both forms meanwhile",
		Probe: &rollout.Probed{Requests: 360},
	})
	return s.view()
}

func liveView(t *testing.T) report.View {
	s := release(t).live()
	v := s.view()
	v.Seen = s.seen(rollout.SplitTo(rollout.Green, rollout.Full))
	v.Next = &report.Next{Phase: rollout.Retire, Command: "retire", Asked: "stop the old revision, from 2026-03-02 03:05:27 UTC on"}
	return v
}

func settledView(t *testing.T) report.View {
	v := release(t).settled().view()
	v.Next = &report.Next{
		Phase: rollout.Contract, Command: "contract", Asked: "remove the old form of " + changeID + " from the schema", GateDigest: digest,
	}
	return v
}

func contractedView(t *testing.T) report.View {
	v := release(t).contracted().view()
	v.Next = &report.Next{Phase: rollout.Deploy, Command: "deploy", Asked: "nothing is due"}
	return v
}

func firstReleaseView(t *testing.T) report.View {
	s := newStory(t, rollout.Deploy, rollout.Opened{Candidate: v1, Side: rollout.Blue, Strategy: "canary", Target: "local"})
	s.add(rollout.Began{})
	s.add(rollout.Launching{Side: rollout.Blue, Revision: v1}).after(2 * time.Second)
	s.add(rollout.Launched{Side: rollout.Blue, Revision: v1, Instances: 3, Seconds: 2})
	s.add(rollout.Checked{Side: rollout.Blue, Smoke: 3})
	s.shift(0, rollout.Full).add(rollout.Settled{Stable: v1, Side: rollout.Blue})
	return s.ended(rollout.Share{Revision: v1, Weight: rollout.Full}).view()
}

func needsPersonView(t *testing.T) report.View {
	s := release(t).standing().promoted("103", 0, 10)
	s.run(rollout.Promote, "104", "ben").add(rollout.Began{To: 50})
	s.add(rollout.Ended{
		Outcome: rollout.NeedsPerson,
		Reason:  "stable 51ab0e has 0 instances ready on side blue: it cannot take the traffic back",
		Hint:    "mend what keeps it from starting, then run gapless rollback again",
	}).after(30 * time.Second)
	v := s.view()
	v.Seen = s.seen(rollout.SplitTo(rollout.Green, 10))
	v.Seen.Sides[rollout.Blue] = rollout.SideState{Revision: v1, Desired: 3}
	return v
}

func killedView(t *testing.T) report.View {
	s := release(t).standing().run(rollout.Promote, "103", "ben").add(rollout.Began{To: 10})
	s.add(rollout.Shifting{From: 0, To: 10}).after(3 * time.Minute)
	return s.view()
}

func tickedView(t *testing.T) report.View {
	s := release(t).standing().run(rollout.Promote, "103", "ben").add(rollout.Began{To: 10})
	s.shift(0, 10).after(30*time.Minute).judged(10, unsure())
	s.add(rollout.Ended{Outcome: rollout.Waiting, Reason: "the verdict at 1% is inconclusive"})
	for _, run := range []string{"104", "105", "106"} {
		s.after(5*time.Minute).run(rollout.Tick, run, "schedule").add(rollout.Began{})
		s.after(200 * time.Millisecond).add(rollout.Ended{Outcome: rollout.Done})
	}
	s.after(time.Minute).run(rollout.Promote, "107", "ben")
	s.add(rollout.Began{To: 50, Accepted: "dana: the shop is closed, there is no more traffic tonight"}).shift(10, 50)
	return s.view()
}

// rolled is a rolling update of three instances, so many of them replaced.
func rolled(t *testing.T, batches int) *story {
	s := newStory(t, rollout.Deploy, rollout.Opened{
		Candidate: v2, Stable: v1, Side: rollout.Green, Strategy: rollout.Rolling, Target: "local", Spec: rollout.Spec{Instances: 3},
	})
	s.add(rollout.Began{Approval: "cleo in environment production"})
	for n := range batches {
		if n > 0 {
			s.judged(rollout.PartOf(n, 3), passing(rollout.PartOf(n, 3)))
		}
		s.replacing(n).after(2 * time.Second)
		s.replaced(n).after(5 * time.Minute)
	}
	return s
}

func (s *story) replacing(from int) *story {
	return s.add(rollout.Replacing{From: from, To: from + 1, Of: 3})
}

func (s *story) replaced(from int) *story {
	return s.add(rollout.Replaced{
		Replacing: rollout.Replacing{From: from, To: from + 1, Of: 3},
		Checked:   rollout.Checked{Side: rollout.Green, Smoke: 2, Warmup: 50},
		Decided:   s.now.Add(-2 * time.Second), InForce: s.now, Cut: from,
	})
}

func rollingView(t *testing.T) report.View {
	s := rolled(t, 1).judged(333, passing(333)).replacing(1).after(3 * time.Second)
	v := s.view()
	v.Seen = s.seen(rollout.SplitTo(rollout.Green, 333))
	v.Seen.Mark.Strategy = rollout.Rolling
	v.Seen.Mark.Lease = &rollout.Lease{Holder: "run 101", Phase: rollout.Deploy, Until: s.now.Add(15 * time.Second)}
	return v
}

func rollingLeftView(t *testing.T) report.View {
	s := rolled(t, 2).judged(666, failing())
	s.add(rollout.Ended{
		Outcome: rollout.NeedsPerson,
		Reason:  "2 of 3 instances run candidate 9f3c72 and are left so, as on_failure asks: " + failing().Reason,
		Hint:    "bring stable back with gapless rollback; nothing else goes on from here",
	}).after(time.Minute)
	v := s.view()
	v.Seen = s.seen(rollout.SplitTo(rollout.Green, 666))
	v.Seen.Mark.Strategy = rollout.Rolling
	v.Next = &report.Next{Phase: rollout.Rollback, Command: "rollback", Asked: "bring stable back, batch by batch"}
	return v
}

func rollingLiveView(t *testing.T) report.View {
	s := rolled(t, 3).judged(rollout.Full, passing(rollout.Full)).ended(rollout.Share{Revision: v2, Weight: rollout.Full})
	v := s.view()
	v.Next = &report.Next{Phase: rollout.Retire, Command: "retire", Asked: "settle on the new revision, which gives the way back up, from 2026-03-02 03:05:27 UTC on"}
	return v
}

func driftedStatus(t *testing.T) report.StatusView {
	s := release(t).standing().promoted("103", 0, 10)
	v := report.StatusView{View: s.view(), Drift: "candidate 9f3c72 takes 40%, recorded is 1%"}
	v.Seen = s.seen(rollout.SplitTo(rollout.Green, 400))
	green := v.Seen.Sides[rollout.Green]
	green.Ready, green.Instances = 2, []rollout.Instance{{Name: "green-2", Problem: "exit status 1: cannot reach the database"}}
	v.Seen.Sides[rollout.Green] = green
	v.Seen.Managers = []string{"terraform (tag managed-by)"}
	return v
}

func lostStatus(t *testing.T) report.StatusView {
	s := release(t).standing()
	v := report.StatusView{Lost: "no record is stored in /var/lib/gapless for service address-book"}
	v.Now, v.Seen = s.now, s.seen(rollout.Split{Blue: rollout.Full})
	return v
}

func retireNeeds() []report.Precondition {
	return []report.Precondition{
		{Text: "rollout 9f3c72-04d1aa is live", Met: true},
		{Text: "the rollback window is open until 2026-03-02 03:05:27 UTC", How: "run gapless retire after that"},
	}
}
