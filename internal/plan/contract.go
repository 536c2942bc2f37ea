package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// decideContract verifies once more, then archives and drops the old form of
// each change that is owed. One that hides it first goes on when it was hidden
// for long enough, and keeps none of the others waiting. After the first drop
// the only way is forward.
func decideContract(in Input) Decision {
	var waits []string
	for _, c := range Owing(in) {
		if text := hiddenStill(in, c); text != "" {
			waits = append(waits, text)
			continue
		}
		if !in.contracting(c.ID) {
			e, ok := in.Verified[c.ID]
			if !ok {
				return do(Verify{Change: c, Scope: change.ScopeRelease})
			}
			if d, bad := disagreement(c, e); bad {
				return d
			}
		}
		if d, ok := contract(in, c); ok {
			return d
		}
	}
	if len(waits) > 0 {
		return end(rollout.Waiting, strings.Join(waits, "; "), "run gapless contract after that")
	}
	return end(rollout.Done, "no old form is left in the schema", "")
}

// contract takes the next step of one change's contract; none is left where it
// gives false.
func contract(in Input, c change.Change) (Decision, bool) {
	done := in.State.Changes[c.ID]
	steps := change.ContractSteps(c)
	for i, st := range steps {
		if _, ok := done.Steps[st.ID]; ok && done.State != rollout.Expanded {
			continue
		}
		m := Migrate{Change: c, Step: st, Before: rollout.Contracting, State: rollout.Contracting}
		switch {
		case st.Kind == change.Hide && in.changeState(c.ID) == rollout.Hidden && done.State != rollout.Hidden: // in an earlier record
			continue
		case st.Kind == change.Hide:
			m.Before, m.State = rollout.Hidden, rollout.Hidden
		case i == len(steps)-1:
			m.State = rollout.Contracted
		}
		return do(m), true
	}
	return Decision{}, false
}

// hiddenStill says until when the old form of a change stays hidden; empty where
// it is not hidden, or was for long enough.
func hiddenStill(in Input, c change.Change) string {
	until := in.hiddenAt(c.ID).Add(c.HideFor)
	if in.changeState(c.ID) != rollout.Hidden || !in.Now().Before(until) {
		return ""
	}
	return fmt.Sprintf("change %s: the old form is hidden until %s; nothing is lost, the way back is gapless restore %s", c.ID, clock(until), c.ID)
}

// hiddenAt is when the old form was hidden: by the database where it was looked
// at, else by the record.
func (in Input) hiddenAt(id string) time.Time {
	if at := in.Facts[id].HiddenAt; !at.IsZero() || in.State == nil {
		return at
	}
	return in.State.Changes[id].Since
}

// Owing lists the changes whose contract is still to come: those of earlier
// rollouts and, once this one has settled, its own.
func Owing(in Input) []change.Change {
	all := slices.Clone(in.Owed)
	if in.State != nil && !in.State.WentBack && !in.Fresh {
		all = append(all, in.Changes...)
	}
	return slices.DeleteFunc(all, func(c change.Change) bool {
		return !c.Contracts() || in.State.ChangeOf(c.ID) == rollout.Contracted
	})
}

// contracting reports whether a change's contract was begun, and perhaps ended
// without the record knowing of it.
func (in Input) contracting(id string) bool {
	st := in.changeState(id)
	return st == rollout.Contracting || st == rollout.Contracted
}

// recorded holds where a rollout is on record, and over; why says what keeps the
// phase from running before.
func recorded(in Input, why string) []Precondition {
	s := in.State
	if s == nil {
		return []Precondition{{Need: "a rollout is recorded", Text: "no rollout is recorded", How: "begin one with gapless deploy", Else: rollout.Refused}}
	}
	return []Precondition{{
		Need: "the rollout is settled",
		Text: fmt.Sprintf("rollout %s is %s: %s", s.Rollout, s.Stage, why),
		Met:  s.Stage == rollout.StageSettled,
		How:  "next is gapless " + NextOf(in).Command(), Else: rollout.Refused,
	}}
}

func contractible(in Input) []Precondition {
	ps := recorded(in, "the old form is still needed")
	if in.State == nil {
		return ps
	}
	ps = append(ps, consumers(in))
	owing := Owing(in)
	for _, c := range owing {
		if in.contracting(c.ID) {
			continue // forward only
		}
		ps = append(ps, expanded(in, c), unrefused(in, c), unclaimed(in, c), quiet(in, c))
	}
	if len(owing) > 0 {
		ps = append(ps, uncovered(in, owing))
		ps = append(ps, gate(in)...)
	}
	return ps
}

// uncovered holds unless all that is owed is hidden, and for not long enough:
// then there is nothing to approve.
func uncovered(in Input, owing []change.Change) Precondition {
	var texts []string
	for _, c := range owing {
		if text := hiddenStill(in, c); text != "" {
			texts = append(texts, text)
		}
	}
	return Precondition{
		Need: "an old form is there to hide, or was hidden for long enough", Text: strings.Join(texts, "; "),
		Met: len(texts) < len(owing), How: "run gapless contract after that", Else: rollout.Waiting,
	}
}

// unclaimed holds where no service says that it uses what contract takes away.
func unclaimed(in Input, c change.Change) Precondition {
	claims := in.Facts[c.ID].Claims
	p := Precondition{
		Need: "no service uses what contract takes away in change " + c.ID,
		Text: "change " + c.ID + ": " + claimed(claims), Met: len(claims) == 0, Else: rollout.Waiting,
		How: "release it without that under schema.uses; for a service that is no more, run gapless uninstall --service NAME",
	}
	return p
}

// consumers holds where the platform shows that nothing but the settled
// revision runs.
func consumers(in Input) Precondition {
	var older []string
	for _, side := range []rollout.Side{rollout.Blue, rollout.Green} {
		if st, ok := in.Seen.Sides[side]; ok && in.Seen.Mark != nil && st.Revision != in.Seen.Mark.Stable {
			older = append(older, fmt.Sprintf("%s (%s)", st.Revision, side))
		}
	}
	return Precondition{
		Need: "only the stable revision runs",
		Text: "other revisions still run: " + strings.Join(older, ", "), Met: len(older) == 0,
		How: "stop them first", Else: rollout.Refused,
	}
}

func expanded(in Input, c change.Change) Precondition {
	st := in.changeState(c.ID)
	return Precondition{
		Need: "change " + c.ID + " is expanded",
		Text: fmt.Sprintf("change %s is %s, only an expanded one is contracted", c.ID, st),
		Met:  st == rollout.Expanded || st == rollout.Hidden, How: "gapless status shows where it stands", Else: rollout.Refused,
	}
}

func unrefused(in Input, c change.Change) Precondition {
	blocking := slices.Clone(in.Facts[c.ID].Refusals)
	for _, d := range in.Facts[c.ID].Dependents {
		if d.Fate == change.Blocks {
			blocking = append(blocking, d.Kind+" "+d.Name+" still depends on it")
		}
	}
	return Precondition{
		Need: "nothing that would stay depends on the old form of change " + c.ID,
		Text: "change " + c.ID + ": " + strings.Join(blocking, "; "), Met: len(blocking) == 0,
		How: "remove or change what depends on the old form, then run this phase again", Else: rollout.Stopped,
	}
}

// quiet holds where nobody has written the old form for long enough. A signal
// that cannot be read is not silence.
func quiet(in Input, c change.Change) Precondition {
	u, looked := in.Usage[c.ID]
	until := u.QuietSince.Add(c.QuietFor)
	p := Precondition{Need: fmt.Sprintf("change %s: nobody used the old form for %s", c.ID, c.QuietFor), Else: rollout.Waiting}
	switch {
	case !looked:
		p.Text, p.How = "change "+c.ID+": who uses the old form is not known", "the database must be reachable"
	case len(u.Unknown) > 0 && in.Request.Accept == "":
		p.Text = "change " + c.ID + ": who uses the old form cannot be read: " + strings.Join(u.Unknown, "; ")
		p.How = "make it readable, or take it upon yourself with --accept REASON; your name goes into the record"
	case len(u.Statements) > 0:
		p.Text = fmt.Sprintf("change %s: %s named the old form within the last %s: %s", c.ID,
			count(len(u.Statements), "statement", "statements"), c.QuietFor, strings.Join(u.Statements, "; "))
		p.How = fmt.Sprintf("move the sender to the new form; run this phase again after %s", clock(until))
	case in.Now().Before(until):
		p.Text = fmt.Sprintf("change %s: the old form may have been used until %s, %s of quiet are asked for", c.ID, clock(u.QuietSince), c.QuietFor)
		p.How = fmt.Sprintf("run this phase again after %s%s", clock(until), writers(u))
	default:
		p.Met = true
	}
	return p
}

func writers(u change.Usage) string {
	if len(u.LastWriters) == 0 {
		return ""
	}
	w := u.LastWriters[0]
	return fmt.Sprintf("; last was role %s (%s)", w.Role, w.Application)
}
