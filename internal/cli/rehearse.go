package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/report"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// rehearseFlags ask for a rehearsal.
type rehearseFlags struct {
	Rehearse   bool   `help:"Run the changes on an empty copy of the schema, and show what each statement locks and rewrites."`
	RehearseOn string `placeholder:"ENV" help:"Rehearse on the scratch database whose URL is in this environment variable; it is used up."`
}

func (f rehearseFlags) wanted() bool { return f.Rehearse || f.RehearseOn != "" }

// rehearse rehearses the changes of a preview, in which it notes what keeps them
// from being made.
func (f rehearseFlags) rehearse(ctx context.Context, env *environment, r *release, p *phase.Preview) ([]change.Rehearsal, error) {
	if !f.wanted() {
		return nil, nil
	}
	if len(p.Changes) == 0 {
		p.Warnings = append(p.Warnings, "there is no change to rehearse")
		return nil, nil
	}
	scratch := ""
	if f.RehearseOn != "" {
		if scratch = env.Getenv(f.RehearseOn); scratch == "" {
			return nil, &inputError{fmt.Errorf("%s is not set: it holds the URL of the scratch database", f.RehearseOn), "set it in the environment of this command"}
		}
		env.out.hideURL(scratch)
	}
	opened, err := r.runner.OpenDatabase(ctx)
	if err != nil {
		return nil, fmt.Errorf("rehearse: %w", err)
	}
	db, ok := opened.(interface {
		Rehearse(ctx context.Context, changes []change.Change, scratch string) ([]change.Rehearsal, error)
	})
	if !ok {
		return nil, errors.New("rehearse: the database cannot")
	}
	changes := make([]change.Change, len(p.Changes))
	for i, c := range p.Changes {
		changes[i] = c.Change
	}
	all, err := db.Rehearse(ctx, changes, scratch)
	if refused, ok := errors.AsType[*database.UnrehearsedError](err); ok {
		p.Unmet = append(p.Unmet, unrehearsed(refused.Error(), refused.Hint()))
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("rehearse: %w", err)
	}
	for _, r := range all {
		for _, refusal := range r.Refusals {
			p.Unmet = append(p.Unmet, unrehearsed(fmt.Sprintf("change %s: %s", r.Change, refusal), ""))
		}
	}
	return all, nil
}

func unrehearsed(text, how string) plan.Precondition {
	return plan.Precondition{Need: "the rehearsal of each change locks nobody out and rewrites nothing", Text: text, How: how, Else: rollout.Refused}
}

// showRehearsals puts rehearsals beside the changes that they are of.
func showRehearsals(v *report.PlanView, all []change.Rehearsal) {
	for _, r := range all {
		for i := range v.Changes {
			if v.Changes[i].ID != r.Change {
				continue
			}
			shown := report.PlanRehearsal{Skipped: r.Skipped}
			for _, s := range r.Statements {
				line := report.PlanStatement{
					Part: string(s.Part), Step: s.Step, Statement: s.Statement, Rewrites: s.Rewrites, Under: s.Under, Took: s.Took, Held: s.Held,
				}
				for _, l := range s.Locks {
					line.Locks = append(line.Locks, l.String())
				}
				shown.Statements = append(shown.Statements, line)
			}
			v.Changes[i].Rehearsal = &shown
		}
	}
}
