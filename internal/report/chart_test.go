package report_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/report"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// chartLines gives the lines of a page's charts that begin with a word.
func chartLines(md, word string) []string {
	var lines []string
	for _, m := range regexp.MustCompile("(?m)^  "+word+" (.*)$").FindAllStringSubmatch(md, -1) {
		lines = append(lines, m[1])
	}
	return lines
}

// TestTrafficIsDrawnByTime: a point of the line is the weight in force then.
func TestTrafficIsDrawnByTime(t *testing.T) {
	s := release(t).standing().run(rollout.Promote, "103", "ben").add(rollout.Began{To: 250})
	s.shift(0, 100).after(15*time.Second-12*time.Millisecond).shift(100, 250)
	s.after(45*time.Second-12*time.Millisecond).judged(250, passing(250))
	md := report.Comment(s.view())
	want := "[0" + strings.Repeat(", 10", 15) + strings.Repeat(", 25", 45) + "]"
	if got := chartLines(md, "line"); len(got) != 1 || got[0] != want {
		t.Errorf("want %s, got %s", want, got)
	}
	if got := chartLines(md, "x-axis"); got[0] != `"seconds since 2026-03-01 02:42:27 UTC" 0 --> 59.988` {
		t.Errorf("axis %s", got[0])
	}
}

// TestABackwardClockDrawsNoBackwardLine: weights of machines whose clocks
// differ keep their order.
func TestABackwardClockDrawsNoBackwardLine(t *testing.T) {
	s := release(t).standing().run(rollout.Promote, "103", "ben").add(rollout.Began{To: 250})
	s.shift(0, 100).after(time.Minute)
	s.add(rollout.Shifting{From: 100, To: 250}).add(rollout.Shifted{From: 100, To: 250, InForce: s.now.Add(-time.Hour)})
	s.after(time.Minute).judged(250, passing(250))
	if got := chartLines(report.Comment(s.view()), "line"); len(got) != 1 || !strings.HasPrefix(got[0], "[0, 25, 25") {
		t.Errorf("got %s", got)
	}
}

func TestFiguresAreDrawnOldBesideNew(t *testing.T) {
	s := release(t).standing().promoted("103", 0, 10).promoted("104", 10, 50)
	s.run(rollout.Promote, "105", "ben").add(rollout.Began{To: 250}).shift(50, 250).after(time.Minute)
	s.judged(250, verdict.Judgement{Verdict: verdict.Inconclusive, StableCounts: verdict.Counts{Requests: 900}})
	md := report.Comment(s.view())
	// Nothing is known of 25%: it is left out, not drawn as none wrong.
	want := []string{
		`"share of the traffic" ["1%", "5%"]`, "[0.024, 0.025]", "[0, 0]",
		`"share of the traffic" ["1%", "5%"]`, "[0.202, 0.211]", "[0.222, 0.244]",
		`"share of the traffic" ["1%", "5%"]`, "[89100, 85500]", "[900, 4500]",
	}
	if diff := cmp.Diff(want, chartLines(md, "(?:x-axis|bar|line)")[2:]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s.after(time.Minute).judged(250, failing()).judged(250, passing(250))
	md = report.Comment(s.view())
	if got := chartLines(md, "bar"); got[0] != "[0.024, 0.025, 0.031]" {
		t.Errorf("each weight stands once, as judged last: %s", got[0])
	}
}

func TestNothingIsDrawnOfNothing(t *testing.T) {
	for name, v := range map[string]report.View{"no traffic yet": standingView(t), "a first release": firstReleaseView(t), "killed": killedView(t)} {
		if md := report.Comment(v); strings.Contains(md, "mermaid") || strings.Contains(md, "<details") {
			t.Errorf("%s: a chart in\n%s", name, md)
		}
	}
}

// TestWhateverIsShortenedStaysWhole: however long a rollout, and whatever
// stands in it, its comment is short enough, each fence and fold is closed,
// and tables are not broken.
func TestWhateverIsShortenedStaysWhole(t *testing.T) {
	shortened := 0
	rapid.Check(t, func(rt *rapid.T) {
		wild := wildText().Draw(rt, "wild")
		long := strings.Repeat(wild+" x", rapid.SampledFrom([]int{1, 10, 150}).Draw(rt, "times"))
		s := release(t).standing()
		from := rollout.Weight(0)
		for i := range rapid.SampledFrom([]int{0, 1, 5, 60}).Draw(rt, "steps") {
			to := rollout.Weight(rapid.IntRange(1, 1000).Draw(rt, "to"))
			s.run(rollout.Promote, fmt.Sprintf("%d-%s", i, long), long).add(rollout.Began{To: to, Approval: long})
			if to > from {
				s.shift(from, to).after(time.Duration(rapid.Int64Range(0, int64(90*time.Hour)).Draw(rt, "after")))
				from = to
			}
			j := passing(from)
			j.StableCounts.Requests = rapid.Int64Range(-1, 1<<62).Draw(rt, "requests")
			j.CandidateCounts.Errors, j.Reason = rapid.Int64().Draw(rt, "errors"), long
			if from > 0 {
				s.add(rollout.Judged{Weight: from, Since: s.now, Verdict: string(j.Verdict), Reason: long, Judgement: account(rt, j)})
			}
			s.add(rollout.Ended{Outcome: rollout.Waiting, Reason: long, Hint: long})
		}
		v := s.view()
		v.Next = &report.Next{Phase: rollout.Promote, Command: "promote", Asked: long, Gate: &rollout.Gate{Comment: "write"}, GateDigest: digest}
		p := report.Rollout(v)
		md := p.Markdown()
		holds(rt, md)
		if !strings.Contains(md, "\n/gapless promote "+digest+"\n") {
			rt.Fatalf("what is to be pasted is gone from\n%s", md)
		}
		if len(p.Summary()) > report.MaxSummary {
			rt.Fatalf("a summary of %d bytes", len(p.Summary()))
		}
		if strings.Count(md, "```") < strings.Count(p.Summary(), "```") || strings.Contains(md, "left out here") {
			shortened++
		}
	})
	if shortened == 0 {
		t.Error("nothing had to be shortened")
	}
}

func account(t failer, j verdict.Judgement) json.RawMessage {
	raw, err := json.Marshal(j)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return raw
}
