package api

import (
	"errors"
	"fmt"
	"strings"
)

// Spec is the whole definition of a revision's instances.
type Spec struct {
	// Command is the program and its arguments. A program with a slash is
	// found from Dir, one without by PATH. "{port}" in an argument becomes the
	// instance's port.
	Command []string `json:"command"`
	// Env is added to the agent's own environment.
	Env map[string]string `json:"env,omitempty"`
	// Dir is where the command runs; empty for the agent's own directory.
	Dir string `json:"dir,omitempty"`
	// PortEnv names the variable that tells an instance its port.
	PortEnv string `json:"port_env,omitempty"`
	// Instances is how many run, at least 1.
	Instances int `json:"instances"`
	// Health is the path asked for on the instance's port; any 2xx is healthy.
	Health string `json:"health"`
	// HealthEvery is the time between two questions to a ready instance
	// (default 1s; a starting one is asked five times as often, at least every 200ms).
	HealthEvery Duration `json:"health_every,omitempty"`
	// HealthTimeout bounds one answer (default 2s).
	HealthTimeout Duration `json:"health_timeout,omitempty"`
	// NoTraffic is set for a service that answers no requests, such as a worker:
	// its instances are asked for their health and never offered to the router.
	NoTraffic bool `json:"no_traffic,omitempty"`
	// Grace is the time between SIGTERM and SIGKILL (default 10s).
	Grace Duration `json:"grace,omitempty"`
	// SlowOver is the duration above which a request counts as slow; 0 counts
	// none. From a launch on it holds for both sides, so that they compare.
	SlowOver Duration `json:"slow_over,omitempty"`
}

// maxInstances keeps a slip of the finger from taking the host down.
const maxInstances = 256

// Check returns every fault of the definition, joined.
func (s Spec) Check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(s.Command) == 0 || s.Command[0] == "" {
		fault("command: must name a program")
	}
	for _, part := range s.Command {
		if strings.ContainsRune(part, 0) {
			fault("command: %q holds a zero byte", part)
		}
	}
	if s.Instances < 1 || s.Instances > maxInstances {
		fault("instances: %d is not within 1 to %d", s.Instances, maxInstances)
	}
	if !strings.HasPrefix(s.Health, "/") {
		fault("health: %q must be a path that starts with /", s.Health)
	}
	if s.PortEnv == "" && !s.portInCommand() {
		fault("port_env: must name a variable, or the command must contain {port}")
	}
	if strings.ContainsAny(s.PortEnv, "=\x00 ") {
		fault("port_env: %q is not the name of a variable", s.PortEnv)
	}
	for name, value := range s.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			fault("env: %q is not the name of a variable or its value holds a zero byte", name)
		}
	}
	for _, d := range []struct {
		name  string
		value Duration
	}{{"health_every", s.HealthEvery}, {"health_timeout", s.HealthTimeout}, {"grace", s.Grace}, {"slow_over", s.SlowOver}} {
		if d.value < 0 {
			fault("%s: %s must not be negative", d.name, d.value.Std())
		}
	}
	return errors.Join(faults...)
}

func (s Spec) portInCommand() bool {
	for _, part := range s.Command {
		if strings.Contains(part, "{port}") {
			return true
		}
	}
	return false
}
