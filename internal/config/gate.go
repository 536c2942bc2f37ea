package config

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
	// A GitHub environment with required reviewers, in which the phase's job runs.
	Environment string `yaml:"environment" jsonschema:"minLength=1"`
	// The least permission on the repository of a person whose comment on the pull request lets the phase through.
	Comment Permission `yaml:"comment"`
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
