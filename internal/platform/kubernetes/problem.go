package kubernetes

import (
	"context"
	"fmt"
	"strings"
)

// diagnosis is why a pod is not ready, as its status tells.
type diagnosis struct {
	text string
	// log is set where what a container said last tells more: its name, and
	// whether it is the one before that said it.
	log      string
	previous bool
	// events is set where the status does not tell, and events may.
	events bool
}

// problem says in one line why a pod is not ready. What its status does not say
// is looked up: the last words of what crashed, and the events of what hangs.
// What cannot be looked up is left out.
func (p *Platform) problem(ctx context.Context, one pod) string {
	d := diagnose(one)
	switch {
	case d.log != "":
		if words := p.lastWords(ctx, one, d.log, d.previous); words != "" {
			return fmt.Sprintf("%s; last words: %q", d.text, words)
		}
	case d.events:
		if event := p.lastWarning(ctx, one); event != "" {
			return d.text + ": " + event
		}
	}
	return d.text
}

// diagnose goes from what comes first in a pod's life to what comes last.
func diagnose(one pod) diagnosis {
	s := one.Status
	if s.Phase == "Failed" && s.Reason != "" {
		return diagnosis{text: fmt.Sprintf("the node ended it: %s", line(s.Reason+": "+s.Message))}
	}
	for _, c := range s.Conditions {
		if c.Type == "PodScheduled" && c.Status == "False" {
			return diagnosis{text: "no node can take it: " + line(c.Message)}
		}
	}
	for _, c := range s.Init {
		if d, bad := broken(one, c); bad {
			d.text = "init " + d.text
			return d
		}
	}
	for _, c := range s.Containers {
		if d, bad := broken(one, c); bad {
			return d
		}
	}
	for _, c := range s.Containers {
		if !c.Ready && c.State.Running != nil {
			return diagnosis{text: fmt.Sprintf("container %s runs and is not ready", c.Name), events: true}
		}
	}
	for _, c := range s.Conditions {
		if c.Type == "Ready" && c.Reason == "ReadinessGatesNotReady" {
			return diagnosis{text: "a readiness gate holds it back: " + line(c.Message)}
		}
	}
	return diagnosis{text: "starting", events: true}
}

// broken tells of a container that cannot start, or that ended.
func broken(one pod, c containerStatus) (d diagnosis, bad bool) {
	if w := c.State.Waiting; w != nil {
		switch w.Reason {
		case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable":
			return diagnosis{text: fmt.Sprintf("container %s: image %s cannot be had: %s", c.Name, c.Image, line(w.Reason+": "+w.Message))}, true
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError":
			return diagnosis{text: fmt.Sprintf("container %s cannot be started: %s", c.Name, line(w.Message))}, true
		case "CrashLoopBackOff": // told below, by how it ended last
		default:
			return d, false
		}
	}
	how, previous := c.State.Terminated, false
	if how == nil && (c.State.Waiting != nil || c.RestartCount > 0 && !c.Ready) {
		how, previous = c.LastState.Terminated, true
	}
	switch {
	case how == nil && c.State.Waiting != nil:
		return diagnosis{text: fmt.Sprintf("container %s: %s", c.Name, line(c.State.Waiting.Message)), log: c.Name, previous: true}, true
	case how == nil, how.ExitCode == 0 && how.Reason == "Completed" && c.State.Terminated != nil && isInit(one, c.Name):
		return d, false
	case how.Reason == "OOMKilled":
		return diagnosis{text: fmt.Sprintf("container %s was ended by the node: it took more memory than its limit%s (OOMKilled)%s",
			c.Name, limitOf(one, c.Name), restarted(c))}, true
	}
	return diagnosis{
		text: fmt.Sprintf("container %s ended with status %d%s", c.Name, how.ExitCode, restarted(c)), log: c.Name, previous: previous,
	}, true
}

func isInit(one pod, name string) bool {
	for _, c := range one.Status.Init {
		if c.Name == name {
			return true
		}
	}
	return false
}

func limitOf(one pod, name string) string {
	for _, c := range one.Spec.Containers {
		if limit := c.Resources.Limits["memory"]; c.Name == name && limit != nil {
			return fmt.Sprintf(" of %v", limit)
		}
	}
	return ""
}

func restarted(c containerStatus) string {
	switch c.RestartCount {
	case 0:
		return ""
	case 1:
		return ", after a restart"
	}
	return fmt.Sprintf(", after %d restarts", c.RestartCount)
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

// failure is why a Deployment or ReplicaSet makes no pods: a quota, a refusal by
// an admission policy; empty where it says nothing of the kind.
func failure(of []condition) string {
	for _, c := range of {
		if c.Type == "ReplicaFailure" && c.Status == "True" || c.Type == "Progressing" && c.Status == "False" {
			return line(c.Message)
		}
	}
	return ""
}

// line is text on one line, and no longer than people read.
func line(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + " ..."
	}
	return text
}

// longest is how many characters of what others wrote are told.
const longest = 300
