package main

import "github.com/gapless-deploy/gapless/internal/rollout"

// strategy is how the new revision takes over.
type strategy string

const (
	canary    strategy = "canary"
	blueGreen strategy = "blue-green"
	rolling   strategy = "rolling"
)

func strategies() []strategy { return []strategy{canary, blueGreen, rolling} }

// title is what a release by it is called.
func (s strategy) title() string {
	switch s {
	case blueGreen:
		return "A blue-green release"
	case rolling:
		return "A rolling update"
	case canary:
	}
	return "A canary release"
}

// step is one phase of a release.
type step struct {
	args []string
	// midway is the candidate's weight while the phase is at it, for those that
	// strike it then; 0 where nothing does.
	midway rollout.Weight
}

// steps are the phases of a release, in their order.
func (s strategy) steps() []step {
	steps := []step{{args: []string{"expand", "--revision", newRevision}}}
	deploy := []string{"deploy", "--revision", newRevision}
	switch s {
	case canary:
		steps = append(steps, step{args: deploy},
			step{args: []string{"promote", "--to", "1"}},
			step{args: []string{"promote", "--to", "5"}},
			step{args: []string{"promote", "--to", "25"}, midway: 250},
			step{args: []string{"promote", "--to", "50"}},
			step{args: []string{"promote", "--to", "100"}})
	case blueGreen:
		steps = append(steps, step{args: deploy}, step{args: []string{"promote"}, midway: rollout.Full})
	case rolling:
		steps = append(steps, step{args: deploy, midway: rollout.PartOf(1, instances)})
	}
	return append(steps, step{args: []string{"retire"}}, step{args: []string{"contract"}})
}

// switched names a change of the candidate's weight.
func (s strategy) switched(from, to rollout.Weight) string {
	switch {
	case s != rolling:
		return "switch " + from.String() + " to " + to.String()
	case to < from:
		return "back to " + to.String()
	}
	return "batch to " + to.String()
}
