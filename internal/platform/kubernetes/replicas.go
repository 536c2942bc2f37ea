package kubernetes

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// byReplicas has the public Service select both sides, so that their numbers of
// pods divide the traffic. All of it goes to one side as by bySelector.
//
// Stable keeps all its pods, so that the way back is one move; so the candidate
// reaches half of the traffic where it is as large, and then all of it.
type byReplicas struct{ *Platform }

func (byReplicas) prepare(context.Context, *duty) error { return nil }

func (byReplicas) preview(context.Context, *duty, rollout.Side) error { return nil }

func (p byReplicas) nearest(w world, o rollout.Observation, split rollout.Split) (rollout.Split, error) {
	if _, ok := whole(split); ok {
		return split, nil
	}
	side := scaled(o)
	n := podsFor(split.Of(side), o.Sides[side.Other()].Desired, w.deployments[p.deploymentOf(side)].whole())
	return splitOf(side, n, o.Sides[side.Other()].Desired), nil
}

// scaled is the side whose pods are counted out: the candidate.
func scaled(o rollout.Observation) rollout.Side {
	switch {
	case o.Mark != nil && o.Mark.CandidateSide != "":
		return o.Mark.CandidateSide
	case o.Split.Green > o.Split.Blue:
		return rollout.Blue
	}
	return rollout.Green
}

// podsFor is how many of the candidate's pods come closest to its weight
// beside stable's: one at least, and the fewer of two that are as close.
func podsFor(weight rollout.Weight, stable, most int) int {
	best := 1
	for n := 2; n <= most; n++ {
		if off(weight, n, stable) < off(weight, best, stable) {
			best = n
		}
	}
	return best
}

// off is how far from the weight so many pods are.
func off(weight rollout.Weight, n, stable int) rollout.Weight {
	d := rollout.PartOf(n, n+stable) - weight
	return max(d, -d)
}

// splitOf is how so many pods of a side and the other's divide the traffic.
func splitOf(side rollout.Side, n, other int) rollout.Split {
	green, blue := n, other
	if side == rollout.Blue {
		green, blue = other, n
	}
	return rollout.SplitTo(rollout.Green, rollout.PartOf(green, green+blue))
}

func (p byReplicas) divide(ctx context.Context, d *duty, w world, split rollout.Split) error {
	if side, ok := whole(split); ok {
		if err := p.scale(ctx, d, w, side, 0); err != nil {
			return err
		}
		return bySelector(p).divide(ctx, d, w, split)
	}
	o, err := p.seen(w)
	if err != nil {
		return err
	}
	side := scaled(o)
	n := podsFor(split.Of(side), o.Sides[side.Other()].Desired, w.deployments[p.deploymentOf(side)].whole())
	if err := p.scale(ctx, d, w, side, n); err != nil {
		return err
	}
	if err := d.point(ctx, ""); err != nil {
		return err
	}
	if err := p.awaitEndpoints(ctx, p.opts.Target.Service, sides()...); err != nil {
		return err
	}
	return p.opts.Clock.Sleep(ctx, proxyLag)
}

// scale gives a side so many pods, 0 for all that it had at first, and waits
// until they are ready.
func (p byReplicas) scale(ctx context.Context, d *duty, w world, side rollout.Side, n int) error {
	name := p.deploymentOf(side)
	err := d.edit(ctx, deployments, name, func(object map[string]any) error {
		view, err := into[deployment](&unstructured.Unstructured{Object: object})
		if err != nil {
			return err
		}
		all := view.whole()
		to := cmp.Or(n, all)
		if to == view.replicas() {
			return nil
		}
		if to > all {
			return fmt.Errorf("%d pods are asked for, it has at most %d", to, all)
		}
		below(object, "spec")["replicas"] = int64(to)
		annotations := below(object, "metadata", "annotations")
		delete(annotations, replicasAnnotation)
		if to < all {
			annotations[replicasAnnotation] = strconv.Itoa(all)
		}
		return nil
	})
	if err != nil {
		return err
	}
	revision, err := p.revisionOf(w.deployments[name].Spec.Template)
	if err != nil || n == 0 && w.deployments[name].whole() == w.deployments[name].replicas() {
		return err // stable takes all back whether or not each of its pods is ready
	}
	return p.awaitReady(ctx, side, revision)
}
