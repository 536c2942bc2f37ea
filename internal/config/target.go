package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Target is the platform a service runs on; exactly one is given.
type Target struct {
	// A single host under gapless agent.
	Local *Local `yaml:"local"`
	// A Kubernetes deployment.
	Kubernetes *Kubernetes `yaml:"kubernetes"`
	// An Amazon ECS service behind a load balancer.
	ECS *ECS `yaml:"ecs"`
	// An AWS Lambda function behind an alias.
	Lambda *Lambda `yaml:"lambda"`
}

// Local is a service under gapless agent, on one host.
type Local struct {
	// The agent's admin API: http://127.0.0.1:port, unix:///path of its socket, or https://host:port of a proxy in front of it.
	Agent string `yaml:"agent,required" jsonschema:"pattern=^(https?|unix)://"`
	// The environment variable that holds the agent's bearer token. Default GAPLESS_AGENT_TOKEN.
	TokenEnv string `yaml:"token_env" jsonschema:"pattern=^[A-Za-z_][A-Za-z0-9_]*$"`
	// The environment variable that holds the authorities to trust when the agent is reached by https, in PEM. Where it is not set, those that the machine trusts. Default GAPLESS_AGENT_CA.
	CAEnv string `yaml:"ca_env" jsonschema:"pattern=^[A-Za-z_][A-Za-z0-9_]*$"`
	// The program and its arguments. {revision} stands for the revision's id.
	Command []string `yaml:"command,required" jsonschema:"minItems=1"`
	// The directory in which the program starts; {revision} may be in it. Default: the agent's own.
	Dir string `yaml:"dir"`
	// Further environment variables of the program; {revision} may be in a value. Secrets belong into the agent's own environment, which the program inherits.
	Env map[string]string `yaml:"env"`
	// The environment variable in which the program finds the port to listen on. Default PORT.
	PortEnv string `yaml:"port_env" jsonschema:"pattern=^[A-Za-z_][A-Za-z0-9_]*$"`
	// How many instances serve, 1 to 100. Default 1.
	Instances int `yaml:"instances" jsonschema:"minimum=1,maximum=100"`
	// The path that answers 200 once an instance is ready, and as long as it is well.
	Health Path `yaml:"health,required"`
}

// ECS is a service whose listener rule divides traffic between target groups.
type ECS struct {
	// The cluster's name or ARN.
	Cluster string `yaml:"cluster,required"`
	// The service's name.
	Service string `yaml:"service,required"`
	// ARN of the rule that divides the traffic.
	ListenerRule string `yaml:"listener_rule"`
	// ARNs of the blue and the green target group.
	TargetGroups []string `yaml:"target_groups" jsonschema:"minItems=2,maxItems=2"`
	// The container that carries the revision's image.
	Container string `yaml:"container"`
}

// Lambda is a function whose alias divides traffic between versions.
type Lambda struct {
	// The function's name.
	Function string `yaml:"function,required"`
	// The alias that callers use.
	Alias string `yaml:"alias,required"`
}

// DefaultTokenEnv holds the agent's bearer token unless token_env says
// otherwise.
const DefaultTokenEnv = "GAPLESS_AGENT_TOKEN" //nolint:gosec // G101: the variable's name, no credential

// defaultCAEnv holds the authorities to trust unless ca_env says otherwise.
const defaultCAEnv = "GAPLESS_AGENT_CA"

// Default fills in what a file may leave out.
func (l *Local) Default() {
	l.TokenEnv = DefaultTokenEnv
	l.CAEnv = defaultCAEnv
	l.PortEnv = "PORT"
	l.Instances = 1
}

// Kind is the key the target is given under: local, kubernetes, ecs or lambda.
func (t Target) Kind() string {
	given := t.kinds()
	if len(given) != 1 {
		return ""
	}
	return given[0]
}

func (t Target) kinds() []string {
	var given []string
	for _, one := range []struct {
		name string
		set  bool
	}{
		{"local", t.Local != nil},
		{"kubernetes", t.Kubernetes != nil},
		{"ecs", t.ECS != nil},
		{"lambda", t.Lambda != nil},
	} {
		if one.set {
			given = append(given, one.name)
		}
	}
	return given
}

// String names the place for people and for digests: two configs of one string
// release to one place.
func (t Target) String() string {
	switch t.Kind() {
	case "local":
		return "local " + t.Local.Agent
	case "kubernetes":
		return fmt.Sprintf("kubernetes %s/%s", t.Kubernetes.Namespace, t.Kubernetes.Deployment)
	case "ecs":
		return fmt.Sprintf("ecs %s/%s", t.ECS.Cluster, t.ECS.Service)
	case "lambda":
		return fmt.Sprintf("lambda %s:%s", t.Lambda.Function, t.Lambda.Alias)
	default:
		return "none"
	}
}

// Program is what the agent starts for one revision.
type Program struct {
	Command []string
	Dir     string
	Env     map[string]string
}

// For gives the program of the revision with this id. The id is refused unless
// it is safe within a path and an argument, see rollout.ParseRevisionID.
func (l *Local) For(revision string) (Program, error) {
	id, err := rollout.ParseRevisionID(revision)
	if err != nil {
		return Program{}, err
	}
	fill := func(s string) string { return strings.ReplaceAll(s, "{revision}", id) }
	p := Program{Dir: fill(l.Dir), Env: make(map[string]string, len(l.Env))}
	for _, argument := range l.Command {
		p.Command = append(p.Command, fill(argument))
	}
	for name, value := range l.Env {
		p.Env[name] = fill(value)
	}
	return p, nil
}

var placeholder = regexp.MustCompile(`\{[a-z][a-z_]*\}`)

// unknownPlaceholder gives the first {word} in s that is not {revision}.
func unknownPlaceholder(s string) string {
	for _, found := range placeholder.FindAllString(s, -1) {
		if found != "{revision}" {
			return found
		}
	}
	return ""
}

// namesRevision reports whether two revisions would be started differently.
func (l *Local) namesRevision() bool {
	texts := slices.Concat(l.Command, []string{l.Dir}, slices.Collect(maps.Values(l.Env)))
	return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, "{revision}") })
}
