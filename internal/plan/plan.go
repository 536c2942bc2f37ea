// Package plan decides what a phase does next. Its functions are pure: they
// are told what the record says, what was observed and what was asked for, and
// answer with one step, or with how the phase ends.
//
// A phase asks again after every step, so nothing is kept between two
// decisions but the record and what is observed. That is what lets a killed
// phase go on where it stopped.
package plan

import (
	"fmt"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// Request is what was asked of a phase.
type Request struct {
	Phase rollout.Phase
	// To is the weight that promote goes to; 0 is the next step.
	To rollout.Weight
	// Accept says why a person takes upon themselves what is not known: an
	// inconclusive verdict at promote, signals that cannot be read at contract.
	Accept string
	// Reason says why a person rolls back, holds or adopts.
	Reason string
	// Supersede ends another rollout that is under way before a new one begins.
	Supersede bool
	// Schema says what a rollback does about the schema; empty keeps it.
	Schema rollout.SchemaOnBack
	// Change names the one to restore.
	Change string
}

// Input is all that a decision is made from.
type Input struct {
	Request Request
	Config  *config.Config
	// Changes are this rollout's; Owed those of earlier ones whose contract is
	// still to come.
	Changes []change.Change
	Owed    []change.Change
	// Left are changes of rollouts that went back, which the schema still has
	// something of and this rollout does not bring again.
	Left []change.Change
	// Known is the change to restore, as the database has it; nil where it has
	// none of that name.
	Known *change.Change
	// Spec is the revision asked for by a phase that may open a rollout; zero
	// in the others.
	Spec rollout.Spec
	// Opening is what a new record would begin with.
	Opening rollout.Opened
	// State is nil where no record exists.
	State *rollout.State
	// Meant is set where the job named the rollout that State is of.
	Meant bool
	// Unchanged is set where config and changes on disk are those that State was
	// opened with.
	Unchanged bool
	// Edited are the changes whose files on disk are not those that State was
	// opened with, and that the job that names no rollout may mean.
	Edited []string
	// Lost is set where the record that the platform's head names cannot be read.
	Lost bool
	// Unread is set where it cannot be read now: its store does not answer.
	Unread bool
	// Fresh is set while State is of the rollout before, and Changes belong to
	// the one that is to be opened.
	Fresh bool
	Seen  rollout.Observation
	// Facts and Usage are the database's, by change; a change not looked at is
	// absent.
	Facts map[string]change.Facts
	Usage map[string]change.Usage
	// Claimed is set once this run of the phase has said in the database what the
	// service uses.
	Claimed bool
	// Survey is what was found of the schema once a way back had moved the
	// traffic; nil until it was looked at.
	Survey *Survey
	// Verified holds what verification found in this run of the phase.
	Verified map[string]change.Evidence
	// Judgement was made from the newest counts, nil before the first look.
	Judgement *verdict.Judgement
	// WentBack is set once this run of the phase has given all traffic back.
	WentBack bool
	// Failed says why a candidate did not come up, empty while none failed.
	Failed string
	// Refilled is set once this run of the phase has tried to bring stable back
	// to its full strength.
	Refilled bool
	// Successor is what the rollout needs that is to supersede the open one;
	// nil where none is.
	Successor []Precondition
	// Gate is what was found at the phase's gate, nil where none is in force.
	Gate *GateCheck
}

// GateCheck is what was found at a gate.
type GateCheck struct {
	Name     string
	Open     bool
	Approval string
	// Why and How are for people: why it is shut, and how it is opened.
	Why, How string
}

// Survey is a look at the schema. What it found is in Input.Facts.
type Survey struct {
	// Problem says why it could not be looked at, Hint what to do; empty where it
	// could.
	Problem, Hint string
}

// Now is the platform's time, by which all waiting is measured.
func (in Input) Now() time.Time { return in.Seen.At }

// Decision is the next step or, where Step is nil, how the phase ends.
type Decision struct {
	Step Step
	End  End
}

// End is how a phase ends.
type End struct {
	Outcome rollout.Outcome
	Reason  string
	Hint    string
}

func do(s Step) Decision { return Decision{Step: s} }

func end(outcome rollout.Outcome, reason, hint string) Decision {
	return Decision{End: End{Outcome: outcome, Reason: reason, Hint: hint}}
}

// Decide gives the next step of the phase asked for.
func Decide(in Input) Decision {
	switch in.Request.Phase {
	case rollout.Rollback:
		return decideRollback(in)
	case rollout.Adopt:
		return decideAdopt(in)
	default:
	}
	if d, ok := unfinishedBack(in); ok {
		return d
	}
	if in.Failed != "" && !in.WentBack {
		return fault(in, in.Failed, nil)
	}
	if d, ok := doneBefore(in); ok {
		return d
	}
	for _, p := range Preconditions(in) {
		if !p.Met {
			return end(p.Else, p.Text, p.How)
		}
	}
	if in.superseding() {
		return supersede(in)
	}
	switch in.Request.Phase {
	case rollout.Expand:
		return decideExpand(in)
	case rollout.Deploy:
		return decideDeploy(in)
	case rollout.Promote:
		return decidePromote(in)
	case rollout.Tick:
		return decideTick(in)
	case rollout.Retire:
		return decideRetire(in)
	case rollout.Contract:
		return decideContract(in)
	case rollout.Hold:
		return decideHold(in)
	case rollout.Restore:
		return decideRestore(in)
	case rollout.Plan, rollout.Rollback, rollout.Adopt:
	}
	return end(rollout.Refused, fmt.Sprintf("%q is not a phase that acts", in.Request.Phase), "")
}

// opening is the opening entry of the rollout that the phase is about: the one under
// way or settled, or the one that it would open.
func (in Input) opening() rollout.Opened {
	if in.State == nil || in.Fresh {
		return in.Opening
	}
	return in.State.Opening
}

// Exposes reports whether the phase asked for gives the candidate traffic, and
// so stands behind gate promote.
func (in Input) Exposes(p rollout.Phase) bool {
	o := in.opening()
	return o.Strategy.Exposes(p, o.Stable.Zero())
}

// candidate names the rollout's candidate and its side by the record.
func (in Input) candidate() (rollout.Revision, rollout.Side) {
	return in.State.Opening.Candidate, in.State.Opening.Side
}

// weight is the candidate's share as observed.
func (in Input) weight() rollout.Weight {
	_, side := in.candidate()
	return in.Seen.Split.Of(side)
}

// firstRelease reports whether there is no stable revision to go back to.
func (in Input) firstRelease() bool { return in.State.Opening.Stable.Zero() }

// rolling reports whether instances are replaced, by the platform's mark where
// no record tells.
func (in Input) rolling() bool {
	if in.State == nil || in.State.Stage == rollout.StageSettled {
		return in.Seen.Mark != nil && in.Seen.Mark.Strategy == rollout.Rolling
	}
	return in.State.Opening.Strategy == rollout.Rolling
}
