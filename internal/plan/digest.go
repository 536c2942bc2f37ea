package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Digest binds a plan: what is meant (config, changes, target), which revision
// replaces which, and the structure of the tables touched. It holds no counts,
// times or commits, so that it changes only when the plan does.
func Digest(intent string, candidate, stable rollout.Revision, structures map[string]string) (string, error) {
	return sum("plan", intent, candidate, stable, structures)
}

// GateInput is what somebody approves.
type GateInput struct {
	PlanDigest  string
	Rollout     string
	Phase       rollout.Phase
	To          rollout.Weight
	Environment string
	Head        rollout.Head
	// Dropped names what contract will carry out, each operation with its change.
	Dropped []string
	// Waived is set where unreadable signals are accepted.
	Waived bool
}

// GateDigest binds an approval to one phase of one rollout at one place in its
// record.
func GateDigest(g GateInput) (string, error) {
	slices.Sort(g.Dropped)
	return sum("gate", g)
}

// RolloutID names the rollout of a candidate after the head before it, the
// same each time it is asked.
func RolloutID(candidate rollout.Revision, after rollout.Head) (string, error) {
	d, err := sum("rollout", candidate, after)
	if err != nil {
		return "", err
	}
	return candidate.ID + "-" + d[:6], nil
}

func sum(parts ...any) (string, error) {
	data, err := json.Marshal(parts)
	if err != nil {
		return "", fmt.Errorf("compute digest: %w", err)
	}
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:]), nil
}
