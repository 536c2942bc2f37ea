package local

import (
	"fmt"
	"strings"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// sides gives what stands on each side. One that was retired has only its
// definition left; once its instances are gone it is empty.
func sides(state api.State) map[rollout.Side]rollout.SideState {
	out := map[rollout.Side]rollout.SideState{}
	for name, side := range state.Sides {
		stands := rollout.SideState{
			Revision: revision(side.Revision), Desired: side.Desired, Ready: side.Ready,
			Instances: instances(side.Instances),
		}
		if side.Desired == 0 {
			stands.Draining = true
			stands.Instances = instances(leaving(state, name))
			if len(stands.Instances) == 0 {
				continue
			}
		}
		out[rollout.Side(name)] = stands
	}
	return out
}

func leaving(state api.State, side api.Side) []api.Instance {
	var of []api.Instance
	for _, in := range state.Draining {
		if in.Side == side {
			of = append(of, in)
		}
	}
	return of
}

func revision(r api.Revision) rollout.Revision {
	return rollout.Revision{ID: r.ID, Spec: r.Digest}
}

func named(r rollout.Revision) api.Revision {
	return api.Revision{ID: r.ID, Digest: r.Spec}
}

func weights(split rollout.Split) api.Weights {
	return api.Weights{api.Blue: int(split.Blue), api.Green: int(split.Green)}
}

func instances(of []api.Instance) []rollout.Instance {
	out := make([]rollout.Instance, 0, len(of))
	for _, in := range of {
		out = append(out, instance(in))
	}
	return out
}

func instance(in api.Instance) rollout.Instance {
	return rollout.Instance{
		Name: in.Name, Side: rollout.Side(in.Side), Address: in.Address,
		Ready: in.Phase == api.Ready, Held: in.Held, Restarts: in.Restarts, Problem: problem(in),
	}
}

// problem says in one line why an instance is not ready, with its last words.
func problem(in api.Instance) string {
	if in.Phase == api.Ready {
		return ""
	}
	parts := []string{string(in.Phase)}
	if in.Restarts > 0 {
		parts[0] += fmt.Sprintf(" after %d restarts", in.Restarts)
	}
	if in.LastError != "" {
		parts = append(parts, in.LastError)
	}
	if in.LastHealth != "" && !strings.Contains(in.LastError, in.LastHealth) {
		parts = append(parts, "health path: "+in.LastHealth)
	}
	lines := strings.Split(strings.TrimSpace(in.LogTail), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		parts = append(parts, fmt.Sprintf("last words: %q", last))
	}
	return strings.Join(parts, "; ")
}
