package report

import (
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// moment is a weight and when it came into force.
type moment struct {
	at     time.Time
	weight rollout.Weight
}

// mostPoints is how many points a line is made of.
const mostPoints = 60

// course draws how the traffic moved; nothing before it has moved, nor for a
// first release, where it had nowhere to move from.
func (v View) course() *charts {
	moves, end := v.moves()
	if len(moves) == 0 || v.State.Opening.Stable.Zero() || end.Sub(moves[0].at) < time.Second {
		return nil
	}
	begin, whole := moves[0].at, end.Sub(moves[0].at)
	line := make([]float64, mostPoints+1)
	for i := range line {
		at := begin.Add(time.Duration(float64(whole) * float64(i) / mostPoints))
		last := i == mostPoints
		for _, m := range moves {
			if m.at.Before(at) || last {
				line[i] = m.weight.Percent()
			}
		}
	}
	unit, name := unitOf(whole)
	return &charts{title: "Traffic over time", open: true, charts: []chart{{
		y: "percent of the traffic to the new revision", line: line,
		x: axis{name + " since " + at(begin), float64(whole) / float64(unit)},
	}}}
}

// moves gives the weights in their order, and when the last of them was looked
// at for the last time.
func (v View) moves() (moves []moment, end time.Time) {
	for _, e := range v.Record.Entries {
		move := func(at time.Time, w rollout.Weight) {
			if at.IsZero() {
				at = e.At
			}
			if n := len(moves); n > 0 && at.Before(moves[n-1].at) {
				at = moves[n-1].at // by another machine's clock
			}
			moves = append(moves, moment{at, w})
		}
		data, err := e.Decode()
		if err != nil {
			continue // shown in the table of phases
		}
		switch d := data.(type) {
		case *rollout.Shifted:
			move(d.InForce, d.To)
		case *rollout.Replaced:
			move(d.InForce, rollout.PartOf(d.To, d.Of))
		case *rollout.RolledBack:
			move(d.InForce, 0)
		case *rollout.Judged:
			end = e.At
		}
	}
	if n := len(moves); n > 0 && moves[n-1].at.After(end) {
		end = moves[n-1].at
	}
	onTrial := v.State.Stage == rollout.StageExposed || v.State.Stage == rollout.StageRolling
	if onTrial && v.Now.After(end) {
		end = v.Now
	}
	return moves, end
}

func unitOf(whole time.Duration) (unit time.Duration, name string) {
	const day = 24 * time.Hour
	switch {
	case whole < 3*time.Minute:
		return time.Second, "seconds"
	case whole < 3*time.Hour:
		return time.Minute, "minutes"
	case whole < 3*day:
		return time.Hour, "hours"
	}
	return day, "days"
}

// figures draws what the judge compared at each weight. Of a single one the
// table says all.
func (v View) figures() *charts {
	errors, slow := chart{y: "errors, percent"}, chart{y: "slow, percent"}
	requests := chart{y: "requests compared"}
	for _, l := range v.looks() {
		s, c := l.judgement.StableCounts, l.judgement.CandidateCounts
		if s.Requests <= 0 || c.Requests <= 0 {
			continue // nothing to compare, which is not the same as none wrong
		}
		share := func(n, of int64) float64 { return 100 * float64(n) / float64(of) }
		name := l.weight.String()
		errors.pairs = append(errors.pairs, compared{name, share(s.Errors, s.Requests), share(c.Errors, c.Requests)})
		slow.pairs = append(slow.pairs, compared{name, share(s.Slow, s.Requests), share(c.Slow, c.Requests)})
		requests.pairs = append(requests.pairs, compared{name, float64(s.Requests), float64(c.Requests)})
	}
	if len(errors.pairs) < 2 {
		return nil
	}
	return &charts{title: "Errors, slow requests and requests: the old revision as bars, the new as a line", charts: []chart{errors, slow, requests}}
}

// looks gives the newest judgement at each weight, in the order in which the
// weights were last judged.
func (v View) looks() []look {
	var looks []look
	keep := func(l look) {
		for i := range looks {
			if looks[i].weight == l.weight {
				looks = append(looks[:i], looks[i+1:]...)
				break
			}
		}
		looks = append(looks, l)
	}
	for _, e := range v.Record.Entries {
		if l, ok := lookOf(e); ok {
			keep(l)
		}
	}
	if v.Judgement != nil {
		keep(look{*v.Judgement, v.State.Weight, v.State.Since, v.Now})
	}
	return looks
}
