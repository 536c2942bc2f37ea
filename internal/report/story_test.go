package report_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/report"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

const changeID = "0007-split-street"

var (
	v1 = rollout.Revision{ID: "51ab0e", Spec: strings.Repeat("1a", 32)}
	v2 = rollout.Revision{ID: "9f3c72", Spec: strings.Repeat("2b", 32)}
)

// story tells a rollout: it appends entries by a clock of its own.
type story struct {
	t      testing.TB
	record rollout.Record
	now    time.Time
	phase  rollout.Phase
	writer rollout.Writer
}

func newStory(t testing.TB, by rollout.Phase, opened rollout.Opened) *story {
	s := &story{
		t: t, record: rollout.NewRecord("address-book", "9f3c72-04d1aa"),
		now: time.Date(2026, 3, 1, 2, 40, 0, 0, time.UTC),
	}
	s.run(by, "101", "ana")
	s.add(opened)
	return s
}

// release opens the story of v2 over v1 with the article's change.
func release(t testing.TB) *story {
	return newStory(t, rollout.Expand, rollout.Opened{
		Candidate: v2, Stable: v1, Side: rollout.Green, Strategy: "canary", Target: "local",
		Changes: []rollout.File{{Name: "db/changes/" + changeID + ".yaml", Data: []byte("name: split street\n")}},
	})
}

func (s *story) run(p rollout.Phase, run, actor string) *story {
	s.phase, s.writer = p, rollout.Writer{Run: run, Attempt: 1, Actor: actor}
	return s
}

func (s *story) add(data rollout.Data) *story {
	s.t.Helper()
	next, err := s.record.Append(rollout.Head{}, s.now, s.writer, s.phase, data)
	if err != nil {
		s.t.Fatal(err)
	}
	s.record = next
	return s
}

func (s *story) after(d time.Duration) *story {
	s.now = s.now.Add(d)
	return s
}

func (s *story) view() report.View {
	s.t.Helper()
	state, err := rollout.Fold(s.record)
	if err != nil {
		s.t.Fatal(err)
	}
	return report.View{Record: s.record, State: state, Now: s.now}
}

// seen is a platform that is where the story is.
func (s *story) seen(split rollout.Split) *rollout.Observation {
	state := s.view().State
	m := &rollout.Mark{
		Service: s.record.Service, Rollout: s.record.Rollout, Stable: v1, StableSide: rollout.Blue,
		Candidate: v2, CandidateSide: rollout.Green, Head: s.record.Head(),
	}
	return &rollout.Observation{
		At: s.now, Mark: m, Split: split, SplitSince: state.Since,
		Sides: map[rollout.Side]rollout.SideState{
			rollout.Blue:  {Revision: v1, Desired: 3, Ready: 3},
			rollout.Green: {Revision: v2, Desired: 3, Ready: 3},
		},
	}
}

func (s *story) migrated(step string, state rollout.ChangeState, took time.Duration, e change.Evidence) *story {
	s.t.Helper()
	before := map[rollout.Phase]rollout.ChangeState{
		rollout.Expand: rollout.Expanding, rollout.Contract: rollout.Contracting, rollout.Rollback: rollout.Reverting, rollout.Restore: rollout.Restoring,
	}[s.phase]
	if state == rollout.Hidden {
		before = rollout.Hidden
	}
	e.Step = step
	raw, err := json.Marshal(e)
	if err != nil {
		s.t.Fatal(err)
	}
	s.add(rollout.Migrating{Change: changeID, Digest: "d1", Step: step, State: before}).after(took)
	return s.add(rollout.Migrated{Change: changeID, Digest: "d1", Step: step, State: state, Evidence: raw})
}

func (s *story) ended(serving ...rollout.Share) *story {
	return s.add(rollout.Ended{Outcome: rollout.Done, Serving: serving, Probe: &rollout.Probed{Requests: 640}}).after(time.Minute)
}

func (s *story) expanding() *story {
	s.add(rollout.Began{}).after(40 * time.Millisecond)
	s.migrated("prepare", rollout.Expanding, 20*time.Millisecond, change.Evidence{})
	s.migrated("add_columns", rollout.Expanding, 30*time.Millisecond, change.Evidence{})
	return s.migrated("sync", rollout.Expanding, 30*time.Millisecond, change.Evidence{})
}

func (s *story) expanded() *story {
	s.expanding()
	s.migrated("backfill", rollout.Expanding, 21*time.Second, change.Evidence{
		Rows: 200_000, Seconds: 20.8, RowsPerSecond: 9615, Kept: 3,
	})
	s.migrated("create_index/street_name", rollout.Expanding, 2*time.Second, change.Evidence{})
	s.migrated("verify", rollout.Expanded, 3*time.Second, change.Evidence{Rows: 200_000, Checks: []change.CheckResult{
		{Name: "relation", Allowed: "0", Passed: true}, {Name: "every street kept its name", Allowed: "0", Passed: true},
	}})
	return s.ended(rollout.Share{Revision: v1, Weight: rollout.Full})
}

func (s *story) standing() *story {
	s.expanded().run(rollout.Deploy, "102", "ana")
	s.add(rollout.Began{}).add(rollout.Launching{Side: rollout.Green, Revision: v2}).after(1400 * time.Millisecond)
	s.add(rollout.Launched{Side: rollout.Green, Revision: v2, Instances: 3, Seconds: 1.4}).after(300 * time.Millisecond)
	s.add(rollout.Checked{Side: rollout.Green, Smoke: 3, Warmup: 150, WarmupFailed: 2})
	return s.ended(rollout.Share{Revision: v1, Weight: rollout.Full})
}

func (s *story) shift(from, to rollout.Weight) *story {
	decided := s.now
	s.add(rollout.Shifting{From: from, To: to}).after(12 * time.Millisecond)
	return s.add(rollout.Shifted{From: from, To: to, Decided: decided, InForce: s.now})
}

func (s *story) judged(w rollout.Weight, j verdict.Judgement) *story {
	s.t.Helper()
	raw, err := json.Marshal(j)
	if err != nil {
		s.t.Fatal(err)
	}
	since := s.view().State.Since
	return s.add(rollout.Judged{Weight: w, Since: since, Verdict: string(j.Verdict), Reason: j.Reason, Judgement: raw})
}

// promoted passes one weight.
func (s *story) promoted(run string, from, to rollout.Weight) *story {
	s.run(rollout.Promote, run, "ben").add(rollout.Began{To: to, Approval: "cleo in environment production"}).after(50 * time.Millisecond)
	s.shift(from, to).after(5 * time.Minute)
	return s.judged(to, passing(to)).ended(
		rollout.Share{Revision: v1, Weight: rollout.Full - to}, rollout.Share{Revision: v2, Weight: to})
}

func (s *story) live() *story {
	s.standing()
	from := rollout.Weight(0)
	for i, to := range []rollout.Weight{10, 50, 250, 500, 1000} {
		s.promoted(string(rune('3'+i)), from, to)
		from = to
	}
	return s
}

func (s *story) settled() *story {
	s.live().after(24*time.Hour).run(rollout.Retire, "9", "schedule")
	s.add(rollout.Began{}).after(8 * time.Second).add(rollout.Retired{Side: rollout.Blue, Revision: v1})
	s.add(rollout.Settled{Stable: v2, Side: rollout.Green, Owed: []string{changeID}})
	return s.ended(rollout.Share{Revision: v2, Weight: rollout.Full})
}

func (s *story) contracted() *story {
	s.settled().after(24*time.Hour).run(rollout.Contract, "10", "ben")
	s.add(rollout.Began{Approval: "cleo in environment production-schema"})
	s.migrated("begin", rollout.Contracting, 2*time.Second, change.Evidence{Rows: 200_142, Checks: []change.CheckResult{
		{Name: "relation", Allowed: "0", Passed: true},
	}})
	s.migrated("archive", rollout.Contracting, 6*time.Second, change.Evidence{
		ArchiveTable: "gapless.archive_0007_split_street", ArchiveRows: 200_142, ArchiveSum: "6e1f0b3c9d2a4457",
	})
	s.migrated("drop", rollout.Contracted, 60*time.Millisecond, change.Evidence{
		Dropped: []string{"trigger ~gapless_address_sync", "column address.street"},
	})
	return s.ended(rollout.Share{Revision: v2, Weight: rollout.Full})
}

// passing is a judgement of a sound candidate at weight w.
func passing(w rollout.Weight) verdict.Judgement {
	all := int64(90_000)
	cand := all * int64(w) / 1000
	j := verdict.Judgement{
		Verdict: verdict.Pass, Reason: "the candidate's excess is shown to be within the limits", Control: verdict.Beside,
		StableCounts:    verdict.Counts{Requests: all - cand, Errors: 21, Slow: 180},
		CandidateCounts: verdict.Counts{Requests: cand, Slow: cand / 400},
		Exposure:        verdict.Exposure{Requests: 3 * all, Candidate: verdict.Counts{Requests: 2 * cand, Errors: 1}},
	}
	j.Findings = []verdict.Finding{
		{Metric: verdict.Errors, Verdict: verdict.Pass, UpperBound: 0.004, Allowed: 0.02},
		{Metric: verdict.Slow, Verdict: verdict.Pass, Stable: 0.002, Candidate: 0.0025, UpperBound: 0.011, Allowed: 0.1},
		{Metric: verdict.CPU, Verdict: verdict.Inconclusive, Stable: 0.0041, Candidate: 0.0043, Allowed: 1.5},
		{Metric: verdict.Memory, Verdict: verdict.Inconclusive, Stable: 21.4e6, Candidate: 22.1e6, Allowed: 1.3},
	}
	if w == rollout.Full {
		j.Control = verdict.Recorded
		j.Reason = "passed on time: nothing serves beside the candidate, and it is not shown worse than stable's recorded window"
		j.StableCounts = verdict.Counts{Requests: 45_000, Errors: 11, Slow: 92}
	}
	return j
}

// failing is a judgement of a bad candidate at 1 %.
func failing() verdict.Judgement {
	return verdict.Judgement{
		Verdict: verdict.Fail, Reason: "errors: 9 of 184 against stable's 2 of 17,816", Control: verdict.Beside,
		StableCounts:    verdict.Counts{Requests: 17_816, Errors: 2, Slow: 31},
		CandidateCounts: verdict.Counts{Requests: 184, Errors: 9, Slow: 1},
		Exposure:        verdict.Exposure{Requests: 18_000, Candidate: verdict.Counts{Requests: 184, Errors: 9, Slow: 1}},
		Findings: []verdict.Finding{
			{Metric: verdict.Errors, Verdict: verdict.Fail, Stable: 0.0001, Candidate: 0.0489, UpperBound: 0.09, Allowed: 0.1},
			{Metric: verdict.Slow, Verdict: verdict.Inconclusive, UpperBound: 0.21, Allowed: 0.1},
			{Metric: verdict.CPU, Verdict: verdict.Inconclusive, Allowed: 1.5},
		},
	}
}

// unsure is a judgement with too little traffic at 1 %.
func unsure() verdict.Judgement {
	return verdict.Judgement{
		Verdict: verdict.Inconclusive, Reason: "the candidate served 96 requests, 150 needed", Control: verdict.Beside,
		StableCounts:    verdict.Counts{Requests: 9_402, Errors: 1, Slow: 12},
		CandidateCounts: verdict.Counts{Requests: 96},
		Exposure:        verdict.Exposure{Requests: 9_611, Candidate: verdict.Counts{Requests: 98}},
		NeededRequests:  54, Overdue: true,
		Findings: []verdict.Finding{
			{Metric: verdict.Errors, Verdict: verdict.Inconclusive, UpperBound: 0.11, Allowed: 0.1},
			{Metric: verdict.Slow, Verdict: verdict.Inconclusive, UpperBound: 0.12, Allowed: 0.5},
		},
	}
}
