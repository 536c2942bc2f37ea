package plan

import (
	"fmt"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// undrifted holds where reality is where the record says, or within the step
// that was begun. Where somebody else changed it, only a rollback goes on.
func undrifted(in Input) Precondition {
	what := Drift(in.State, in.Seen)
	return Precondition{
		Need: "reality is what the record says",
		Text: "reality is not what the record says: " + what, Met: what == "",
		How:  "put it back, or give all traffic to stable with gapless rollback",
		Else: rollout.NeedsPerson,
	}
}

// Drift says in what way somebody else changed the platform; empty where
// nobody did.
func Drift(s *rollout.State, seen rollout.Observation) string {
	if s == nil || s.Stage == rollout.StageSettled {
		return ""
	}
	if seen.Mark == nil {
		return "the platform's mark is gone"
	}
	if seen.Mark.Rollout != s.Rollout {
		return fmt.Sprintf("the mark is of rollout %q, the record of %q", seen.Mark.Rollout, s.Rollout)
	}
	if seen.Mark.Back != nil || seen.Mark.Candidate.Zero() { // gapless gave all traffic back, and could not say so yet
		return ""
	}
	if what := driftedWeight(s, seen); what != "" {
		return what
	}
	return driftedSide(s, seen)
}

func driftedWeight(s *rollout.State, seen rollout.Observation) string {
	if s.Stage == rollout.StageOpen && s.Opening.Stable.Zero() {
		return "" // nothing served before a first release
	}
	w := seen.Split.Of(s.Opening.Side)
	if w == s.Weight {
		return ""
	}
	switch p := s.Pending.(type) {
	case *rollout.Shifting:
		if w == p.To || seen.Sides[s.Opening.Side].Whole > 0 && p.From < w && w < p.To { // or it was being scaled
			return ""
		}
	case *rollout.Replacing:
		if w == rollout.PartOf(p.To, p.Of) {
			return ""
		}
	}
	return fmt.Sprintf("candidate %s takes %s, recorded is %s", s.Opening.Candidate, w, s.Weight)
}

func driftedSide(s *rollout.State, seen rollout.Observation) string {
	side := s.Opening.Side
	st, there := seen.Sides[side]
	if there && st.Revision != s.Opening.Candidate && s.Stage != rollout.StageOpen {
		return fmt.Sprintf("side %s holds revision %s, recorded is candidate %s", side, st.Revision, s.Opening.Candidate)
	}
	if !there && s.Weight > 0 {
		return fmt.Sprintf("side %s is empty, recorded is candidate %s at %s", side, s.Opening.Candidate, s.Weight)
	}
	other, there := seen.Sides[side.Other()]
	// Once the candidate has passed at 100 %, stable is stopped by us, perhaps by
	// a run that was cut short before it could say so.
	if !there && s.Weight > 0 && !s.Opening.Stable.Zero() && s.Opening.Strategy != rollout.Rolling && !Settles(*s) {
		return fmt.Sprintf("side %s is empty, recorded is stable %s", side.Other(), s.Opening.Stable)
	}
	if there && !s.Opening.Stable.Zero() && other.Revision != s.Opening.Stable {
		return fmt.Sprintf("side %s holds revision %s, recorded is stable %s", side.Other(), other.Revision, s.Opening.Stable)
	}
	return ""
}
