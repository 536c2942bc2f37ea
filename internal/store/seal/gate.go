package seal

import (
	"strings"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// gated checks that nothing in a record passes by its gates. What stands
// behind a gate are the acts, not the words: whatever raises the candidate's
// weight or contracts the schema, by a phase of any name. Each needs to be
// written where the gate is, and by a phase that was let through and has not
// ended. covers are who vouches for each entry.
func gated(record rollout.Record, covers []cover) error {
	var w watch
	for i, e := range record.Entries {
		data, err := e.Decode()
		if err != nil {
			return err
		}
		if err := w.see(e, data, covers[i]); err != nil {
			return err
		}
	}
	return nil
}

// watch is what is known of the gates while a record is read.
type watch struct {
	opening rollout.Opened
	weight  rollout.Weight
	// begun is the phase that has not ended. gate is the one of the opening's
	// that it stands behind and was let through, nil where it was not.
	begun *rollout.Began
	phase rollout.Phase
	gate  *rollout.Gate
	// adopting is set until the entry that says who let an adoption through.
	adopting bool
}

func (w *watch) see(e rollout.Entry, data rollout.Data, c cover) error {
	if began, ok := data.(*rollout.Began); w.adopting && (!ok || began.Approval == "" || e.Phase != rollout.Adopt) {
		return passedBy(e, *w.opening.Gates.Promote, "nobody let the adoption through")
	}
	w.adopting = false
	switch d := data.(type) {
	case *rollout.Opened:
		w.opening = *d
	case *rollout.Adopted:
		w.opening = rollout.Opened{Candidate: d.Stable, Stable: d.Stable, Gates: d.Gates}
		w.weight, w.adopting = rollout.Full, d.Gates.Promote != nil
	case *rollout.Began:
		return w.begin(e, d, c)
	case *rollout.Ended:
		w.begun, w.gate = nil, nil
	case *rollout.RolledBack:
		w.weight = 0
	case *rollout.Shifting:
		return w.raise(e, d.To, c)
	case *rollout.Replacing:
		return w.raise(e, rollout.PartOf(d.To, d.Of), c)
	case *rollout.Shifted:
		err := w.raise(e, d.To, c)
		w.weight = d.To
		return err
	case *rollout.Replaced:
		to := rollout.PartOf(d.To, d.Of)
		err := w.raise(e, to, c)
		w.weight = to
		return err
	case *rollout.Migrating, *rollout.Migrated:
		if e.Phase == rollout.Contract {
			return w.act(e, w.opening.Gates.Contract, c)
		}
	}
	return nil
}

// before gives the gate that a phase stands behind.
func (w *watch) before(p rollout.Phase, to rollout.Weight) *rollout.Gate {
	return w.opening.Gates.Of(p, w.exposes(p), to)
}

func (w *watch) exposes(p rollout.Phase) bool {
	return p == rollout.Adopt || w.opening.Strategy.Exposes(p, w.opening.Stable.Zero())
}

// begin finds out whether a phase that begins is let through its gate. One that
// is not may begin all the same, to supersede another rollout say; it can do
// nothing that stands behind the gate, nor take a verdict upon itself.
func (w *watch) begin(e rollout.Entry, d *rollout.Began, c cover) error {
	gate := w.before(e.Phase, d.To)
	resumed := w.resumes(e.Phase, d)
	approved := d.Approval != ""
	if name, ok := strings.CutPrefix(d.Gate, "environment "); ok && approved && !c.in(name) {
		return passedBy(e, rollout.Gate{Environment: name}, "it was written in "+named(c.environment))
	}
	if gate != nil && approved && d.Gate != gate.String() {
		return passedBy(e, *gate, "what is approved is "+d.Gate)
	}
	if gate != nil && !approved && !resumed {
		if d.Accepted != "" {
			return passedBy(e, *gate, "it accepts what is not known, without an approval")
		}
		gate = nil
	}
	if gate != nil {
		if err := w.written(e, *gate, approved, c); err != nil {
			return err
		}
	}
	w.begun, w.phase, w.gate = d, e.Phase, gate
	return nil
}

// written checks where a phase that is let through was begun. A phase that goes
// on under an earlier approval of a comment may do so in a run of any event: it
// can go no further than what was approved.
func (w *watch) written(e rollout.Entry, gate rollout.Gate, approved bool, c cover) error {
	if !approved && gate.Environment == "" {
		return nil
	}
	if err := c.opened(gate); err != nil {
		return passedBy(e, gate, err.Error())
	}
	return nil
}

// resumes reports whether a phase goes on under the approval that it was begun
// with: the same phase, not ended and no other begun since, to the same weight,
// under the same digest and the same waiver. The phase that was begun must
// itself have been let through.
func (w *watch) resumes(p rollout.Phase, d *rollout.Began) bool {
	if w.begun == nil || w.gate == nil || w.phase != p || d.Approval != "" {
		return false
	}
	return d.Digest == w.begun.Digest && d.To == w.begun.To && (d.Accepted == "" || d.Accepted == w.begun.Accepted)
}

// raise checks what gives the candidate more traffic than it has.
func (w *watch) raise(e rollout.Entry, to rollout.Weight, c cover) error {
	begunTo := rollout.Weight(0)
	if w.begun != nil {
		begunTo = w.begun.To
	}
	gate := w.opening.Gates.Of(e.Phase, true, begunTo)
	if gate == nil || to <= w.weight {
		return nil
	}
	if !w.exposes(e.Phase) { // though let through, it was to do something else
		return passedBy(e, *gate, "no phase was let through to do it")
	}
	if err := w.act(e, gate, c); err != nil {
		return err
	}
	if w.begun.To > 0 && to > w.begun.To {
		return passedBy(e, *gate, "let through was "+w.begun.To.String()+", this is "+to.String())
	}
	return nil
}

// act checks an entry that stands behind a gate.
func (w *watch) act(e rollout.Entry, gate *rollout.Gate, c cover) error {
	switch {
	case gate == nil:
		return nil
	case w.begun == nil || w.phase != e.Phase || w.gate == nil || *w.gate != *gate:
		return passedBy(e, *gate, "no phase was let through to do it")
	case gate.Environment != "" && !c.in(gate.Environment):
		return passedBy(e, *gate, "it was written in "+named(c.environment))
	}
	return nil
}

func passedBy(e rollout.Entry, gate rollout.Gate, why string) error {
	hint := ""
	if gate.Environment != "" {
		hint = "run this phase in a job with \"environment: " + gate.Environment + "\""
	}
	return fault(hint, "entry %d (%s, phase %s) passes by gate %q: %s", e.Seq, e.Kind, e.Phase, gate, why)
}
