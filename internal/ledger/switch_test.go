package ledger_test

import (
	"testing"

	"github.com/gapless-deploy/gapless/internal/ledger"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// told is one good answer: when it began, in ms, by whom, and the candidate's
// weight then (-1: it does not bear any).
type told struct {
	ms       int
	revision string
	weight   rollout.Weight
}

func (a told) answer() ledger.Answer {
	out := ledger.Answer{Started: at(a.ms), Ended: at(a.ms + 3), Status: 200, Revision: a.revision}
	if a.weight >= 0 {
		if a.revision != "new" {
			a.weight = rollout.Full - a.weight
		}
		out.Weight = &a.weight
	}
	return out
}

// unknown stands for a switch of which the answers do not tell.
const unknown = -1

func TestSwitchInForce(t *testing.T) {
	const decided = 1000
	for _, tc := range []struct {
		name     string
		from, to rollout.Weight
		answers  []told
		want     int // ms
	}{
		{"weights tell every step", 50, 250, []told{
			{999, "old", 50}, {1003, "old", 50}, {1007, "new", 50}, {1010, "old", 250}, {1400, "old", 250}}, 7},
		{"weights tell that it was at once", 50, 250, []told{{999, "old", 50}, {1001, "old", 250}}, 0},
		{"weights tell that it never came", 50, 250, []told{{1001, "old", 50}, {1900, "new", 50}}, unknown},
		{"answers overtake each other", 0, 1000, []told{{1010, "new", 1000}, {1004, "old", 0}, {1002, "old", 0}}, 4},
		{"back to stable: the candidate's last", 250, 0, []told{
			{1001, "new", -1}, {1002, "old", -1}, {1011, "new", -1}, {1020, "old", -1}}, 11},
		{"all to the candidate: stable's last", 500, 1000, []told{
			{1001, "old", -1}, {1002, "new", -1}, {1009, "old", -1}, {1020, "new", -1}}, 9},
		{"back at once", 250, 0, []told{{990, "new", -1}, {1001, "old", -1}}, 0},
		{"first traffic: the candidate's first", 0, 10, []told{
			{1001, "old", -1}, {1250, "new", -1}, {1300, "new", -1}}, 250},
		{"between two steps nobody can tell", 50, 250, []told{{1001, "old", -1}, {1002, "new", -1}}, unknown},
		{"a router that says nothing", 250, 0, []told{{1001, "", -1}}, unknown},
		{"no answers", 0, 1000, nil, unknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			early := ledger.New(ledger.Options{Candidate: "new"})
			early.Switched(at(decided), tc.from, tc.to)
			late := ledger.New(ledger.Options{Candidate: "new"})
			for _, a := range tc.answers {
				early.Add(a.answer())
				late.Add(a.answer())
			}
			late.Switched(at(decided), tc.from, tc.to)
			for when, l := range map[string]*ledger.Ledger{"told before": early, "told after": late} {
				if got := inForce(l.Summary().Switches[0]); got != tc.want {
					t.Errorf("%s: in force after %d ms, want %d", when, got, tc.want)
				}
			}
		})
	}
}

func TestNextSwitchEndsTheEvidence(t *testing.T) {
	l := ledger.New(ledger.Options{Candidate: "new"})
	l.Switched(at(1000), 0, 1000)
	l.Add(told{1005, "new", -1}.answer())
	l.Switched(at(2000), 1000, 0)
	// Stable answers again, which says nothing about the first switch.
	l.Add(told{2050, "new", -1}.answer())
	l.Add(told{2060, "old", -1}.answer())
	s := l.Summary().Switches
	if got := inForce(s[0]); got != 0 {
		t.Errorf("0 to 100 in force after %d ms, want 0", got)
	}
	if got := inForce(s[1]); got != 50 {
		t.Errorf("100 to 0 in force after %d ms, want 50", got)
	}
}

// The switches of a phase are told when it has ended: by then a switch back
// has brought answers that look like those before the first one.
func TestSwitchesToldLate(t *testing.T) {
	l := ledger.New(ledger.Options{Candidate: "new"})
	for _, a := range []told{{1002, "old", 0}, {1005, "new", 10}, {1500, "old", 10}, {2001, "new", 10}, {2004, "old", 0}, {2900, "old", 0}} {
		l.Add(a.answer())
	}
	l.Switched(at(1000), 0, 10)
	l.Switched(at(2000), 10, 0)
	for i, want := range []int{2, 1} {
		if got := inForce(l.Summary().Switches[i]); got != want {
			t.Errorf("switch %d in force after %d ms, want %d", i+1, got, want)
		}
	}
}

func inForce(s ledger.Switch) int {
	if s.InForce == nil {
		return unknown
	}
	return int(s.InForce.Milliseconds())
}

// A request that began before the next decision and was routed by it tells
// nothing of the switch before.
func TestAnAnswerUnderTheNextSwitchIsNoEvidence(t *testing.T) {
	for _, late := range []bool{false, true} {
		l := ledger.New(ledger.Options{Candidate: "new"})
		tell := func() { l.Switched(at(1600), 0, rollout.Full) }
		l.Switched(at(1000), rollout.Full, 0)
		if !late {
			tell()
		}
		for _, a := range []told{{1002, "new", 1000}, {1010, "old", 0}, {1599, "new", 1000}, {1605, "new", 1000}} {
			l.Add(a.answer())
		}
		if late {
			tell()
		}
		if got := inForce(l.Summary().Switches[0]); got != 2 {
			t.Errorf("told late %t: in force after %d ms, want 2", late, got)
		}
	}
}
