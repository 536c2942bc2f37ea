package phase

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Gates finds out whether somebody approved. It fails closed.
type Gates interface {
	// Approval gives who opened the gate; an error says why it is shut and, by
	// its Hint, how it is opened.
	Approval(ctx context.Context, ask rollout.Ask) (who string, err error)
}

// gate checks the gate of the phase asked for. An expected digest is compared
// also where no gate is in force.
func (s *session) gate(ctx context.Context) error {
	s.in.Gate, s.expect = nil, ""
	p := s.work.Request.Phase
	to := rollout.Weight(0)
	if p == rollout.Promote && s.in.State != nil {
		to = plan.Goal(s.in)
	}
	gate := s.gateOf(p, to)
	if gate == nil && s.work.Expect == "" || ungated(p) {
		return nil
	}
	if s.resumes() {
		s.expect = s.in.State.Begun.Digest
		return nil
	}
	digest, err := s.gateDigest(p, to)
	if err != nil {
		return err
	}
	s.expect = digest
	s.in.Gate = s.checkGate(ctx, gate, digest)
	return nil
}

// ungated are the phases that only look, keep things where they are, or go back:
// a digest that is named neither keeps them from it nor lets anything through.
func ungated(p rollout.Phase) bool {
	return p == rollout.Tick || p == rollout.Hold || p == rollout.Rollback || p == statusOnly
}

func (s *session) checkGate(ctx context.Context, gate *rollout.Gate, digest string) *plan.GateCheck {
	check := &plan.GateCheck{Name: "expected digest"}
	if gate != nil {
		check.Name = gate.String()
	}
	if s.work.Expect != digest {
		check.Why = fmt.Sprintf("approved was %s, due now is %s", short(s.work.Expect), short(digest))
		check.How = "look at what is due now (gapless status) and approve that"
		return check
	}
	if gate == nil {
		check.Open = true
		return check
	}
	if s.r.Gates == nil {
		check.Why = "nothing here can prove an approval"
		check.How = "run this phase where the gate can be asked, or take the gate out of the config"
		return check
	}
	ask := rollout.Ask{Gate: *gate, Phase: s.work.Request.Phase, Digest: digest, Commit: s.opening().Commit}
	if s.in.State != nil {
		ask.Used = s.in.State.Used(check.Name, s.r.Writer.Run)
	}
	who, err := s.r.Gates.Approval(ctx, ask)
	if err != nil {
		check.Why, check.How = err.Error(), rollout.HintOf(err)
		return check
	}
	check.Open, check.Approval = true, who
	return check
}

// resumes reports whether the phase was begun and did not end: it goes on
// under the approval that it was begun with, and to nothing further. Another
// weight, or another waiver, has an approval of its own.
func (s *session) resumes() bool {
	st, req := s.in.State, s.work.Request
	if st == nil || st.Begun == nil || st.BegunPhase != req.Phase {
		return false
	}
	if s.gateOf(req.Phase, st.Begun.To) != nil && !st.LetThrough { // it was begun to supersede, say
		return false
	}
	if s.work.Expect != "" && s.work.Expect != st.Begun.Digest { // the same job, run again, names it again
		return false
	}
	return (req.To == 0 || req.To == st.Begun.To) && (req.Accept == "" || req.Accept == st.Begun.Accepted)
}

// gateOf gives the gate before a phase that goes to a weight, 0 being all.
func (s *session) gateOf(p rollout.Phase, to rollout.Weight) *rollout.Gate {
	if p == rollout.Adopt { // else a lost record would open the gate
		before := rollout.Gates{}
		if m := s.in.Seen.Mark; m != nil {
			before = m.Gates
		}
		return s.in.Config.Gates.InForce(before).Of(p, true, 0)
	}
	return s.opening().Gates.Of(p, s.in.Exposes(p), to)
}

// opening is the opening entry of the rollout that the phase is about.
func (s *session) opening() rollout.Opened {
	if s.in.State == nil || s.in.Fresh {
		return s.in.Opening
	}
	return s.in.State.Opening
}

func (s *session) gateDigest(p rollout.Phase, to rollout.Weight) (string, error) {
	g := plan.GateInput{Phase: p, To: to}
	if gate := s.gateOf(p, to); gate != nil {
		g.Environment = gate.Environment
	}
	if st := s.in.State; st != nil {
		g.PlanDigest, g.Rollout, g.Head = st.Opening.PlanDigest, st.Rollout, st.Head
	}
	if s.in.Fresh && opens(p) { // the rollout is yet to be opened
		var err error
		if g.PlanDigest, err = s.planDigest(s.in.Opening); err != nil {
			return "", err
		}
		g.Rollout = ""
	}
	if m := s.in.Seen.Mark; m != nil && p == rollout.Adopt {
		g.Rollout, g.Head = m.Rollout, m.Head
	}
	if p == rollout.Contract {
		g.Waived = s.work.Request.Accept != ""
		for _, c := range plan.Owing(s.in) {
			g.Dropped = append(g.Dropped, c.Contracting()...)
		}
	}
	return plan.GateDigest(g)
}

// nextGateDigest is what the next phase's approval has to be bound to.
func (s *session) nextGateDigest(next plan.Next) (string, error) {
	settled := s.in.State == nil || s.in.State.Stage == rollout.StageSettled
	switch {
	case next.Phase == "", s.gateOf(next.Phase, next.To) == nil && (settled || s.in.State.Held == nil):
		return "", nil
	case settled && next.Phase != rollout.Adopt && next.Phase != rollout.Contract && s.in.Opening.Candidate.Zero(): // nothing is to be opened
		return "", nil
	}
	return s.gateDigest(next.Phase, next.To)
}

func (s *session) planDigest(o rollout.Opened) (string, error) {
	structures := map[string]string{}
	for _, id := range slices.Sorted(maps.Keys(s.in.Facts)) {
		structures[id] = structure(s.in.Facts[id])
	}
	return plan.Digest(o.Intent, o.Candidate, o.Stable, structures)
}

func structure(f change.Facts) string { return f.StructureDigest }

func short(digest string) string {
	if digest == "" {
		return "nothing"
	}
	return digest[:min(12, len(digest))]
}
