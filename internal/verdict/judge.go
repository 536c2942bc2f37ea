package verdict

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"
)

// part is what a metric gets of Alpha; those that are judged share the whole.
func part(m Metric) float64 {
	switch m {
	case Errors:
		return 14
	case Slow:
		return 4
	case CPU, Memory:
	}
	return 1
}

// suspicion is the e-value, bursts and unsteadiness in full, from which a
// candidate is not passed while its effect is one to act on; at most 1 in 20
// equal and steady candidates is held up by it for a while. Without it a small
// weight, at which much is allowed, would pass what is about to be failed.
const suspicion = 20.0

// baselinePart of a metric's alpha is spent on the limit of stable's recorded
// share, where that is the control.
const baselinePart = 0.1

// Judge answers q.
//
// It fails the candidate when a metric's evidence reaches 1/alpha and the
// effect is worth acting on: stable's share times Ratio and plus WorseBy are
// both reached. It passes a weight below 1000 when the bake is over, both
// revisions were measured for at least half of it and lately, the candidate
// served MinRequests, and for every share the upper bound of its excess at
// this weight is below WorseBy/weight. At weight 1000 nothing serves beside
// it: it is held against the recorded window, and passes on time if it served
// at all and stable was seen before. A candidate under suspicion passes nowhere. All else is
// inconclusive.
func Judge(q Question) Judgement {
	ev := gather(q)
	j := Judgement{
		Verdict: Inconclusive, StableCounts: ev.stable, CandidateCounts: ev.candidate,
		Exposure: ev.exposure, Ignored: ev.ignored, Control: Absent,
	}
	base := baseline(q)
	if q.Weight >= 1000 {
		j.StableCounts = Counts{}
		for _, s := range base {
			j.StableCounts = j.StableCounts.plus(s)
		}
	}
	switch {
	case j.StableCounts.Requests > 0 && q.Weight >= 1000:
		j.Control = Recorded
	case j.StableCounts.Requests > 0:
		j.Control = Beside
	}
	j.Findings = findings(q, ev, base, j)
	j.conclude(q, ev)
	j.Overdue = j.Verdict == Inconclusive && q.BakeLimit > 0 && !q.Now.Before(q.Since.Add(q.BakeLimit))
	return j
}

func baseline(q Question) []Sample {
	var out []Sample
	for _, s := range q.Baseline {
		if s.Revision == q.Stable && sensible(s) {
			out = append(out, whole(s))
		}
	}
	slices.SortFunc(out, inTime)
	return out
}

func findings(q Question, ev evidence, base []Sample, j Judgement) []Finding {
	alphas := q.Limits.alphas()
	var out []Finding
	if l := q.Limits.Errors; l != nil {
		out = append(out, judgeShare(Errors, q, ev, base, j, *l, alphas[Errors]))
	}
	if l := q.Limits.Slow; l != nil {
		out = append(out, judgeShare(Slow, q, ev, base, j, *l, alphas[Slow]))
	}
	if l := q.Limits.CPURatio; l > 0 {
		out = append(out, judgeResource(CPU, q, ev.runs, l, alphas[CPU]))
	}
	if l := q.Limits.MemoryRatio; l > 0 {
		out = append(out, judgeResource(Memory, q, ev.runs, l, alphas[Memory]))
	}
	return out
}

// alphas splits Alpha over the metrics that are judged.
func (l Limits) alphas() map[Metric]float64 {
	judged := map[Metric]bool{Errors: l.Errors != nil, Slow: l.Slow != nil, CPU: l.CPURatio > 0, Memory: l.MemoryRatio > 0}
	var whole float64
	for _, m := range [...]Metric{Errors, Slow, CPU, Memory} {
		if judged[m] {
			whole += part(m)
		}
	}
	alpha := l.Alpha
	if alpha <= 0 || alpha >= 1 {
		alpha = 0.01
	}
	out := map[Metric]float64{}
	for m := range judged {
		out[m] = alpha * part(m) / whole
	}
	return out
}

// judgeShare judges a share of requests.
func judgeShare(m Metric, q Question, ev evidence, base []Sample, j Judgement, l Limit, alpha float64) Finding {
	f := Finding{Metric: m, Verdict: Inconclusive, Threshold: 1 / alpha, UpperBound: 1}
	recorded := math.NaN()
	if j.Control == Recorded {
		recorded = upperShare(float64(j.StableCounts.of(m)), float64(j.StableCounts.Requests), baselinePart*alpha)
		f.Threshold = 1 / ((1 - baselinePart) * alpha)
	}
	suspect := logEvidence(ev.runs, m, recorded, math.Inf(1)) >= math.Log(suspicion)
	log := logEvidence(ev.runs, m, recorded, maxBurst)
	if log > 0 {
		log /= unsteadiness(m, ev.history(q.Stable, base), ev.runs)
	}
	f.EValue = finite(log)
	f.Stable = share(j.StableCounts.of(m), j.StableCounts.Requests)
	f.Candidate = share(j.CandidateCounts.of(m), j.CandidateCounts.Requests)
	f.Detail = fmt.Sprintf("%s: %s against stable's %s", m,
		outOf(j.CandidateCounts, m), outOf(j.StableCounts, m))
	if q.Weight > 0 {
		f.Allowed = l.allowed(q.Weight)
	}
	if j.Control != Absent {
		a := armsOf(m, j)
		f.UpperBound = excessBound(a.candidate, a.ofCandidate, a.stable, a.ofStable)
	}
	worthwhile := l.worthwhile(m, ev.runs, j)
	shown := j.Control == Beside && f.UpperBound < f.Allowed
	// Time alone passes nobody: stable must have been seen, now or before.
	onTime := q.Weight >= 1000 && j.CandidateCounts.Requests > 0
	if onTime && j.Control == Absent && !ev.compared() {
		onTime = false
		f.Detail += ", of which nothing was ever seen"
	}
	switch {
	case worthwhile && log >= math.Log(f.Threshold):
		f.Verdict = Fail
	case worthwhile && suspect:
		f.Detail += ", under suspicion"
	case shown || onTime:
		f.Verdict = Pass
	}
	return f
}

// worthwhile tells whether the effect is one to act on, at the weight in force
// or over the whole rollout (each run against its own stable share).
func (l Limit) worthwhile(m Metric, runs []run, j Judgement) bool {
	a := armsOf(m, j)
	if a.ofCandidate > 0 && a.ofStable > 0 && l.reached(a.candidate, a.stable/a.ofStable*a.ofCandidate, a.ofCandidate) {
		return true
	}
	var bad, expected, requests float64
	for _, r := range runs {
		stable := r.stable
		if r.weight == 1000 {
			stable = Counts{}
			if j.Control == Recorded {
				stable = j.StableCounts
			}
		}
		if stable.Requests == 0 {
			continue
		}
		bad += float64(r.candidate.of(m))
		requests += float64(r.candidate.Requests)
		expected += share(stable.of(m), stable.Requests) * float64(r.candidate.Requests)
	}
	return l.reached(bad, expected, requests)
}

func (l Limit) reached(bad, expected, requests float64) bool {
	return requests > 0 && bad >= max(l.Ratio, 1)*expected && bad-expected >= l.WorseBy*requests
}

// conclude joins the findings, the time and the traffic into one verdict.
func (j *Judgement) conclude(q Question, ev evidence) {
	j.NeededRequests = j.needed(q)
	var failed, open []string
	for _, f := range j.Findings {
		switch {
		case f.Verdict == Fail:
			failed = append(failed, f.Detail)
		case f.Verdict != Inconclusive || f.Metric == CPU || f.Metric == Memory:
		case f.UpperBound < f.Allowed || q.Weight >= 1000:
			open = append(open, f.Detail)
		default:
			open = append(open, fmt.Sprintf("%s may still be %s worse, allowed %s", f.Metric, percent(f.UpperBound), percent(f.Allowed)))
		}
	}
	bakes := q.Since.Add(q.Bake)
	switch silent := ev.silence(q); {
	case len(failed) > 0:
		j.Verdict, j.Reason = Fail, strings.Join(failed, "; ")
	case q.Weight <= 0:
		j.Reason = "the candidate takes no public traffic"
	case q.Now.Before(bakes):
		j.Reason = fmt.Sprintf("baking for another %s", bakes.Sub(q.Now).Round(time.Second))
	case silent != "":
		j.Reason = silent
	case !q.Limits.ofRequests():
		j.Verdict, j.Reason = Pass, "passed on time: neither errors nor slow requests are judged"
	case q.Weight >= 1000 && len(open) > 0:
		j.Reason = strings.Join(open, "; ")
	case q.Weight >= 1000 && j.Control == Recorded:
		j.Verdict, j.Reason = Pass, "passed on time: nothing serves beside the candidate, and it is not shown worse than stable's recorded window"
	case q.Weight >= 1000:
		j.Verdict, j.Reason = Pass, "passed on time: nothing serves beside the candidate, and there is no recorded window of stable"
	case j.CandidateCounts.Requests < q.Limits.MinRequests:
		j.Reason = fmt.Sprintf("the candidate served %d requests, %d needed", j.CandidateCounts.Requests, q.Limits.MinRequests)
	case len(open) > 0:
		j.Reason = strings.Join(open, "; ")
		if j.NeededRequests > 0 {
			j.Reason += fmt.Sprintf("; about %d more requests to the candidate needed", j.NeededRequests)
		}
	default:
		j.Verdict, j.Reason = Pass, "the candidate's excess is shown to be within the limits"
	}
}

// silence says what keeps the step's samples from standing for the bake; ""
// is nothing.
func (ev evidence) silence(q Question) string {
	revisions := []string{q.Candidate}
	if q.Weight < 1000 {
		revisions = append(revisions, q.Stable)
	}
	fresh := max(10*time.Second, q.Bake/2)
	for _, r := range revisions {
		name, counts := "the candidate", ev.candidate
		if r == q.Stable {
			name, counts = "stable", ev.stable
		}
		c := ev.coverage[r]
		switch {
		case counts.Requests == 0 && q.Limits.ofRequests():
			return fmt.Sprintf("%s was seen to serve no request at this weight", name)
		case c.span < (q.Bake-q.Settle)/2:
			return fmt.Sprintf("%s was measured for %s of a bake of %s", name, c.span.Round(time.Second), q.Bake)
		case q.Now.Sub(c.last) > fresh:
			return fmt.Sprintf("%s was last measured %s ago", name, q.Now.Sub(c.last).Round(time.Second))
		}
	}
	return ""
}

// ofRequests reports whether anything is judged that needs requests.
func (l Limits) ofRequests() bool { return l.Errors != nil || l.Slow != nil }

// compared reports whether the candidate ever served beside stable.
func (ev evidence) compared() bool {
	return slices.ContainsFunc(ev.runs, func(r run) bool {
		return r.weight < 1000 && r.stable.Requests > 0 && r.candidate.Requests > 0
	})
}

// needed is how many requests the candidate must still serve.
func (j *Judgement) needed(q Question) int64 {
	if q.Weight <= 0 {
		return 0
	}
	have := j.CandidateCounts.Requests
	if !q.Limits.ofRequests() {
		return 0
	}
	if q.Weight >= 1000 {
		return max(0, 1-have)
	}
	most := float64(max(1, q.Limits.MinRequests))
	for _, f := range j.Findings {
		if f.Metric == Errors || f.Metric == Slow {
			most = max(most, armsOf(f.Metric, *j).needed(f.Allowed, float64(q.Weight)/1000))
		}
	}
	return max(0, int64(math.Ceil(most))-have)
}

func armsOf(m Metric, j Judgement) arms {
	return arms{
		float64(j.CandidateCounts.of(m)), float64(j.CandidateCounts.Requests),
		float64(j.StableCounts.of(m)), float64(j.StableCounts.Requests),
	}
}

// history is what stable did before and during the rollout. The baseline may
// reach into the rollout.
func (ev evidence) history(stable string, base []Sample) []Sample {
	var since []Sample
	for _, r := range ev.runs {
		for _, s := range r.samples {
			if s.Revision == stable {
				since = append(since, s)
			}
		}
	}
	before := len(base)
	if len(since) > 0 {
		before = sort.Search(len(base), func(i int) bool { return !base[i].From.Before(since[0].From) })
	}
	return slices.Concat(base[:before], since)
}

func share(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// finite is e to the power of log, at most 1e12: a record holds no infinity.
func finite(log float64) float64 { return math.Exp(min(log, math.Log(1e12))) }

func outOf(c Counts, m Metric) string {
	return fmt.Sprintf("%s (%d of %d)", percent(share(c.of(m), c.Requests)), c.of(m), c.Requests)
}

func percent(p float64) string { return fmt.Sprintf("%.3g%%", 100*p) }
