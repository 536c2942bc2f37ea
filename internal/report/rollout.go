package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// View is what a rollout's page is made from.
type View struct {
	Record rollout.Record
	// State is Record, folded.
	State rollout.State
	// Seen is what the platform shows; nil where it was not looked at, and the
	// page goes by the record.
	Seen *rollout.Observation
	// Now is the time by which the page says how long ago something was; zero
	// leaves that out.
	Now time.Time
	// Next is nil where nothing is due.
	Next *Next
	// RunURL is the page of the workflow's run; empty outside of one.
	RunURL string
	// Judgement is newer than the record's, nil where there is none.
	Judgement *verdict.Judgement
	// Progress is of a step at work, nil where none is.
	Progress *change.Progress
}

// Next is the phase that is due, and what is asked for it.
type Next struct {
	Phase rollout.Phase
	// Command is what is typed behind "gapless".
	Command string
	// Asked says in words what it would do.
	Asked string
	// Gate stands before the phase, and GateDigest is what somebody approves;
	// nil and empty without one.
	Gate       *rollout.Gate
	GateDigest string
}

// Comment gives the rollout's page as the Markdown of a comment.
func Comment(v View) string { return Rollout(v).Markdown() }

// Terminal gives the rollout's page for a terminal of width columns.
func Terminal(v View, width int, colour bool) string { return Rollout(v).Terminal(width, colour) }

// Rollout makes the page of one rollout: what state it is in, what users get,
// the way back and what is next, before all that led there.
func Rollout(v View) Page {
	p := Page{marker: Marker(v.Record.Service, v.Record.Rollout)}
	headline, mood := v.headline()
	p.title, p.mood = v.Record.Service+": "+headline, mood
	p.fact("Users get", v.serving())
	p.fact("Way back", v.wayBack())
	v.trouble(&p)
	v.next(&p)
	v.atWork(&p)
	p.part(v.comparison())
	p.part(part{charts: v.course()})
	p.part(part{charts: v.figures()})
	p.part(v.schema())
	p.part(v.timeline())
	p.part(v.footing())
	return p
}

// unsaid tells a way back that the platform shows and the record does not yet.
func (v View) unsaid() string {
	s := v.State
	if v.Seen == nil || v.Seen.Mark == nil || s.WentBack || s.Stage == rollout.StageSettled {
		return ""
	}
	m, cand := v.Seen.Mark, namesOf(s.Opening).name(s.Opening.Candidate)
	switch {
	case m.Rollout != s.Rollout || m.Back == nil && !m.Candidate.Zero():
		return ""
	case v.Seen.Split.Of(s.Opening.Side) > 0:
		return cand + " is being taken back"
	}
	return cand + " was taken back, which is not in the record yet"
}

// headline says the state in one line.
func (v View) headline() (string, mood) {
	if line := v.unsaid(); line != "" {
		return line, held
	}
	line := v.stage()
	switch e := v.State.Ended; {
	case v.State.Begun != nil || e == nil:
	case e.Outcome == rollout.NeedsPerson:
		return "a person is needed: " + line, urgent
	case v.State.WentBack:
		return line, held
	case e.Outcome == rollout.Stopped:
		return line + "; the last phase stopped", held
	case e.Outcome == rollout.Waiting && v.State.Stage == rollout.StageExposed:
		cand := namesOf(v.State.Opening).name(v.State.Opening.Candidate)
		return fmt.Sprintf("%s is held at %s of the traffic", cand, v.State.Weight), held
	case e.Outcome == rollout.Waiting:
		return line + "; the next step waits", held
	}
	if v.State.WentBack {
		return line, held
	}
	return line, calm
}

func (v View) stage() string {
	s := v.State
	names := namesOf(s.Opening)
	cand, stable := names.name(s.Opening.Candidate), names.name(s.Opening.Stable)
	first := s.Opening.Stable.Zero()
	if p, ok := s.Pending.(*rollout.Shifting); ok {
		return fmt.Sprintf("%s is going from %s to %s of the traffic", cand, p.From, p.To)
	}
	if p, ok := s.Pending.(*rollout.Replacing); ok {
		return fmt.Sprintf("%s is going from %d to %d of %s", cand, p.From, p.To, of(int64(p.Of), "instance"))
	}
	switch s.Stage {
	case rollout.StageOpen:
		return v.opening(cand)
	case rollout.StageRolling:
		return fmt.Sprintf("%s runs on %d of %s", cand, s.Replaced.To, of(int64(s.Replaced.Of), "instance"))
	case rollout.StageStanding:
		if s.Checked == nil {
			return cand + " is started and not yet tested; it gets no traffic"
		}
		return cand + " stands ready and gets no traffic yet"
	case rollout.StageExposed:
		return fmt.Sprintf("%s is on trial with %s of the traffic", cand, s.Weight)
	case rollout.StageLive:
		if first {
			return cand + " takes all traffic; it is the first release"
		}
		if s.Opening.Strategy == rollout.Rolling {
			return fmt.Sprintf("%s runs on all %s", cand, of(int64(s.Replaced.Of), "instance"))
		}
		return fmt.Sprintf("%s takes all traffic, %s stands by", cand, stable)
	case rollout.StageSettled:
	}
	switch {
	case v.Record.Rollout == "":
		return "no rollout is recorded"
	case s.WentBack && first:
		return cand + " was taken back; there was nothing before it"
	case s.WentBack:
		return fmt.Sprintf("%s was taken back, %s serves everyone", cand, stable)
	}
	switch changes := v.changes(); {
	case changes.any(rollout.Contracting):
		return cand + " is released; the old form is being removed from the schema"
	case changes.any(rollout.Restoring):
		return cand + " is released; the old form is being brought back into the schema"
	case changes.any(rollout.Hidden):
		return cand + " is released; the schema hides the old form"
	case changes.all(rollout.Contracted):
		return cand + " is released, and the schema has the new form only"
	case changes.any(rollout.Expanded):
		return cand + " is released; the schema still has the old form too"
	}
	if s.Adopted {
		return cand + " serves everyone; its record was begun anew"
	}
	if first {
		return cand + " is released, the first release"
	}
	return cand + " is released"
}

// opening says how far a rollout is before its candidate stands.
func (v View) opening(cand string) string {
	changes := v.changes()
	switch {
	case v.State.BegunPhase == rollout.Deploy:
		return cand + " is being started; it gets no traffic"
	case len(changes) == 0:
		return cand + " is not started yet"
	case changes.all(rollout.Expanded):
		return "the schema is ready for " + cand + ", which is not started yet"
	}
	return "the schema is being made ready for " + cand
}

// trouble says first what a phase could not do.
func (v View) trouble(p *Page) {
	s := v.State
	if s.WentBack {
		line := say("%s", s.BackReason)
		if l, ok := v.lastLook(); ok && l.judgement.Exposure.Requests > 0 {
			line = line.and("; %s", exposure(l.judgement.Exposure))
		}
		p.fact("Taken back", line)
	}
	if s.Held != nil {
		p.fact("On hold", say("%s", cmp.Or(s.Held.Reason, "somebody asked for it")).and("; it goes on when its next step is approved anew"))
	}
	e := s.Ended
	if e == nil || s.Begun != nil {
		return
	}
	// A phase that took the candidate back has said so already.
	said := s.WentBack && e.Outcome == rollout.Stopped && v.lastEnded() != rollout.Rollback
	switch e.Outcome {
	case rollout.NeedsPerson:
		p.fact("Needs a person", say("%s", e.Reason))
	case rollout.Stopped:
		if !said {
			p.fact("Stopped", say("%s", e.Reason))
		}
	case rollout.Waiting:
		p.fact("Waits", say("%s", e.Reason))
	case rollout.Refused:
		p.fact("Refused", say("%s", e.Reason))
	case rollout.Done:
		return
	}
	p.fact("Do", say("%s", e.Hint))
}

// lastEnded is the phase that ended last.
func (v View) lastEnded() rollout.Phase {
	for _, e := range slices.Backward(v.Record.Entries) {
		if e.Kind == rollout.KindEnded {
			return e.Phase
		}
	}
	return ""
}

// serving says what users get now: as seen, else as recorded.
func (v View) serving() text {
	names := namesOf(v.State.Opening)
	if v.Seen != nil {
		line := say("%s", names.shares(v.Seen.Serving()))
		if !v.Seen.SplitSince.IsZero() {
			line = line.and(", since %s", ago(v.Seen.SplitSince, v.Now))
		}
		return v.withSchema(line)
	}
	if v.Record.Rollout == "" {
		return nil
	}
	line := say("%s", names.shares(v.recorded()))
	since := v.State.Since
	if v.State.Stage == rollout.StageSettled && !v.State.WentBack {
		since = v.State.LiveSince // to settle moves no traffic
	}
	if !since.IsZero() {
		line = line.and(", since %s", ago(since, v.Now))
	}
	if to, begun := v.begunWeight(); begun {
		line = line.and("; or %s already: a shift was begun and its end is not recorded", to)
	}
	return v.withSchema(line.and(" (by the record)"))
}

// recorded gives the shares that the record says.
func (v View) recorded() []rollout.Share {
	s := v.State
	cand, stable := s.Opening.Candidate, s.Opening.Stable
	if s.Stage == rollout.StageSettled && !s.WentBack {
		return []rollout.Share{{Revision: cand, Weight: rollout.Full}}
	}
	var serving []rollout.Share
	if !stable.Zero() && s.Weight < rollout.Full {
		serving = append(serving, rollout.Share{Revision: stable, Weight: rollout.Full - s.Weight})
	}
	if s.Weight > 0 {
		serving = append(serving, rollout.Share{Revision: cand, Weight: s.Weight})
	}
	return serving
}

func (v View) withSchema(line text) text {
	if note := v.changes().note(); note != "" {
		return line.and("; %s", note)
	}
	return line
}

// exposed is the candidate's weight as seen, else the highest that may be in
// force by the record.
func (v View) exposed() rollout.Weight {
	if v.Seen != nil && v.Seen.Mark != nil {
		return v.Seen.Split.Of(v.Seen.Mark.CandidateSide)
	}
	if to, begun := v.begunWeight(); begun {
		return max(v.State.Weight, to)
	}
	return v.State.Weight
}

// begunWeight is where a shift or batch leads that was begun and whose end is
// not recorded.
func (v View) begunWeight() (rollout.Weight, bool) {
	switch p := v.State.Pending.(type) {
	case *rollout.Shifting:
		return p.To, true
	case *rollout.Replacing:
		return rollout.PartOf(p.To, p.Of), true
	}
	return 0, false
}

// next says what is due, and what is asked of whom.
func (v View) next(p *Page) {
	if v.Next == nil || v.Next.Command == "" {
		return
	}
	p.fact("Next", say("").code("gapless "+v.Next.Command).and(": %s", v.Next.Asked))
	v.Next.approval(p, v.RunURL)
}

// atWork names the phase that has begun and not ended.
func (v View) atWork(p *Page) {
	if v.Progress != nil {
		p.fact("Progress", say("%s", Progress(*v.Progress, progressColumns)))
	}
	if v.Seen != nil && v.Seen.Mark.Busy("", v.Now) {
		l := v.Seen.Mark.Lease
		p.fact("At work", say("%s, by %s", l.Phase, l.Holder))
		return
	}
	began, ok := v.began()
	if !ok {
		return
	}
	line := say("%s, begun %s by %s", began.Phase, ago(began.At, v.Now), by(began.Actor, began.Run, began.Attempt))
	again := "run it again: it goes on where it stopped"
	if v.Seen == nil {
		p.fact("At work", line.and("; if it was cut short, %s", again))
		return
	}
	p.fact("Cut short", line.and("; nobody is at work, %s", again))
}

// began gives the entry that began the phase which has not ended.
func (v View) began() (rollout.Entry, bool) {
	if v.State.Begun == nil {
		return rollout.Entry{}, false
	}
	for _, e := range slices.Backward(v.Record.Entries) {
		if e.Kind == rollout.KindBegan {
			return e, true
		}
	}
	return rollout.Entry{}, false
}

// progressColumns is the width of a progress line inside a page.
const progressColumns = 100

// footing says by which entry of the record the page was made, and what was
// seen of the release from outside.
func (v View) footing() part {
	head := v.Record.Head()
	if head.Zero() {
		return part{}
	}
	var lines []text
	if asked, dropped := v.probed(); asked > 0 {
		lines = append(lines, say("Seen from outside during the phases: %s, %s dropped.", of(asked, "request"), count(dropped)))
	}
	digits := head.Hash[:min(12, len(head.Hash))]
	return part{lines: append(lines, say("Record of rollout %s, entry %d, ", v.Record.Rollout, head.Seq).code(digits))}
}

func (v View) probed() (asked, dropped int64) {
	for _, e := range v.Record.Entries {
		data, err := e.Decode()
		if err != nil {
			continue // shown in the table of phases
		}
		if end, ok := data.(*rollout.Ended); ok && end.Probe != nil {
			asked, dropped = asked+end.Probe.Requests, dropped+end.Probe.Dropped
		}
	}
	return asked, dropped
}
