package kubernetes

import (
	"context"
	"fmt"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// problem says in one line why a pod is not ready.
func problem(one pod) string {
	for _, c := range one.Status.Containers {
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason != "ContainerCreating":
			return fmt.Sprintf("container %s: %s: %s", c.Name, c.State.Waiting.Reason, c.State.Waiting.Message)
		case c.State.Terminated != nil:
			return fmt.Sprintf("container %s ended with status %d", c.Name, c.State.Terminated.ExitCode)
		}
	}
	for _, c := range one.Status.Conditions {
		if c.Status == "False" && c.Message != "" {
			return fmt.Sprintf("%s: %s", c.Reason, c.Message)
		}
	}
	return "starting"
}

// ended says how a pod's container ended last, where it did.
func ended(one pod) string {
	for _, c := range one.Status.Containers {
		if t := c.LastState.Terminated; t != nil {
			return fmt.Sprintf("container %s: %s, status %d", c.Name, t.Reason, t.ExitCode)
		}
	}
	return ""
}

// unready says of a pod that is waited for what keeps it.
func (p *Platform) unready(_ context.Context, one pod, of rollout.Revision) string {
	return fmt.Sprintf("instance %s of %s is not ready: %s", one.Metadata.Name, of, problem(one))
}

// unmade says why there is no pod to wait for.
func (p *Platform) unmade(w world, of rollout.Revision) string {
	return fmt.Sprintf("pods of %s are not there: Deployment %s", of, w.rolled.Metadata.Name)
}
