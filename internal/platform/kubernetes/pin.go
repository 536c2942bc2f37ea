package kubernetes

import (
	"context"
	"fmt"
	"strconv"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// minAnnotation holds on a HorizontalPodAutoscaler the minReplicas that it had
// before it was pinned.
const minAnnotation = "gapless.dev/min-replicas"

// pin keeps autoscalers from taking pods away from a side that is to have less
// than all of the traffic: the way back needs them. Where a side has all of it
// its autoscaler is as it was. Where numbers of pods divide the traffic they are
// not an autoscaler's to keep.
func (d *duty) pin(ctx context.Context, o rollout.Observation, split rollout.Split) error {
	if _, counted := d.router().(byReplicas); counted {
		return nil
	}
	least := map[rollout.Side]int{}
	for _, side := range sides() {
		if least[side] = o.Sides[side].Desired; split.Of(side) == rollout.Full {
			least[side] = 0
		}
	}
	return d.pinTo(ctx, least)
}

// pinTo has the sides' autoscalers go no lower than so many pods; 0 leaves one to
// itself.
func (d *duty) pinTo(ctx context.Context, least map[rollout.Side]int) error {
	for _, side := range sides() {
		n, meant := least[side]
		if !meant {
			continue
		}
		scaling, err := d.scaling(ctx, d.deploymentOf(side))
		if err != nil {
			return err
		}
		for _, a := range scaling {
			if err := d.edit(ctx, autoscalers, a.Metadata.Name, func(object map[string]any) error { return pinned(object, n) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// pinned gives an autoscaler a minimum, or the one that it had.
func pinned(object map[string]any, least int) error {
	spec, notes := below(object, "spec"), at(object, "metadata", "annotations")
	was := text(notes, minAnnotation)
	switch {
	case least > 0 && was == "":
		n := number(spec, "minReplicas", 1)
		below(object, "metadata", "annotations")[minAnnotation] = strconv.FormatInt(n, 10)
		spec["minReplicas"] = min(max(n, int64(least)), number(spec, "maxReplicas", n))
	case least == 0 && was != "":
		n, err := strconv.ParseInt(was, 10, 32)
		if err != nil {
			return fmt.Errorf("annotation %s is not gapless's: %w", minAnnotation, err)
		}
		delete(notes, minAnnotation)
		spec["minReplicas"] = n
	}
	return nil
}

type autoscaler struct {
	Metadata meta `json:"metadata"`
	Spec     struct {
		Target struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"scaleTargetRef"`
		Min *int `json:"minReplicas"`
	} `json:"spec"`
}

// scaling are the autoscalers of a Deployment.
func (p *Platform) scaling(ctx context.Context, deployment string) (scaling []autoscaler, err error) {
	raws, err := p.cluster.list(ctx, autoscalers, "")
	if err != nil {
		return nil, err
	}
	found, err := all[autoscaler](raws)
	for _, a := range found {
		if a.Spec.Target.Kind == "Deployment" && a.Spec.Target.Name == deployment {
			scaling = append(scaling, a)
		}
	}
	return scaling, err
}
