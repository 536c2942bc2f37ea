package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// decideContract verifies once more, then archives and drops the old form of
// each change that is owed. After the first drop the only way is forward.
func decideContract(in Input) Decision {
	for _, c := range Owing(in) {
		done := in.State.Changes[c.ID]
		if !in.contracting(c.ID) {
			e, ok := in.Verified[c.ID]
			if !ok {
				return do(Verify{Change: c, Scope: change.ScopeRelease})
			}
			if d, bad := disagreement(c, e); bad {
				return d
			}
		}
		steps := change.ContractSteps(c)
		for i, st := range steps {
			if _, ok := done.Steps[st.ID]; ok && done.State != rollout.Expanded {
				continue
			}
			after := rollout.Contracting
			if i == len(steps)-1 {
				after = rollout.Contracted
			}
			return do(Migrate{Change: c, Step: st, State: after})
		}
	}
	return end(rollout.Done, "no old form is left in the schema", "")
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

func contractible(in Input) []Precondition {
	s := in.State
	if s == nil {
		return []Precondition{{Need: "a rollout is recorded", Text: "no rollout is recorded", How: "begin one with gapless deploy", Else: rollout.Refused}}
	}
	ps := []Precondition{{
		Need: "the rollout is settled",
		Text: fmt.Sprintf("rollout %s is %s: the old form is still needed", s.Rollout, s.Stage),
		Met:  s.Stage == rollout.StageSettled,
		How:  "next is gapless " + NextOf(in).Command(), Else: rollout.Refused,
	}, consumers(in)}
	owing := Owing(in)
	for _, c := range owing {
		if in.contracting(c.ID) {
			continue // forward only
		}
		ps = append(ps, expanded(in, c), unrefused(in, c), quiet(in, c))
	}
	if len(owing) > 0 {
		ps = append(ps, gate(in)...)
	}
	return ps
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
		Met:  st == rollout.Expanded, How: "gapless status shows where it stands", Else: rollout.Refused,
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
		p.Text = fmt.Sprintf("change %s: the old form was last written %s, %s of quiet are asked for", c.ID, clock(u.QuietSince), c.QuietFor)
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
