// Package supervisor keeps the instances of a revision running: each is a
// process with a port of its own, asked for its health, started again when it
// ends, and drained before it is ended by us.
//
// Instances outlive an agent that is killed, so that the service goes on; the
// agent that is started next takes them over by what [Process] tells, or ends
// those it does not know (see [Supervisor.Sweep]).
package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// ownerEnv marks each instance with the agent it belongs to.
const ownerEnv = "GAPLESS_AGENT_STATE"

// Options are what a supervisor needs to know.
type Options struct {
	// Owner tells the instances of this agent from those of others; it stays
	// the same over restarts of the agent.
	Owner string
	// Logs is the directory that takes the output of instances, a file for each.
	Logs string
	// HideEnv names variables of the agent that instances must not see.
	HideEnv []string
	Now     func() time.Time
	Log     *slog.Logger
}

// Supervisor starts fleets.
type Supervisor struct {
	opts   Options
	groups *groups
}

// New makes a supervisor and its directory for logs.
func New(opts Options) (*Supervisor, error) {
	if err := os.MkdirAll(opts.Logs, 0o700); err != nil {
		return nil, fmt.Errorf("directory for logs: %w", err)
	}
	return &Supervisor{opts: opts, groups: newGroups(opts.Now)}, nil
}

// Target is an instance as the router knows it. See router.Instance.
type Target interface {
	Ready(ready bool)
	Hold(held bool)
	Drain(ctx context.Context) (cut int)
	Gone()
	InFlight() int
}

// Door makes the target for an instance that answers at address.
type Door func(address string) Target

// Order is what a fleet is made from.
type Order struct {
	Side     api.Side
	Revision api.Revision
	Spec     api.Spec
	// Launch is a number of its own for every launch; names come from it.
	Launch int
	// Places are the numbers of the instances, in order. The first Serving of
	// them may take requests, the others are held.
	Places  []int
	Serving int
	// Known are processes of this very launch that may still run.
	Known []Process
	Door  Door
	// Changed is called, without locks held, when a process began or ended.
	Changed func()
}

// Process is what is kept on disk of a running instance, enough to know it again.
type Process struct {
	Name     string    `json:"name"`
	PID      int       `json:"pid"`
	Start    uint64    `json:"start"` // in clock ticks since boot, from /proc/PID/stat
	Port     int       `json:"port"`
	Restarts int       `json:"restarts,omitempty"`
	Began    time.Time `json:"began"`
}

// FindProgram checks that the command of spec can be started, and returns the
// program's path.
func FindProgram(spec api.Spec) (string, error) {
	program := spec.Command[0]
	if strings.ContainsRune(program, filepath.Separator) && !filepath.IsAbs(program) {
		program = filepath.Join(spec.Dir, program)
		if spec.Dir == "" {
			program = "." + string(filepath.Separator) + program
		}
	}
	if spec.Dir != "" {
		if info, err := os.Stat(spec.Dir); err != nil {
			return "", fmt.Errorf("directory: %w", err)
		} else if !info.IsDir() {
			return "", fmt.Errorf("directory %s: is not a directory", spec.Dir)
		}
	}
	found, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("command: %w", err)
	}
	found, err = filepath.Abs(found)
	if err != nil {
		return "", fmt.Errorf("command %s: %w", program, err)
	}
	return found, nil
}

// environment is the agent's own, less what is hidden, and the spec's.
func (s *Supervisor) environment(spec api.Spec, port int) []string {
	var env []string
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		hidden := name == ownerEnv
		for _, hide := range s.opts.HideEnv {
			hidden = hidden || name == hide
		}
		if !hidden {
			env = append(env, pair)
		}
	}
	for name, value := range spec.Env {
		env = append(env, name+"="+value)
	}
	if spec.PortEnv != "" {
		env = append(env, fmt.Sprintf("%s=%d", spec.PortEnv, port))
	}
	return append(env, ownerEnv+"="+s.opts.Owner)
}
