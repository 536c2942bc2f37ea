package kubernetes

import "fmt"

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
