package config

import (
	"fmt"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// LocalSpec is all that the agent starts an instance of one revision from. With
// the id and the number of instances, a local revision's digest is made of it.
type LocalSpec struct {
	Command []string          `json:"command"`
	Dir     string            `json:"dir,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	PortEnv string            `json:"port_env"`
	Health  Path              `json:"health"`
	// NoTraffic is set for a service that takes none, such as a worker.
	NoTraffic bool `json:"no_traffic,omitempty"`
}

// Spec describes the revision with this id for the target's platform.
func (c *Config) Spec(revision string) (rollout.Spec, error) {
	if c.Target.Kubernetes != nil {
		return c.Target.Kubernetes.spec(revision)
	}
	local := c.Target.Local
	if local == nil {
		return rollout.Spec{}, fmt.Errorf("target %s is not supported by this build", c.Target.Kind())
	}
	p, err := local.For(revision)
	if err != nil {
		return rollout.Spec{}, err
	}
	return rollout.NewSpec(revision, local.Instances, LocalSpec{
		Command: p.Command, Dir: p.Dir, Env: p.Env, PortEnv: local.PortEnv, Health: local.Health,
		NoTraffic: c.Traffic == TrafficNone,
	})
}
