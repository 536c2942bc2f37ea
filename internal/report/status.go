package report

import (
	"fmt"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// StatusView is what is recorded and what is seen. Its Seen is needed.
type StatusView struct {
	View
	// Drift says in what way somebody else changed the platform.
	Drift string
	// Lost says why there is no record, where there should be one.
	Lost string
	// Has is what gapless has in the database; nil where it was not looked at, and
	// Unseen says why it could not be.
	Has    *change.Inventory
	Unseen string
}

// Status sets the record and reality side by side and marks where they differ.
func Status(v StatusView) Page {
	p := Rollout(v.View)
	if v.Seen == nil {
		return p
	}
	if p.title = v.title(p.title); v.Lost != "" || v.Drift != "" {
		p.mood = urgent
	}
	var first []fact
	if v.Lost != "" {
		first = append(first, fact{"Record", say("%s; rollback works without it", v.Lost)})
	}
	if v.Drift != "" {
		first = append(first, fact{"Changed by others", say("%s; only rollback goes on", v.Drift)})
	}
	if v.Unseen != "" {
		first = append(first, fact{"Database", say("could not be looked at: %s", v.Unseen)})
	}
	p.facts = append(first, p.facts...)
	p.parts = append([]part{v.sideBySide()}, p.parts...)
	p.part(v.database())
	return p
}

func (v StatusView) title(recorded string) string {
	if v.Record.Service != "" {
		return recorded
	}
	service := "service"
	if v.Seen.Mark != nil {
		service = v.Seen.Mark.Service
	}
	if v.Lost != "" {
		return service + ": the record is out of reach, reality is below"
	}
	return service + ": nothing was released yet"
}

// pair is one thing as recorded and as seen.
type pair struct{ what, recorded, seen string }

func (v StatusView) sideBySide() part {
	t := table{head: []string{"", "Recorded", "Seen", ""}, right: make([]bool, 4)}
	for _, r := range v.pairs() {
		mark := ""
		if r.recorded != "" && r.seen != "" && r.recorded != r.seen {
			mark = "differs"
		}
		t.rows = append(t.rows, cells(r.what, r.recorded, r.seen, mark))
	}
	return part{heading: "Record and reality at " + at(v.Seen.At), table: &t}
}

func (v StatusView) pairs() []pair {
	s, o := v.State, v.Seen
	names := namesOf(s.Opening)
	known := v.Record.Rollout != ""
	recorded := func(text string) string {
		if !known {
			return ""
		}
		return text
	}
	pairs := []pair{
		{"Stage", recorded(string(s.Stage)), ""},
		{"Serving", recorded(names.shares(v.recorded())), names.shares(o.Serving())},
	}
	if m := o.Mark; m != nil {
		pairs = append(pairs,
			pair{"Rollout", recorded(s.Rollout), m.Rollout},
			pair{"Stable", recorded(names.name(v.stable())), names.name(m.Stable)},
			pair{"Candidate", recorded(names.name(v.candidate())), names.name(m.Candidate)},
			pair{"Record's head", recorded(headName(s.Head)), headName(m.Head)},
			pair{"Rollbacks and holds so far", "", count(int64(m.Epoch))},
			pair{"At work", recorded(v.begun()), lease(m.Lease, v.now())})
	} else {
		pairs = append(pairs, pair{"Mark", recorded("rollout " + s.Rollout), "none on the platform"})
	}
	for _, side := range []rollout.Side{rollout.Blue, rollout.Green} {
		pairs = append(pairs, pair{"Side " + string(side), recorded(names.name(v.on(side))), v.side(side, names)})
	}
	for _, m := range o.Managers {
		pairs = append(pairs, pair{"Also managed by", "", m})
	}
	for _, c := range v.changes() {
		pairs = append(pairs, pair{"Change " + c.id, string(c.state), v.stands(c.id)})
	}
	return pairs
}

// stands is the state of a change in the database; empty where that was not
// looked at.
func (v StatusView) stands(id string) string {
	if v.Has == nil {
		return ""
	}
	k, there := v.Has.Change(id)
	if !there {
		return string(rollout.Absent)
	}
	return string(k.State)
}

// database tells what gapless has in the database: the changes of all services
// that have not come to their end, and who claims what.
func (v StatusView) database() part {
	if v.Has == nil {
		return part{}
	}
	t := table{head: []string{"Service", "Holds", "By", "Since"}, right: make([]bool, 4)}
	for _, k := range v.Has.Changes {
		if k.Open() {
			t.rows = append(t.rows, cells(k.Service, change.Columned(k.Columns, k.Table), fmt.Sprintf("change %s, %s", k.ID, k.State), at(k.Since)))
		}
	}
	for _, c := range v.Has.Claims {
		t.rows = append(t.rows, cells(c.Service, change.Columned(c.Columns, c.Table), "claim of rollout "+c.Rollout, at(c.Since)))
	}
	if len(t.rows) == 0 {
		return part{}
	}
	return part{heading: "Who holds what in the database", table: &t}
}

// stable and candidate are as the record leaves them: a settled rollout has
// no candidate any more.
func (v StatusView) stable() rollout.Revision {
	if v.State.Stage == rollout.StageSettled && !v.State.WentBack {
		return v.State.Opening.Candidate
	}
	return v.State.Opening.Stable
}

func (v StatusView) candidate() rollout.Revision {
	if v.State.Stage == rollout.StageSettled {
		return rollout.Revision{}
	}
	return v.State.Opening.Candidate
}

// on is the revision that the record has on a side.
func (v StatusView) on(side rollout.Side) rollout.Revision {
	s := v.State
	settled := s.Stage == rollout.StageSettled
	switch {
	case side != s.Opening.Side && settled && !s.WentBack:
		return rollout.Revision{}
	case side != s.Opening.Side:
		return s.Opening.Stable
	case settled && s.WentBack, s.Stage == rollout.StageOpen:
		return rollout.Revision{}
	}
	return s.Opening.Candidate
}

// side tells of the instances only where something is amiss, so that a sound
// side reads like its record.
func (v StatusView) side(side rollout.Side, names naming) string {
	st, there := v.Seen.Sides[side]
	if !there {
		return names.name(rollout.Revision{})
	}
	line := names.name(st.Revision)
	if st.Ready != st.Desired {
		line += fmt.Sprintf(", %d of %s ready", st.Ready, of(int64(st.Desired), "instance"))
	}
	if st.Draining {
		line += ", draining"
	}
	for _, i := range st.Instances {
		if i.Problem != "" {
			return line + fmt.Sprintf("; %s: %s", i.Name, i.Problem)
		}
	}
	return line
}

func (v StatusView) begun() string {
	if v.State.Begun == nil {
		return "nobody"
	}
	return string(v.State.BegunPhase)
}

func (v StatusView) now() time.Time {
	if v.Now.IsZero() {
		return v.Seen.At
	}
	return v.Now
}

func lease(l *rollout.Lease, now time.Time) string {
	if l == nil || !now.Before(l.Until) {
		return "nobody"
	}
	return string(l.Phase)
}

func headName(h rollout.Head) string {
	if h.Zero() {
		return "none"
	}
	return fmt.Sprintf("%d %s", h.Seq, h.Hash[:min(12, len(h.Hash))])
}

// Can lists what a phase needs, each met or not, with how to meet it. digest is
// what an approval of it is bound to; empty without a gate.
func Can(service string, phase rollout.Phase, needs []Precondition, digest string) Page {
	p := Page{marker: Marker(service, "can")}
	t := table{head: []string{"", "What it needs", "How to meet it"}, right: make([]bool, 3)}
	unmet := 0
	for _, n := range needs {
		mark, how := "met", ""
		if !n.Met {
			mark, how = "not met", n.How
			unmet++
		}
		t.rows = append(t.rows, cells(mark, n.Text, how))
	}
	p.title = fmt.Sprintf("%s: %s can run now", service, phase)
	if unmet > 0 {
		p.title = fmt.Sprintf("%s: %s cannot run now, %d of %s not met", service, phase, unmet, of(int64(len(needs)), "precondition"))
		p.mood = held
	}
	if digest != "" {
		p.fact("Approval", say("is for digest ").code(digest))
	}
	p.part(part{table: &t})
	return p
}
