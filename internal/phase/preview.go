package phase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// Preview is what a release would do, found out without changing anything.
type Preview struct {
	Opening rollout.Opened
	// Steps are the weights the candidate passes, each with its outlook.
	Steps []StepOutlook
	// Traffic is what stable serves now; zero where the meter knows nothing.
	Traffic verdict.Traffic
	Changes []ChangePreview
	// Unmet are the preconditions of the first phase that do not hold.
	Unmet []plan.Precondition
	// Next is the first phase.
	Next plan.Next
	// Rollout is the id of the rollout that it would open or that is under way.
	Rollout    string
	PlanDigest string
	// GateDigest binds the approval of the first phase; empty where it has no
	// gate.
	GateDigest string
	Warnings   []string
	Seen       rollout.Observation
}

// StepOutlook says how long one weight takes at the traffic seen.
type StepOutlook struct {
	Weight rollout.Weight
	verdict.Outlook
}

// ChangePreview is a change with what the database says of it.
type ChangePreview struct {
	Change change.Change
	Facts  change.Facts
}

// trafficWindow is how far back plan looks at what stable serves.
const trafficWindow = time.Hour

// telling is the regression whose detection plan foretells: from nothing to
// one request in a hundred.
const telling = 0.01

// Preview looks at config, changes, platform and database.
func (r *Runner) Preview(ctx context.Context, work Work) (Preview, error) {
	work.Request.Phase = rollout.Plan
	s, err := r.enter(ctx, work)
	if err != nil {
		return Preview{}, err
	}
	if s.supersedes() {
		s.warn(plan.Superseded(*s.in.State, s.in.Spec.Revision))
		warned := s.warnings
		if s, err = s.successor(ctx); err != nil {
			return Preview{}, err
		}
		s.warnings = warned
	}
	p := Preview{Opening: s.in.Opening, Seen: s.in.Seen, Warnings: s.warnings}
	p.Next = plan.Next{Phase: rollout.Deploy, Asked: "begin the rollout"}
	for _, c := range s.in.Changes {
		p.Next.Phase = rollout.Expand
		p.Changes = append(p.Changes, ChangePreview{Change: c, Facts: s.in.Facts[c.ID]})
	}
	if !s.in.Fresh {
		p.Next.Asked = "go on with rollout " + s.in.State.Rollout
	}
	s.in.Request.Phase = p.Next.Phase
	for _, pre := range plan.Preconditions(s.in) {
		if !pre.Met {
			p.Unmet = append(p.Unmet, pre)
		}
	}
	if p.PlanDigest, err = s.planDigest(p.Opening); err != nil {
		return p, err
	}
	if p.Rollout, err = s.rolloutID(); err != nil {
		return p, err
	}
	if !s.in.Fresh {
		p.Rollout = s.in.State.Rollout
	}
	if p.GateDigest, err = s.nextGateDigest(p.Next); err != nil {
		return p, err
	}
	p.Next = p.Next.Waiting(s.in, s.gateOf(p.Next.Phase, p.Next.To))
	s.outlives(&p)
	s.lint(ctx, &p)
	s.foretell(ctx, &p)
	return p, nil
}

// outlives warns of a store that forgets the record before the rollout can be
// over.
func (s *session) outlives(p *Preview) {
	store, ok := s.r.Store.(interface{ Retention() time.Duration })
	if !ok {
		return
	}
	needed := s.in.Config.RollbackWindow
	for _, c := range s.in.Changes {
		needed = max(needed, s.in.Config.RollbackWindow+c.QuietFor)
	}
	if keeps := store.Retention(); keeps > 0 && keeps < needed {
		p.Warnings = append(p.Warnings, fmt.Sprintf(
			"the record is kept for %s, the rollout needs it for %s at least: keep artifacts for longer", keeps, needed))
	}
}

// lint tells what of the platform's own objects costs requests; a platform that
// has none says nothing.
func (s *session) lint(ctx context.Context, p *Preview) {
	platform, ok := s.r.Platform.(interface {
		Lints(ctx context.Context) ([]string, error)
	})
	if !ok {
		return
	}
	lints, err := platform.Lints(ctx)
	if err != nil {
		lints = append(lints, fmt.Sprintf("what the platform's objects cost is not known: %v", err))
	}
	p.Warnings = append(p.Warnings, lints...)
}

// foretell says how long the steps take at the traffic seen.
func (s *session) foretell(ctx context.Context, p *Preview) {
	if p.Opening.Stable.Zero() || s.in.Config.Traffic == config.TrafficNone {
		return
	}
	window := rollout.Window{Since: s.in.Now().Add(-trafficWindow), Seen: s.in.Seen}
	samples, err := s.r.Meter.Counts(ctx, window, p.Opening.Stable)
	if err != nil {
		p.Warnings = append(p.Warnings, fmt.Sprintf("what stable serves is not known: %v", err))
		return
	}
	p.Traffic = traffic(samples)
	if p.Traffic.PerMinute == 0 {
		p.Warnings = append(p.Warnings, "stable serves nothing now: without traffic no step can pass")
		return
	}
	for _, w := range s.in.Config.Strategy.Weights(p.Opening.Spec.Instances) {
		t := p.Traffic
		t.Weight = int(w)
		p.Steps = append(p.Steps, StepOutlook{w, verdict.Power(t, limits(s.in.Config), telling)})
	}
}

// traffic sums up what one revision was seen to serve.
func traffic(samples []verdict.Sample) verdict.Traffic {
	var requests, errors, slow int64
	var from, to time.Time
	for _, sample := range samples {
		requests, errors, slow = requests+sample.Requests, errors+sample.Errors, slow+sample.Slow
		if from.IsZero() || sample.From.Before(from) {
			from = sample.From
		}
		if sample.To.After(to) {
			to = sample.To
		}
	}
	if minutes := to.Sub(from).Minutes(); minutes > 0 && requests > 0 {
		n := float64(requests)
		return verdict.Traffic{PerMinute: n / minutes, Errors: float64(errors) / n, Slow: float64(slow) / n}
	}
	return verdict.Traffic{}
}

// Status is record and reality side by side.
type Status struct {
	Result
	// Drift says in what way somebody else changed the platform.
	Drift string
	// Has is what gapless has in the database; nil where it was not looked at, and
	// Unseen says why it could not be.
	Has    *change.Inventory
	Unseen error
}

// statusOnly stands for a phase where none is asked for.
const statusOnly rollout.Phase = "status"

// Status finds out where the service stands. It changes nothing, and goes by
// the platform alone where the record is lost.
func (r *Runner) Status(ctx context.Context, work Work) (Status, error) {
	work.Request.Phase = statusOnly
	s, err := r.enter(ctx, work)
	if err != nil {
		return Status{}, err
	}
	st := Status{Result: s.result(plan.End{Outcome: rollout.Done}, s.lost)}
	st.Drift = plan.Drift(s.in.State, s.in.Seen)
	st.Has, st.Unseen = s.inventory(ctx)
	return st, nil
}

// lookForStatus is how long status waits for the database.
const lookForStatus = 5 * time.Second

// inventory is what gapless has in the database; nil where the config names none.
func (s *session) inventory(ctx context.Context) (*change.Inventory, error) {
	if s.in.Config == nil || s.in.Config.Schema == nil || s.r.OpenDatabase == nil {
		return nil, nil //nolint:nilnil // there is nothing to look at
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lookForStatus, fmt.Errorf("no answer within %s", lookForStatus))
	defer cancel()
	if err := s.openDatabase(ctx); errors.Is(err, rollout.ErrInput) {
		return nil, nil //nolint:nilnil // this machine was not given the way to it
	} else if err != nil {
		return nil, err
	}
	has, err := s.db.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	return &has, nil
}

// Ability is what a phase needs to run now.
type Ability struct {
	Preconditions []plan.Precondition
	// GateDigest is what an approval of it has to be bound to; empty where it
	// stands behind no gate.
	GateDigest string
}

// Can lists the preconditions of the phase that work asks for, met or not.
func (r *Runner) Can(ctx context.Context, work Work) (Ability, error) {
	s, err := r.enter(ctx, work)
	if err != nil {
		return Ability{}, err
	}
	a := Ability{Preconditions: append(plan.Preconditions(s.in), s.in.Successor...)}
	p := work.Request.Phase
	if m := s.in.Seen.Mark; m.Busy(r.Holder, s.in.Now()) && !s.preempts() {
		busy := &BusyError{*m.Lease}
		a.Preconditions = append(a.Preconditions, plan.Precondition{
			Need: "nobody else works on the service", Text: busy.Error(), How: busy.Hint(), Else: rollout.Waiting,
		})
	}
	next := plan.Next{Phase: p, To: work.Request.To}
	if p == rollout.Promote && s.in.State != nil {
		next.To = plan.Goal(s.in)
	}
	a.GateDigest, err = s.nextGateDigest(next)
	return a, err
}
