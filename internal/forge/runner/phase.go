package runner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gapless-deploy/gapless/internal/document"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// What a step can do besides the phases of a release.
const (
	Command  rollout.Phase = "command"
	Status   rollout.Phase = "status"
	Can      rollout.Phase = "can"
	Validate rollout.Phase = "validate"
)

// Phases lists what the input "phase" may be: the phases of a release in their
// order, then the rest.
func Phases() []rollout.Phase {
	return append(rollout.Phases(), Command, Status, Can, Validate)
}

// Phase gives what the step is to do. The error says which phases there are.
func (e Env) Phase() (rollout.Phase, error) {
	p := rollout.Phase(e.Input(InputPhase))
	if slices.Contains(Phases(), p) {
		return p, nil
	}
	names := namesOf(Phases())
	if p == "" {
		return "", fmt.Errorf("input phase is missing, expected one of %s", strings.Join(names, ", "))
	}
	if near := document.DidYouMean(string(p), names); near != "" {
		return "", fmt.Errorf("input phase: %q is not a phase, %s", p, near)
	}
	return "", fmt.Errorf("input phase: %q is not a phase, expected one of %s", p, strings.Join(names, ", "))
}

func namesOf(phases []rollout.Phase) []string {
	names := make([]string, len(phases))
	for i, p := range phases {
		names[i] = string(p)
	}
	return names
}
