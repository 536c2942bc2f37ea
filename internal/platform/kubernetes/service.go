package kubernetes

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// bySelector has the public Service select one side.
type bySelector struct{ *Platform }

func (bySelector) prepare(context.Context, *duty) error { return nil }

func (bySelector) preview(context.Context, *duty, rollout.Side) error { return nil }

func (bySelector) nearest(_ world, _ rollout.Observation, split rollout.Split) (rollout.Split, error) {
	if _, ok := whole(split); !ok {
		return split, fmt.Errorf("%w: a Service selects one side, it cannot give blue %s and green %s: name a route or an ingress", rollout.ErrInput, split.Blue, split.Green)
	}
	return split, nil
}

func (p bySelector) divide(ctx context.Context, d *duty, _ world, split rollout.Split) error {
	side, _ := whole(split)
	if err := d.point(ctx, side); err != nil {
		return err
	}
	if err := p.awaitEndpoints(ctx, p.opts.Target.Service, side); err != nil {
		return err
	}
	return p.opts.Clock.Sleep(ctx, proxyLag)
}

// point has the public Service select a side; both where it is empty.
func (d *duty) point(ctx context.Context, side rollout.Side) error {
	return d.edit(ctx, services, d.opts.Target.Service, func(object map[string]any) error {
		selector := below(object, "spec", "selector")
		if side == "" {
			delete(selector, sideLabel)
		} else {
			selector[sideLabel] = string(side)
		}
		return nil
	})
}

type endpointSlice struct {
	Endpoints []struct {
		Conditions struct {
			Ready *bool `json:"ready"`
		} `json:"conditions"`
		TargetRef struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"targetRef"`
	} `json:"endpoints"`
}

// awaitEndpoints returns once a Service leads to each ready pod of these sides,
// and to no pod of another one.
func (p *Platform) awaitEndpoints(ctx context.Context, name string, of ...rollout.Side) error {
	return p.until(ctx, func() (bool, error) {
		listed, err := p.listed(ctx, name)
		if err != nil {
			return false, err
		}
		w := world{deployments: map[string]deployment{}}
		if err := p.lookAtDeployments(ctx, &w); err != nil {
			return false, err
		}
		if err := p.lookAtPods(ctx, &w); err != nil {
			return false, err
		}
		ready := 0
		for _, one := range w.pods {
			wanted := false
			for _, side := range of {
				wanted = wanted || one.side() == side
			}
			switch is := listed[one.Metadata.Name]; {
			case is && !wanted, one.ready() && wanted && !is:
				return false, nil
			case is:
				ready++
			}
			delete(listed, one.Metadata.Name)
		}
		return ready > 0 && len(listed) == 0, nil
	})
}

// listed are the pods that the Service leads to.
func (p *Platform) listed(ctx context.Context, name string) (map[string]bool, error) {
	raws, err := p.cluster.list(ctx, endpoints, labels.Set{"kubernetes.io/service-name": name}.String())
	if err != nil {
		return nil, err
	}
	listed := map[string]bool{}
	for i := range raws {
		slice, err := into[endpointSlice](&raws[i])
		if err != nil {
			return nil, err
		}
		for _, e := range slice.Endpoints {
			if e.TargetRef.Kind == "Pod" && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
				listed[e.TargetRef.Name] = true
			}
		}
	}
	return listed, nil
}

// leadToSides makes a Service for each side, beside the public one.
func (d *duty) leadToSides(ctx context.Context) error {
	public, err := d.cluster.get(ctx, services, d.opts.Target.Service)
	if err != nil {
		return err
	}
	if public == nil {
		return d.missing(services, d.opts.Target.Service)
	}
	for _, side := range sides() {
		want := d.sideService(public, side)
		spec := at(want.Object, "spec")
		err := d.ensure(ctx, services, want, func(object map[string]any) {
			for _, key := range []string{"selector", "ports"} {
				if has := below(object, "spec"); !holds(has[key], spec[key]) {
					has[key] = spec[key]
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
