package plan

import "github.com/gapless-deploy/gapless/internal/rollout"

// decideAdopt takes over a service whose record is lost: what takes all the
// traffic is stable from then on. What is divided has to be brought together
// first, which a rollback does without a record.
func decideAdopt(in Input) Decision {
	m := in.Seen.Mark
	switch {
	case in.State != nil && in.State.Adopted:
		return end(rollout.Done, "the record was begun anew: revision "+in.State.Opening.Candidate.String()+" is stable", "")
	case in.State != nil:
		return end(rollout.Refused, "the record of rollout "+in.State.Rollout+" can be read: there is nothing to adopt", "see gapless status")
	case m == nil:
		return end(rollout.Refused, "the platform carries no mark of gapless", "a first gapless deploy stamps it")
	case in.Request.Reason == "":
		return end(rollout.Refused, "adopt needs a reason: it goes into the record in place of what is lost", "give one with --reason")
	case m.Back != nil:
		return end(rollout.Refused, "a way back is under way", "let gapless rollback finish it, then adopt")
	}
	for _, p := range gate(in) {
		if !p.Met {
			return end(p.Else, p.Text, p.How)
		}
	}
	for _, side := range []rollout.Side{rollout.Blue, rollout.Green} {
		if st, there := in.Seen.Sides[side]; there && in.Seen.Split.Of(side) == rollout.Full {
			return do(Adopt{rollout.Adopted{
				Stable: st.Revision, Side: side, Reason: in.Request.Reason, Lost: m.Head, Gates: m.Gates,
			}})
		}
	}
	return end(rollout.Refused, "no revision takes all of the traffic: blue "+in.Seen.Split.Blue.String()+", green "+in.Seen.Split.Green.String(),
		"run gapless rollback first, which needs no record")
}
