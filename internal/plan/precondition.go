package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// Precondition is one thing that must hold before a phase acts.
type Precondition struct {
	// Need says what must hold, Text what was observed instead of it.
	Need string
	Text string
	Met  bool
	// How says how to meet it; Else is how the phase ends where it is not met.
	How  string
	Else rollout.Outcome
}

// Preconditions lists what the phase asked for needs, the weightiest first.
func Preconditions(in Input) []Precondition {
	switch in.Request.Phase {
	case rollout.Expand, rollout.Deploy:
		return append(opening(in), unheld(in)...)
	case rollout.Promote:
		return slices.Concat(standing(in), unheld(in), promotable(in))
	case rollout.Tick:
		if in.State == nil || in.State.Stage == rollout.StageSettled {
			return nil // a schedule asks whether or not there is something to look at
		}
		return standing(in)
	case rollout.Retire:
		return slices.Concat(standing(in), unheld(in), retirable(in), gate(in))
	case rollout.Contract:
		return contractible(in)
	case rollout.Hold:
		return holdable(in)
	case rollout.Rollback:
		return returnable(in)
	case rollout.Restore:
		return restorable(in)
	case rollout.Plan, rollout.Adopt:
	}
	return nil
}

// unedited holds where expand finds the files that the rollout goes by: it would
// not take what was edited, and not say so.
func unedited(in Input) Precondition {
	id := strings.Join(in.Edited, ", ")
	return Precondition{
		Need: "the changes are those that the rollout began with",
		Text: fmt.Sprintf("change %s was edited after rollout %s began with it", id, in.State.Rollout),
		Met:  in.Request.Phase != rollout.Expand || in.State.Stage != rollout.StageOpen || len(in.Edited) == 0,
		How:  "put the file back as it was; or take the change out of the schema with gapless rollback --schema revert, and expand it anew",
		Else: rollout.Refused,
	}
}

// ours holds where gapless has released what runs. What somebody else has, could
// not be told from a candidate, nor be gone back to.
func ours(in Input) Precondition {
	p := Precondition{
		Need: "what runs was released by gapless", Met: true, Else: rollout.Refused,
		How: "a Deployment that gapless takes over has 0 replicas: this build does not adopt one that serves",
	}
	for _, side := range []rollout.Side{rollout.Blue, rollout.Green} {
		if st := in.Seen.Sides[side]; st.Desired > 0 && st.Revision.Spec == "" {
			p.Met, p.Text = false, fmt.Sprintf("revision %s on side %s was not released by gapless: %d instances", st.Revision, side, st.Desired)
		}
	}
	return p
}

// opening holds for the phases that may open a rollout.
func opening(in Input) []Precondition {
	ps := []Precondition{undrifted(in), ours(in)}
	if in.superseding() {
		return ps // what the new rollout needs is in.Successor
	}
	if s := in.State; s != nil && s.Stage != rollout.StageSettled {
		asked, has := in.Spec.Revision, s.Opening.Candidate
		ps = append(ps, Precondition{
			Need: "no rollout of another revision is under way",
			Text: fmt.Sprintf("rollout %s of revision %s is under way, asked for is %s", s.Rollout, has, asked),
			Met:  asked.ID == has.ID || in.Request.Supersede,
			How:  "finish it first, end it with gapless rollback, or have it ended by --supersede",
			Else: rollout.Refused,
		})
		if asked.ID == has.ID {
			ps = append(ps, allows(in), unedited(in))
		}
	}
	for _, c := range in.Changes {
		f, looked := in.Facts[c.ID]
		if looked && len(f.Refusals) > 0 {
			ps = append(ps, Precondition{
				Need: "change " + c.ID + " can be made",
				Text: "change " + c.ID + ": " + strings.Join(f.Refusals, "; "),
				How:  "gapless plan shows all of it", Else: rollout.Refused,
			})
		}
		ps = append(ps, standsFor(in, c))
	}
	if in.Exposes(in.Request.Phase) {
		ps = append(ps, accepting(in)...)
	}
	return slices.Concat(ps, gate(in), untangled(in), apart(in))
}

// standsFor holds where a change is as the phase needs it: on no way back, and
// expanded before a candidate comes that uses it.
func standsFor(in Input, c change.Change) Precondition {
	st := in.changeState(c.ID)
	if st == rollout.Reverting || in.Request.Phase != rollout.Deploy {
		return Precondition{
			Need: "change " + c.ID + " is not being taken back",
			Text: fmt.Sprintf("change %s is being taken back, which was begun and has not ended", c.ID),
			Met:  st != rollout.Reverting, How: "run " + again + " to its end first", Else: rollout.Refused,
		}
	}
	return Precondition{
		Need: "change " + c.ID + " is expanded",
		Text: fmt.Sprintf("change %s is %s, the candidate needs it expanded", c.ID, st),
		Met:  st == rollout.Expanded, How: "run gapless expand first", Else: rollout.Refused,
	}
}

// apart holds where the changes of one release share no column with each other,
// nor with what another one holds in the database.
func apart(in Input) []Precondition {
	var ps []Precondition
	for i, c := range in.Changes {
		for _, before := range in.Changes[:i] {
			if shared := c.Shares(before); len(shared) > 0 {
				ps = append(ps, Precondition{
					Need: "the changes of a release share no column",
					Text: fmt.Sprintf("changes %s and %s both hold %s", before.ID, c.ID, change.Columned(shared, c.Table)),
					How:  "make one change of them, or release them one after the other", Else: rollout.Refused,
				})
			}
		}
		for _, k := range in.Facts[c.ID].Others {
			if p := heldBy(in, c, k); !p.Met {
				ps = append(ps, p)
			}
		}
	}
	return ps
}

// heldBy holds unless another change than those of this release, and those that
// the record owes, holds the columns.
func heldBy(in Input, c change.Change, k change.Known) Precondition {
	is := func(o change.Change) bool { return o.ID == k.ID }
	p := Precondition{
		Need: "change " + c.ID + " shares no column with another one",
		Text: fmt.Sprintf("change %s touches %s, held by change %s of service %s, which is %s since %s",
			c.ID, change.Columned(k.Columns, k.Table), k.ID, k.Service, k.State, clock(k.Since)),
		Met: slices.ContainsFunc(in.Changes, is) || slices.ContainsFunc(in.Owed, is), Else: rollout.Refused,
	}
	switch {
	case k.Service != in.Config.Service:
		p.Met, p.How = false, "wait until it is contracted or taken back, or agree with those who release "+k.Service
	case slices.ContainsFunc(in.Left, is):
		p.How = "take it back first: " + again
	default:
		p.How = "end it first: gapless status shows where it stands"
	}
	return p
}

// untangled holds where no change of this release touches columns of one that
// an earlier release left to be contracted.
func untangled(in Input) []Precondition {
	var ps []Precondition
	for _, c := range in.Changes {
		for _, owed := range in.Owed {
			if shared := c.Shares(owed); len(shared) > 0 {
				ps = append(ps, Precondition{
					Need: "change " + c.ID + " shares no column with a change that waits for contract",
					Text: fmt.Sprintf("change %s touches %s of table %s, which change %s holds until its contract", c.ID, strings.Join(shared, ", "), c.Table, owed.ID),
					How:  "run gapless contract for " + owed.ID + " first", Else: rollout.Refused,
				})
			}
		}
	}
	return ps
}

// standing holds for the phases that need a candidate beside stable.
func standing(in Input) []Precondition {
	if in.State == nil {
		return []Precondition{{
			Need: "a rollout is under way",
			Text: "no rollout is under way", How: "begin one with gapless deploy", Else: rollout.Refused,
		}}
	}
	if settledByThis(in) {
		return nil
	}
	return []Precondition{allows(in), undrifted(in)}
}

// holdable holds where there is a rollout to hold, whatever became of the
// platform.
func holdable(in Input) []Precondition {
	if ps := standing(in); len(ps) > 0 {
		return ps[:1]
	}
	return nil
}

// settledByThis holds where the record has reached the end that the phase
// leads to, so that running it once more is done at once.
func settledByThis(in Input) bool {
	s := in.State
	if s.Stage != rollout.StageSettled {
		return false
	}
	return s.WentBack || in.Request.Phase == rollout.Retire
}

func promotable(in Input) []Precondition {
	s := in.State
	if s == nil || s.Stage == rollout.StageSettled {
		return nil
	}
	var ps []Precondition
	if steps := in.steps(); in.Request.To != 0 {
		ps = append(ps, Precondition{
			Need: in.Request.To.String() + " is a step of the rollout",
			Text: fmt.Sprintf("%s is not a step of the rollout: %s", in.Request.To, join(steps)),
			Met:  contains(steps, in.Request.To),
			How:  "name one of the steps", Else: rollout.Refused,
		})
	}
	ps = append(ps, accepting(in)...)
	cand, side := in.candidate()
	st := in.Seen.Sides[side]
	ps = append(ps, Precondition{
		Need: "every instance of the candidate is ready",
		Text: fmt.Sprintf("%d of %d instances of candidate %s are ready", st.Ready, st.Desired, cand),
		Met:  st.Ready >= st.Desired && st.Desired > 0 || in.weight() > 0,
		How:  "see why with gapless status; gapless deploy starts them again", Else: rollout.Stopped,
	})
	return append(ps, gate(in)...)
}

// accepting holds where there is something that a person can take upon
// themselves.
func accepting(in Input) []Precondition {
	if in.Request.Accept == "" {
		return nil
	}
	p := Precondition{
		Need: "an inconclusive verdict is there to accept",
		Text: "only an inconclusive verdict can be accepted, and there is none",
		How:  fmt.Sprintf("run %s without accepting", in.Request.Phase), Else: rollout.Refused,
	}
	if s := in.State; s != nil && !in.Fresh {
		p.Text += " at " + s.Weight.String()
		begun := s.Begun != nil && s.BegunPhase == in.Request.Phase && s.Begun.Accepted == in.Request.Accept
		p.Met = s.Judged != nil && s.Judged.Verdict == string(verdict.Inconclusive) || s.Accepted || begun
	}
	return []Precondition{p}
}

func retirable(in Input) []Precondition {
	s := in.State
	if s == nil || s.Stage != rollout.StageLive {
		return nil
	}
	open := s.LiveSince.Add(in.Config.RollbackWindow)
	return []Precondition{
		{
			Need: "the candidate passed at 100%",
			Text: "the verdict at 100% is still to come",
			Met:  passed(*s, rollout.Full),
			How:  "run gapless " + NextOf(in).Command(), Else: rollout.Waiting,
		},
		{
			Need: "the rollback window is over",
			Text: "the rollback window is open until " + clock(open),
			Met:  !in.Now().Before(open),
			How:  "run gapless retire after that; until then the way back is a matter of seconds", Else: rollout.Waiting,
		},
	}
}

func returnable(in Input) []Precondition {
	return []Precondition{{
		Need: "the platform carries gapless's mark",
		Text: "the platform carries no mark of gapless",
		Met:  in.Seen.Mark != nil,
		How:  "a first gapless deploy stamps it", Else: rollout.Refused,
	}}
}

func allows(in Input) Precondition {
	s := in.State
	// A first release has no bake to wait for: deploy itself settles it. A
	// rolling update's deploy brings the last batch to its verdict.
	deploys := in.Request.Phase == rollout.Deploy && s.Stage == rollout.StageLive && (in.firstRelease() || in.rolling())
	// Promote is not how a rolling update goes on.
	other := in.Request.Phase == rollout.Promote && in.rolling()
	return Precondition{
		Need: fmt.Sprintf("rollout %s allows %s", s.Rollout, in.Request.Phase),
		Text: fmt.Sprintf("rollout %s is %s, which does not allow %s", s.Rollout, s.Stage, in.Request.Phase),
		Met:  (s.Stage.Allows(in.Request.Phase) || deploys) && !other,
		How:  "next is gapless " + NextOf(in).Command(), Else: rollout.Refused,
	}
}

func gate(in Input) []Precondition {
	if in.Gate == nil {
		return nil
	}
	return []Precondition{{
		Need: "gate " + in.Gate.Name + " is open",
		Text: "gate " + in.Gate.Name + " is shut: " + in.Gate.Why, Met: in.Gate.Open,
		How: in.Gate.How, Else: rollout.Waiting,
	}}
}

// changeState is the state of a change by the database where it was looked
// at, else by the record.
func (in Input) changeState(id string) rollout.ChangeState {
	if f, ok := in.Facts[id]; ok && f.State != "" {
		return f.State
	}
	if in.State != nil {
		return in.State.ChangeOf(id)
	}
	return rollout.Absent
}
