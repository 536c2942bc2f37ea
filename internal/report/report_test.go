package report_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/report"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

func TestProgress(t *testing.T) {
	backfill := change.Progress{Step: "backfill", Done: 90_000, Total: 200_000, Rate: 1600, ETA: 69 * time.Second, Note: "replica lag 4s"}
	unknown := change.Progress{Step: "archive", Done: 1}
	over := change.Progress{Step: "verify", Done: 201_333, Total: 200_000}
	for _, c := range []struct {
		p     change.Progress
		width int
		want  string
	}{
		{backfill, 120, "backfill  [#############-----------------]   45%  90,000 of 200,000 rows  1,600 rows/s  1m 09s left  (replica lag 4s)"},
		{backfill, 80, "backfill   45%  90,000 of 200,000 rows  1,600 rows/s  1m 09s left  (replica lag "},
		{backfill, 10, "backfill  "},
		{backfill, 0, ""},
		{unknown, 80, "archive  1 row"},
		{over, 80, "verify  [##############################]  100%  201,333 of 200,000 rows"},
	} {
		if got := report.Progress(c.p, c.width); got != c.want {
			t.Errorf("width %d:\n got %q\nwant %q", c.width, got, c.want)
		}
	}
}

func TestProgressNeverWraps(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		width := rapid.IntRange(-1, 200).Draw(rt, "width")
		line := report.Progress(change.Progress{
			Step: rapid.SampledFrom([]string{"backfill", "create_index/street_name", "界界界"}).Draw(rt, "step"),
			Done: rapid.Int64().Draw(rt, "done"), Total: rapid.Int64().Draw(rt, "total"),
			Rate: rapid.Float64().Draw(rt, "rate"), ETA: time.Duration(rapid.Int64().Draw(rt, "eta")),
			Note: rapid.StringMatching(`[ -~]{0,60}`).Draw(rt, "note"),
		}, width)
		columns := 0
		for _, r := range line {
			columns++
			if r == '界' {
				columns++
			}
		}
		if columns > max(width, 0) {
			rt.Fatalf("%d columns of %d: %q", columns, width, line)
		}
	})
}

func TestFault(t *testing.T) {
	seen := &rollout.Observation{
		Split: rollout.SplitTo(rollout.Green, 50), Mark: &rollout.Mark{Stable: v1},
		Sides: map[rollout.Side]rollout.SideState{rollout.Blue: {Revision: v1}, rollout.Green: {Revision: v2}},
	}
	for name, c := range map[string]struct {
		fault report.FaultView
		want  string
	}{
		"with all": {
			report.FaultView{
				Phase: rollout.Expand, Object: changeID, What: `table "address" stayed locked, 5 attempts of 2s (SQLSTATE 55P03)`,
				Seen: seen, Schema: "schema unchanged", Hint: "pid 4711 (psql, idle in transaction for 14m) holds it; end it, then run this job again",
			},
			`expand 0007-split-street: table "address" stayed locked, 5 attempts of 2s (SQLSTATE 55P03)
serving: 51ab0e 95%, 9f3c72 5%; schema unchanged
hint: pid 4711 (psql, idle in transaction for 14m) holds it; end it, then run this job again
`,
		},
		"blind": {
			report.FaultView{Phase: rollout.Promote, What: "agent at http://127.0.0.1:7070 does not answer"},
			"promote: agent at http://127.0.0.1:7070 does not answer\nserving: not known: the platform could not be looked at\n",
		},
		"several faults, said by the command": {
			report.FaultView{What: "gapless.yaml:3:1: unknown key \"servce\"\ngapless.yaml:9:3: target is missing\n", Serving: "unchanged: nothing was done"},
			"gapless.yaml:3:1: unknown key \"servce\"\ngapless.yaml:9:3: target is missing\nserving: unchanged: nothing was done\n",
		},
		"named already": {
			report.FaultView{Phase: rollout.Deploy, What: "deploy: no", Serving: "x"},
			"deploy: no\nserving: x\n",
		},
		"nothing serves": {
			report.FaultView{What: "no", Seen: &rollout.Observation{}},
			"no\nserving: nothing: no revision takes traffic\n",
		},
	} {
		if got := report.Fault(c.fault); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", name, got, c.want)
		}
	}
}

func TestNothingReleasedYet(t *testing.T) {
	for _, out := range []string{
		report.Comment(report.View{}),
		report.Status(report.StatusView{View: report.View{Seen: &rollout.Observation{}}}).Markdown(),
	} {
		holds(t, out)
	}
	got := report.Status(report.StatusView{View: report.View{Seen: &rollout.Observation{}}}).Terminal(80, false)
	if !strings.HasPrefix(got, "service: nothing was released yet\n") || !strings.Contains(got, "nothing: no revision takes traffic") {
		t.Errorf("status of an empty platform:\n%s", got)
	}
}

func TestSettingsAloneAreToldApart(t *testing.T) {
	same := rollout.Revision{ID: v1.ID, Spec: strings.Repeat("3c", 32)}
	s := newStory(t, rollout.Deploy, rollout.Opened{Candidate: same, Stable: v1, Side: rollout.Green})
	got := report.Terminal(s.view(), 100, false)
	for _, want := range []string{"51ab0e (spec 3c3c3c3c…)", "51ab0e (spec 1a1a1a1a…) 100%"} {
		if !strings.Contains(got, want) {
			t.Errorf("page does not contain %q:\n%s", want, got)
		}
	}
}

func TestImageDigestIsShort(t *testing.T) {
	image := rollout.Revision{ID: "sha256:" + strings.Repeat("5d", 32), Spec: "x"}
	s := newStory(t, rollout.Deploy, rollout.Opened{Candidate: image, Stable: v1, Side: rollout.Green})
	if got := report.Comment(s.view()); !strings.Contains(got, "### address-book: 5d5d5d5d5d5d is not started yet") {
		t.Errorf("page:\n%s", got)
	}
}

func TestWideLettersAlign(t *testing.T) {
	texts := map[string]int{"界界界界界界界 ok": -7, "e\u0301te ok": 1, "plain is": 0}
	for text, off := range texts {
		needs := []report.Precondition{{Text: "界界界界界界界 ok", How: "do"}, {Text: text, How: "do"}}
		line := strings.Split(report.Can("book", rollout.Retire, needs, "").Terminal(80, false), "\n")[4]
		before, _, found := strings.Cut(line, "do")
		// The first column takes 9, the widest text 17; each is set off by 2.
		if want := 30 + off; !found || len([]rune(before)) != want {
			t.Errorf("%q: the next column begins after %d letters, want %d: %q", text, len([]rune(before)), want, line)
		}
	}
}

// A rollback moves traffic before it writes anything down.
func TestARollbackTookAsLongAsSinceItsDecision(t *testing.T) {
	s := release(t).standing().promoted("103", 0, 10).run(rollout.Rollback, "104", "ben")
	decided := s.now
	s.after(314 * time.Millisecond).add(rollout.Began{}).add(rollout.RolledBack{From: 10, Decided: decided, InForce: s.now})
	s.after(20 * time.Millisecond).add(rollout.Ended{Outcome: rollout.Done})
	if got := report.Terminal(s.view(), 160, false); !strings.Contains(got, "334 ms  rollback") {
		t.Errorf("not told that it took 334 ms:\n%s", got)
	}
}
