package report

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// look is a judgement with the weight and time that it is of.
type look struct {
	judgement verdict.Judgement
	weight    rollout.Weight
	since, at time.Time
}

// lastLook gives the newest judgement: the one passed in, else the record's.
func (v View) lastLook() (look, bool) {
	if v.Judgement != nil {
		return look{*v.Judgement, v.State.Weight, v.State.Since, v.Now}, true
	}
	for _, e := range slices.Backward(v.Record.Entries) {
		if l, ok := lookOf(e); ok {
			return l, true
		}
	}
	return look{}, false
}

// lookOf reads the judgement in an entry; not ok where there is none.
func lookOf(e rollout.Entry) (look, bool) {
	if e.Kind != rollout.KindJudged {
		return look{}, false
	}
	data, err := e.Decode()
	if err != nil {
		return look{}, false // shown in the table of phases
	}
	j, ok := data.(*rollout.Judged)
	if !ok {
		return look{}, false
	}
	l := look{weight: j.Weight, since: j.Since, at: e.At}
	if err := json.Unmarshal(j.Judgement, &l.judgement); err != nil {
		// An account that this build cannot read still has its verdict.
		l.judgement = verdict.Judgement{}
	}
	l.judgement.Verdict, l.judgement.Reason = verdict.Verdict(j.Verdict), j.Reason
	return l, true
}

// comparison sets stable against candidate, and says what users met of it.
func (v View) comparison() part {
	l, ok := v.lastLook()
	if !ok {
		return part{}
	}
	names := namesOf(v.State.Opening)
	j := l.judgement
	stable, cand := names.name(v.State.Opening.Stable), names.name(v.State.Opening.Candidate)
	verb := "Verdict"
	if v.Judgement != nil && v.Judgement.Verdict == verdict.Inconclusive {
		verb = "So far"
	}
	p := part{heading: fmt.Sprintf("%s against %s at %s: %s", cand, stable, l.weight, j.Verdict)}
	p.table = &table{
		head:  []string{"", stable + " (stable)", cand + " (candidate)", "Judged"},
		right: []bool{false, true, true, false}, rows: judged{j}.rows(),
	}
	if len(p.table.rows) == 0 {
		p.table = nil
	}
	p.lines = append(p.lines, say("%s: %s", verb, j.Reason))
	if e := j.Exposure; e.Requests > 0 {
		p.lines = append(p.lines, say("Exposure: %s, counted until %s.", exposure(e), at(l.at)))
	}
	inForce := v.State.Stage == rollout.StageExposed && l.weight == v.State.Weight
	if line := l.needed(cand); inForce && line != nil {
		p.lines = append(p.lines, line)
	}
	if j.Control == verdict.Recorded && v.exposed() == rollout.Full {
		p.lines = append(p.lines, say("%s takes no traffic now: compared is what it did before the last shift.", stable))
	}
	return p
}

// needed foretells a pass from the requests since the weight came into force.
func (l look) needed(cand string) text {
	j := l.judgement
	if j.NeededRequests <= 0 || j.Verdict != verdict.Inconclusive {
		return nil
	}
	line := say("%s to %s may be enough to pass", of(j.NeededRequests, "more request"), cand)
	took := l.at.Sub(l.since)
	if n := j.CandidateCounts.Requests; n > 0 && took > 0 {
		each := float64(took) / float64(n)
		line = line.and(": %s at the present traffic", lasting(seconds(each*float64(j.NeededRequests)/float64(time.Second))))
	}
	return line.and(".")
}

// exposure says what users met of the candidate.
func exposure(e verdict.Exposure) string {
	return fmt.Sprintf("%s of %s met the candidate (%s), %s failed",
		count(e.Candidate.Requests), of(e.Requests, "request"), percent(e.Share()), count(e.Candidate.Errors))
}

// judged wraps a judgement for its rows.
type judged struct{ verdict.Judgement }

func (j judged) rows() [][]text {
	s, c := j.StableCounts, j.CandidateCounts
	if s.Requests == 0 && c.Requests == 0 && len(j.Findings) == 0 {
		return nil
	}
	var rows [][]text
	if s.Requests > 0 || c.Requests > 0 || j.judges(verdict.Errors) || j.judges(verdict.Slow) { // workers serve none
		rows = append(rows, cells("Requests", count(s.Requests), count(c.Requests), ""),
			cells("Errors", portion(s.Errors, s.Requests), portion(c.Errors, c.Requests), j.on(verdict.Errors)),
			cells("Slow", portion(s.Slow, s.Requests), portion(c.Slow, c.Requests), j.on(verdict.Slow)))
	}
	for _, f := range j.Findings {
		switch f.Metric {
		case verdict.CPU:
			rows = append(rows, cells("CPU per request", perRequest(f.Stable), perRequest(f.Candidate), j.on(f.Metric)))
		case verdict.Memory:
			rows = append(rows, cells("Memory per instance", bytes(f.Stable), bytes(f.Candidate), j.on(f.Metric)))
		case verdict.Errors, verdict.Slow:
		}
	}
	return rows
}

func (j judged) judges(m verdict.Metric) bool {
	return slices.ContainsFunc(j.Findings, func(f verdict.Finding) bool { return f.Metric == m })
}

// on gives what was found on one metric: what may still be, against what is
// allowed.
func (j judged) on(m verdict.Metric) string {
	for _, f := range j.Findings {
		if f.Metric != m {
			continue
		}
		if m == verdict.CPU || m == verdict.Memory {
			return onResource(f)
		}
		switch f.Verdict {
		case verdict.Fail:
			return "fail: too much worse to be chance"
		case verdict.Pass:
			return fmt.Sprintf("pass: at most %s worse, allowed %s", points(f.UpperBound), points(f.Allowed))
		case verdict.Inconclusive:
		}
		return fmt.Sprintf("open: may still be %s worse, allowed %s", points(f.UpperBound), points(f.Allowed))
	}
	return "not judged"
}

// onResource gives what was found on CPU or memory, which can only fail.
func onResource(f verdict.Finding) string {
	if f.Stable <= 0 || f.Candidate <= 0 {
		return "nothing to compare yet"
	}
	ratio := fmt.Sprintf("%.2f times stable's, limit %g", f.Candidate/f.Stable, f.Allowed)
	if f.Verdict == verdict.Fail {
		return "fail: " + ratio
	}
	return ratio
}
