package kubernetes

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// byIngress puts beside the Ingress that leads to the public Service a canary
// Ingress, by which ingress-nginx gives a part to the other side. Once all
// traffic is on a side the public Service selects it, and the canary is gone.
type byIngress struct{ *Platform }

// What ingress-nginx reads of a canary Ingress.
const (
	nginx           = "nginx.ingress.kubernetes.io/"
	canaryMark      = nginx + "canary"
	canaryWeight    = nginx + "canary-weight"
	canaryTotal     = nginx + "canary-weight-total"
	canaryHeader    = nginx + "canary-by-header"
	canaryHeaderSet = nginx + "canary-by-header-value"
	classAnnotation = "kubernetes.io/ingress.class"
)

func (p *Platform) canaryName() string { return p.opts.Target.Ingress + "-gapless-canary" }

func (byIngress) prepare(ctx context.Context, d *duty) error { return d.leadToSides(ctx) }

func (byIngress) nearest(_ world, _ rollout.Observation, split rollout.Split) (rollout.Split, error) {
	return split, nil
}

func (p byIngress) divide(ctx context.Context, d *duty, w world, split rollout.Split) error {
	if side, ok := whole(split); ok {
		return p.settle(ctx, d, w, side)
	}
	if err := d.leadToSides(ctx); err != nil {
		return err
	}
	base := rollout.Side(w.service.Spec.Selector[sideLabel])
	if base == "" || split.Of(base) > 0 && w.deployments[p.deploymentOf(base)].replicas() == 0 {
		base = rollout.Blue
		if split.Green > split.Blue {
			base = rollout.Green
		}
	}
	for side, name := range map[rollout.Side]string{base: p.opts.Target.Service, base.Other(): p.serviceOf(base.Other())} {
		if side == base {
			if err := d.point(ctx, base); err != nil {
				return err
			}
		}
		if err := p.awaitEndpoints(ctx, name, side); err != nil {
			return err
		}
	}
	if err := p.canary(ctx, d, base.Other(), split.Of(base.Other())); err != nil {
		return err
	}
	return p.opts.Clock.Sleep(ctx, ingressLag)
}

// settle gives all to one side. Where that is the side the public Service leads
// to, the canary goes, and else the Service moves first.
func (p byIngress) settle(ctx context.Context, d *duty, w world, side rollout.Side) error {
	if err := d.point(ctx, side); err != nil {
		return err
	}
	if err := p.awaitEndpoints(ctx, p.opts.Target.Service, side); err != nil {
		return err
	}
	if w.canary != nil {
		if err := d.begin(ctx); err != nil {
			return err
		}
		if err := p.cluster.delete(ctx, ingresses, p.canaryName()); err != nil {
			return err
		}
	}
	return p.opts.Clock.Sleep(ctx, ingressLag)
}

// preview is a canary Ingress without weight, which goes by the header alone.
func (p byIngress) preview(ctx context.Context, d *duty, side rollout.Side) error {
	if side != "" {
		return p.canary(ctx, d, side, 0)
	}
	there, err := p.cluster.get(ctx, ingresses, p.canaryName())
	if err != nil || there == nil {
		return err
	}
	if err := d.begin(ctx); err != nil {
		return err
	}
	return p.cluster.delete(ctx, ingresses, p.canaryName())
}

// canary makes the canary Ingress, or gives it another weight.
func (p byIngress) canary(ctx context.Context, d *duty, side rollout.Side, weight rollout.Weight) error {
	public, err := p.cluster.get(ctx, ingresses, p.opts.Target.Ingress)
	if err != nil {
		return err
	}
	if public == nil {
		return p.missing(ingresses, p.opts.Target.Ingress)
	}
	want, err := p.canaryOf(public, side, weight)
	if err != nil {
		return err
	}
	return d.ensure(ctx, ingresses, want, func(object map[string]any) {
		annotations := below(object, "metadata", "annotations")
		for key, value := range want.GetAnnotations() {
			annotations[key] = value
		}
		for key, value := range at(want.Object, "spec") {
			if has := below(object, "spec"); !holds(has[key], value) {
				has[key] = value
			}
		}
	})
}

// canaryOf copies what of an Ingress leads to the public Service.
func (p *Platform) canaryOf(public *unstructured.Unstructured, side rollout.Side, weight rollout.Weight) (*unstructured.Unstructured, error) {
	from, spec := public.DeepCopy().Object, map[string]any{}
	rules := []any{}
	for _, rule := range items(at(from, "spec"), "rules") {
		paths := []any{}
		for _, path := range items(at(rule, "http"), "paths") {
			if service := at(path, "backend", "service"); text(service, "name") == p.opts.Target.Service {
				service["name"] = p.serviceOf(side)
				paths = append(paths, path)
			}
		}
		if len(paths) > 0 {
			at(rule, "http")["paths"] = paths
			rules = append(rules, rule)
		}
	}
	if len(rules) == 0 {
		return nil, fmt.Errorf("%w: no rule of ingress %s leads to Service %s", rollout.ErrInput, public.GetName(), p.opts.Target.Service)
	}
	spec["rules"] = rules
	if class := text(at(from, "spec"), "ingressClassName"); class != "" {
		spec["ingressClassName"] = class
	}
	annotations := map[string]any{
		canaryMark: "true", canaryWeight: strconv.Itoa(int(weight)), canaryTotal: strconv.Itoa(int(rollout.Full)),
	}
	// Of its other annotations ingress-nginx takes for a canary those that say
	// how it is reached.
	for key, value := range public.GetAnnotations() {
		if key == classAnnotation || strings.HasPrefix(key, nginx) && annotations[key] == nil {
			annotations[key] = value
		}
	}
	if name, value := p.previewHeader(); name != "" {
		annotations[canaryHeader], annotations[canaryHeaderSet] = name, value
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": public.GetAPIVersion(), "kind": public.GetKind(),
		"metadata": map[string]any{
			"name": p.canaryName(), "namespace": p.cluster.namespace, "annotations": annotations,
			"labels": map[string]any{"app.kubernetes.io/managed-by": fieldManager},
		},
		"spec": spec,
	}}, nil
}

// ingressed is how a canary Ingress divides the traffic between its side and
// the one that the public Service leads to.
func (p *Platform) ingressed(canary *unstructured.Unstructured, public rollout.Split) rollout.Split {
	base, ok := whole(public)
	if !ok || canary.GetAnnotations()[canaryMark] != "true" {
		return public
	}
	weight, err := strconv.ParseFloat(canary.GetAnnotations()[canaryWeight], 64)
	if err != nil || weight <= 0 {
		return public
	}
	total, err := strconv.ParseFloat(canary.GetAnnotations()[canaryTotal], 64)
	if err != nil || total <= 0 {
		total = 100
	}
	for _, rule := range items(at(canary.Object, "spec"), "rules") {
		for _, path := range items(at(rule, "http"), "paths") {
			if text(at(path, "backend", "service"), "name") == p.serviceOf(base.Other()) {
				return rollout.SplitTo(base.Other(), min(rollout.PartOf(int(weight), int(total)), rollout.Full))
			}
		}
	}
	return public // it leads to where all goes
}
