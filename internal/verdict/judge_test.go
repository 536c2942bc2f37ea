package verdict

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	stable    = "51ab0e"
	candidate = "c0ffee"
)

var start = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

// rate is what a revision does in a second.
type rate struct{ requests, errors, slow int64 }

// during lists samples of one second each, of both revisions.
func during(from time.Time, seconds, weight int, s, c rate) []Sample {
	var out []Sample
	for i := range seconds {
		at := from.Add(time.Duration(i) * time.Second)
		out = append(out,
			Sample{Revision: stable, From: at, To: at.Add(time.Second), Weight: weight, Requests: s.requests, Errors: s.errors, Slow: s.slow},
			Sample{Revision: candidate, From: at, To: at.Add(time.Second), Weight: weight, Requests: c.requests, Errors: c.errors, Slow: c.slow})
	}
	return out
}

func limits() Limits {
	return Limits{
		Errors: &Limit{WorseBy: 0.001, Ratio: 1.25}, Slow: &Limit{WorseBy: 0.005, Ratio: 1.25},
		CPURatio: 1.5, MemoryRatio: 1.3, MinRequests: 10,
	}
}

func asked(weight int, after time.Duration, samples []Sample) Question {
	return Question{
		Limits: limits(), Stable: stable, Candidate: candidate, Samples: samples, Weight: weight,
		Since: start, Settle: time.Second, Bake: 30 * time.Second, BakeLimit: 5 * time.Minute, Now: start.Add(after),
	}
}

func TestJudge(t *testing.T) {
	fine := during(start, 60, 10, rate{requests: 297}, rate{requests: 3})
	with := func(q Question, change func(*Question)) Question { change(&q); return q }
	for _, c := range []struct {
		name    string
		q       Question
		want    Verdict
		reason  string
		control Control
	}{
		{"equal at 1 %", asked(10, 60*time.Second, fine), Pass, "within the limits", Beside},
		{"still baking", asked(10, 29*time.Second, fine[:58]), Inconclusive, "baking for another 1s", Beside},
		{"no samples at all", asked(10, time.Minute, nil), Inconclusive, "serve no request", Absent},
		{"samples of zeros", asked(10, time.Minute, during(start, 60, 10, rate{requests: 300}, rate{})), Inconclusive, "the candidate was seen to serve no request", Beside},
		{"no control arm below 100 %", asked(500, time.Minute, only(candidate, during(start, 60, 500, rate{}, rate{requests: 150}))), Inconclusive, "stable was seen to serve no request", Absent},
		{"the meter died", asked(10, 4*time.Minute, fine), Inconclusive, "last measured 3m0s ago", Beside},
		{"measured too little", asked(10, time.Minute, during(start.Add(50*time.Second), 10, 10, rate{requests: 297}, rate{requests: 3})), Inconclusive, "measured for 10s of a bake of 30s", Beside},
		{"too few requests", with(asked(10, 60*time.Second, fine), func(q *Question) { q.Limits.MinRequests = 178 }), Inconclusive, "served 177 requests, 178 needed", Beside},
		{"the same evidence is too little at 25 %", asked(250, 60*time.Second, during(start, 60, 250, rate{requests: 9}, rate{requests: 3})), Inconclusive, "errors may still be", Beside},
		{"weight 0", asked(0, time.Minute, nil), Inconclusive, "takes no public traffic", Absent},
		{"half of the requests fail", asked(10, 8*time.Second, during(start, 8, 10, rate{requests: 297}, rate{requests: 3, errors: 2})), Fail, "errors: 66.7% (14 of 21) against stable's 0% (0 of 2079)", Beside},
		{"slow", asked(500, 20*time.Second, during(start, 20, 500, rate{requests: 100, slow: 1}, rate{requests: 100, slow: 8})), Fail, "slow: 8%", Beside},
		{"both fail alike", asked(500, 3*time.Minute, during(start, 180, 500, rate{requests: 150, errors: 15}, rate{requests: 150, errors: 15})), Inconclusive, "errors may still be", Beside},
		{"worse, but not enough to matter", with(asked(500, time.Minute, during(start, 60, 500, rate{requests: 9000, errors: 9}, rate{requests: 9000, errors: 15})),
			func(q *Question) { q.Limits.Errors.WorseBy = 0.002 }), Pass, "", Beside},
		{"better", asked(500, time.Minute, during(start, 60, 500, rate{requests: 150, errors: 10}, rate{requests: 150})), Pass, "", Beside},
		{"only the settling time was bad", asked(10, 60*time.Second, append(during(start, 1, 10, rate{requests: 297}, rate{requests: 30, errors: 30}), fine[2:]...)), Pass, "", Beside},
		{"bad before the last shift", with(asked(50, 60*time.Second, append(
			during(start.Add(-time.Minute), 60, 10, rate{requests: 297}, rate{requests: 3, errors: 1}),
			during(start, 60, 50, rate{requests: 285}, rate{requests: 15})...)), func(*Question) {}), Fail, "errors", Beside},
		{"suspected at a weight that allows anything", with(asked(1, 60*time.Second, append(
			during(start, 60, 1, rate{requests: 300}, rate{requests: 1})[:118],
			Sample{Revision: stable, From: start.Add(59 * time.Second), To: start.Add(time.Minute), Weight: 1, Requests: 300},
			Sample{Revision: candidate, From: start.Add(59 * time.Second), To: start.Add(time.Minute), Weight: 1, Requests: 40, Errors: 40},
			Sample{Revision: candidate, From: start.Add(58 * time.Second), To: start.Add(59 * time.Second), Weight: 1, Requests: 40, Errors: 40})),
			func(q *Question) { q.Limits.MinRequests = 1 }), Inconclusive, "under suspicion", Beside},
		{"100 % without a past", asked(1000, time.Minute, only(candidate, during(start, 60, 1000, rate{}, rate{requests: 300}))), Inconclusive, "nothing was ever seen", Absent},
		{"100 % without a recorded past, after a step beside", asked(1000, time.Minute, append(
			only(candidate, during(start, 60, 1000, rate{}, rate{requests: 300})),
			during(start.Add(-time.Minute), 60, 500, rate{requests: 150}, rate{requests: 150})...)), Pass, "no recorded window", Absent},
		{"workers, who serve no requests", with(asked(500, time.Minute, during(start, 60, 500, rate{}, rate{})),
			func(q *Question) { q.Limits = Limits{MemoryRatio: 1.3} }), Pass, "neither errors nor slow requests are judged", Absent},
		{"workers who were not seen", with(asked(500, time.Minute, nil),
			func(q *Question) { q.Limits = Limits{MemoryRatio: 1.3} }), Inconclusive, "was measured for 0s", Absent},
		{"100 % without traffic", asked(1000, time.Minute, nil), Inconclusive, "serve no request", Absent},
		{"100 % as recorded", recorded(rate{requests: 300, errors: 1}), Pass, "passed on time", Recorded},
		{"100 % worse than recorded", recorded(rate{requests: 300, errors: 5}), Fail, "errors", Recorded},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := Judge(c.q)
			if j.Verdict != c.want || !strings.Contains(j.Reason, c.reason) || j.Control != c.control {
				t.Errorf("verdict %s because %q, control %s; want %s because %q, control %s\n%+v",
					j.Verdict, j.Reason, j.Control, c.want, c.reason, c.control, j.Findings)
			}
			if _, err := json.Marshal(j); err != nil {
				t.Errorf("a record can't hold it: %v", err)
			}
		})
	}
}

func recorded(c rate) Question {
	q := asked(1000, time.Minute, only(candidate, during(start, 60, 1000, rate{}, c)))
	q.Baseline = only(stable, during(start.Add(-10*time.Minute), 600, 1000, rate{requests: 300, errors: 1}, rate{}))
	return q
}

func only(revision string, samples []Sample) []Sample {
	var out []Sample
	for _, s := range samples {
		if s.Revision == revision {
			out = append(out, s)
		}
	}
	return out
}

func TestOverdueHolds(t *testing.T) {
	q := asked(500, 5*time.Minute, during(start, 300, 500, rate{requests: 1}, rate{requests: 1}))
	if j := Judge(q); j.Verdict != Inconclusive || !j.Overdue {
		t.Errorf("%s, overdue %v at the bake limit; want inconclusive, true", j.Verdict, j.Overdue)
	}
	q.Now = q.Now.Add(-time.Second)
	if j := Judge(q); j.Overdue {
		t.Error("overdue before the bake limit")
	}
}

func TestExposureCountsTheSettlingTime(t *testing.T) {
	j := Judge(asked(10, 10*time.Second, during(start, 10, 10, rate{requests: 297}, rate{requests: 3, errors: 1})))
	want := Exposure{Requests: 3000, Candidate: Counts{Requests: 30, Errors: 10}}
	if j.Exposure != want || j.Exposure.Share() != 0.01 {
		t.Errorf("exposure %+v (%v), want %+v (0.01)", j.Exposure, j.Exposure.Share(), want)
	}
	if want := (Counts{Requests: 27, Errors: 9}); j.CandidateCounts != want {
		t.Errorf("judged on %+v, want %+v", j.CandidateCounts, want)
	}
}

func TestOneBurstIsNoFault(t *testing.T) {
	samples := during(start, 600, 500, rate{requests: 15}, rate{requests: 15})
	samples[601].Errors = 15 // one second of the candidate's
	j := Judge(asked(500, 10*time.Minute, samples))
	if j.Verdict == Fail {
		t.Errorf("failed for one second in ten minutes: %s", j.Reason)
	}
	for _, i := range []int{605, 609, 613, 617, 621} {
		samples[i].Errors = 15
	}
	if j := Judge(asked(500, 10*time.Minute, samples)); j.Verdict != Fail {
		t.Errorf("%s after six such seconds (%+v), want fail", j.Verdict, j.Findings[0])
	}
}

func TestGoodHoursDoNotShieldACandidateThatBreaks(t *testing.T) {
	good := during(start, 3600, 10, rate{requests: 297}, rate{requests: 3})
	for seconds := 1; ; seconds++ {
		at := start.Add(time.Hour)
		broken := during(at, seconds, 10, rate{requests: 297}, rate{requests: 3, errors: 3})
		if Judge(asked(10, time.Hour+time.Duration(seconds)*time.Second, append(slices.Clip(good), broken...))).Verdict == Fail {
			return
		}
		if seconds == 15 {
			t.Fatal("all of the candidate's requests failed for 15 s, unseen after an hour without errors")
		}
	}
}

func TestResourcesFailOrSayNothing(t *testing.T) {
	const mb = 1 << 20
	build := func(seconds, weight int, cpu float64, memory int64, instances int) []Sample {
		samples := during(start, seconds, weight, rate{requests: int64(300 * (1000 - weight) / 1000)}, rate{requests: int64(300 * weight / 1000)})
		for i := range samples {
			s := &samples[i]
			s.HasCPU, s.Instances, s.Memory = true, 3, 100*mb
			s.CPU = time.Duration(s.Requests) * 2 * time.Millisecond
			if s.Revision == candidate {
				s.Instances, s.Memory = instances, memory
				s.CPU = time.Duration(cpu * float64(s.CPU))
			}
		}
		return samples
	}
	for _, c := range []struct {
		name    string
		samples []Sample
		seconds int
		want    map[Metric]Verdict
	}{
		{"alike", build(300, 500, 1, 100*mb, 3), 300, map[Metric]Verdict{CPU: Inconclusive, Memory: Inconclusive}},
		{"twice the CPU", build(300, 500, 2, 100*mb, 3), 300, map[Metric]Verdict{CPU: Fail, Memory: Inconclusive}},
		{"twice the memory", build(300, 500, 1, 200*mb, 3), 300, map[Metric]Verdict{CPU: Inconclusive, Memory: Fail}},
		{"too few samples", build(60, 500, 2, 200*mb, 3), 60, map[Metric]Verdict{CPU: Inconclusive, Memory: Inconclusive}},
		{"unlike load", build(300, 10, 5, 100*mb, 3), 300, map[Metric]Verdict{CPU: Inconclusive, Memory: Inconclusive}},
		{"unknown", during(start, 300, 500, rate{requests: 150}, rate{requests: 150}), 300, map[Metric]Verdict{CPU: Inconclusive, Memory: Inconclusive}},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := Judge(asked(c.samples[0].Weight, time.Duration(c.seconds)*time.Second, c.samples))
			for _, f := range j.Findings {
				if want, ok := c.want[f.Metric]; ok && f.Verdict != want {
					t.Errorf("%s: %s, want %s: %+v", f.Metric, f.Verdict, want, f)
				}
			}
		})
	}
}

func TestPower(t *testing.T) {
	l := limits()
	for _, c := range []struct {
		weight int
		want   int64
	}{{10, 44}, {50, 228}, {250, 1149}, {500, 2301}, {1000, 1}} {
		if o := Power(Traffic{PerMinute: 100, Weight: c.weight}, l, 0.01); o.PassRequests != c.want {
			t.Errorf("%d requests pass weight %d without errors, want %d", o.PassRequests, c.weight, c.want)
		}
	}
	slow := Power(Traffic{PerMinute: 40, Weight: 500, Errors: 0.001}, l, 0.01)
	fast := Power(Traffic{PerMinute: 4000, Weight: 500, Errors: 0.001}, l, 0.01)
	if slow.Detect < 30*time.Minute || slow.Detect > 3*time.Hour || fast.Detect < 10*time.Second || fast.Detect > 5*time.Minute {
		t.Errorf("1 %% seen within %s at 40 a minute and %s at 4000", slow.Detect, fast.Detect)
	}
	if o := Power(Traffic{PerMinute: 40, Weight: 500, Errors: 0.01}, l, 0.01); o.Detect != 0 {
		t.Errorf("what is as good as stable is seen as bad within %s", o.Detect)
	}
	if o := Power(Traffic{Weight: 500}, l, 0.01); o.Pass != 0 || o.Detect != 0 {
		t.Errorf("no traffic, and yet %+v", o)
	}
}
