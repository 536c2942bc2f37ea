package ledger

import (
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Switch is one change of the candidate's weight and when it was seen.
type Switch struct {
	From, To rollout.Weight
	// Decided is when it was decided.
	Decided time.Time
	// InForce is the time from the decision until the last request began that
	// was still answered under the old weight; zero when there was none. Where
	// answers do not bear the weight, and a side gains its first traffic, it is
	// the time until the first request began that this side answered. Nil: the
	// answers do not tell.
	InForce *time.Duration
}

// seen is what one answer tells about the traffic.
type seen struct {
	started  time.Time
	ended    time.Time
	revision string
	weight   rollout.Weight // the candidate's; -1 when unknown
}

// watched is a switch and the evidence for it.
type watched struct {
	Switch
	until   time.Time // when the next one was decided; zero while it is the last
	lastOld time.Time
	// firstNew is the first request under the new weight, a witness that the
	// switch came at all.
	firstNew time.Time
	latest   time.Time // end of the evidence so far
	weighed  bool      // answers bear the weight
}

// Switched tells that at decided the candidate's weight was to go from from to
// to. It may be told late, as long as the answers since are among the recent,
// and it must be told in order of time.
func (l *Ledger) Switched(decided time.Time, from, to rollout.Weight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.switches); n > 0 {
		before := l.switches[n-1]
		before.until = decided
		if !before.latest.Before(decided) {
			// Answers to this switch may have been taken for answers to the one before.
			l.lookBack(before)
		}
	}
	w := &watched{Switch: Switch{From: from, To: to, Decided: decided}}
	l.switches = append(l.switches, w)
	l.lookBack(w)
}

// lookBack takes the evidence from the recent answers alone.
func (l *Ledger) lookBack(w *watched) {
	w.lastOld, w.firstNew, w.latest, w.weighed = time.Time{}, time.Time{}, time.Time{}, false
	for _, s := range l.recent {
		w.look(s, l.candidate)
	}
}

// witness enters a whole answer as evidence.
func (l *Ledger) witness(a Answer) {
	s := seen{started: a.Started, ended: a.Ended, revision: a.Revision, weight: -1}
	switch {
	case a.Weight == nil || a.Revision == "":
	case a.Revision == l.candidate:
		s.weight = *a.Weight
	default:
		s.weight = rollout.Full - *a.Weight
	}
	if len(l.recent) < cap(l.recent) {
		l.recent = append(l.recent, s)
	} else {
		l.recent[l.next] = s
		l.next = (l.next + 1) % len(l.recent)
	}
	for _, w := range l.switches {
		w.look(s, l.candidate)
	}
}

func (w *watched) look(s seen, candidate string) {
	// What was under way at the next decision may have been routed by that one.
	if s.started.Before(w.Decided) || (!w.until.IsZero() && !(s.started.Before(w.until) && s.ended.Before(w.until))) {
		return
	}
	w.weighed = w.weighed || s.weight >= 0
	if s.ended.After(w.latest) {
		w.latest = s.ended
	}
	if w.underOld(s, candidate) && s.started.After(w.lastOld) {
		w.lastOld = s.started
	}
	if w.underNew(s, candidate) && (w.firstNew.IsZero() || s.started.Before(w.firstNew)) {
		w.firstNew = s.started
	}
}

// underOld: only the old weight can have given this answer.
func (w *watched) underOld(s seen, candidate string) bool {
	if s.weight >= 0 {
		return s.weight == w.From
	}
	return w.To == 0 && s.by(candidate) || w.To == rollout.Full && s.byOther(candidate)
}

// underNew: the new weight can have given this answer, and, where no last
// answer under the old one can be told, only the new.
func (w *watched) underNew(s seen, candidate string) bool {
	if s.weight >= 0 {
		return s.weight == w.To
	}
	return (w.From == 0 || w.To == rollout.Full) && s.by(candidate) ||
		(w.From == rollout.Full || w.To == 0) && s.byOther(candidate)
}

func (s seen) by(candidate string) bool      { return s.revision != "" && s.revision == candidate }
func (s seen) byOther(candidate string) bool { return s.revision != "" && s.revision != candidate }

func (w *watched) result() Switch {
	s := w.Switch
	if w.firstNew.IsZero() {
		return s
	}
	var d time.Duration
	switch {
	case !w.lastOld.IsZero():
		d = w.lastOld.Sub(w.Decided)
	case !w.weighed && w.To != 0 && w.To != rollout.Full:
		d = w.firstNew.Sub(w.Decided)
	}
	s.InForce = &d
	return s
}
