package config

import "github.com/gapless-deploy/gapless/internal/rollout"

// Gates say who lets a phase through. A phase without a gate runs when its job
// does.
type Gates struct {
	// Before a candidate gets traffic, and at each step.
	Promote *Gate `yaml:"promote"`
	// Before the old form of the schema is removed.
	Contract *Gate `yaml:"contract"`
}

// Gate is an environment or a comment, exactly one.
type Gate struct {
	// A GitHub environment with required reviewers, in which the phase's job runs. Before promote, {to} in its name stands for the weight in percent, so that each step can have its own.
	Environment string `yaml:"environment" jsonschema:"minLength=1"`
	// The least permission on the repository of a person whose comment on the pull request lets the phase through.
	Comment Permission `yaml:"comment"`
	// Whether that person must be another one than the author of the pull request.
	SecondPerson bool `yaml:"second_person"`
}

// InForce gives the gates of a rollout with this config after one whose config
// had those before: a gate that is there stays as it is until the rollout that
// changes it has settled, so that no release lets itself through.
func (g Gates) InForce(before rollout.Gates) rollout.Gates {
	now := g.Rollout()
	if before.Promote != nil {
		now.Promote = before.Promote
	}
	if before.Contract != nil {
		now.Contract = before.Contract
	}
	return now
}

// Rollout gives the gates as a record holds them.
func (g Gates) Rollout() rollout.Gates {
	return rollout.Gates{Promote: g.Promote.rollout(), Contract: g.Contract.rollout()}
}

func (g *Gate) rollout() *rollout.Gate {
	if g == nil {
		return nil
	}
	return &rollout.Gate{Environment: g.Environment, Comment: string(g.Comment), SecondPerson: g.SecondPerson}
}

// Permission is a person's permission on the repository, as GitHub names it.
type Permission string

// The permissions that can carry a gate, rising.
const (
	PermissionWrite    Permission = "write"
	PermissionMaintain Permission = "maintain"
	PermissionAdmin    Permission = "admin"
)

// Values are the texts a file may give.
func (Permission) Values() []string {
	return []string{string(PermissionWrite), string(PermissionMaintain), string(PermissionAdmin)}
}
