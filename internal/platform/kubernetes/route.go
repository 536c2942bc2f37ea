package kubernetes

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// byRoute has an HTTPRoute lead to a Service for each side, with weights. The
// public Service follows once all traffic is on a side, for clients within the
// cluster that do not come by the route.
type byRoute struct{ *Platform }

// mostWeight is what the Gateway API takes.
const mostWeight = 1_000_000

func (byRoute) prepare(ctx context.Context, d *duty) error { return d.leadToSides(ctx) }

func (byRoute) nearest(_ world, _ rollout.Observation, split rollout.Split) (rollout.Split, error) {
	return split, nil
}

func (p byRoute) divide(ctx context.Context, d *duty, _ world, split rollout.Split) error {
	if err := d.leadToSides(ctx); err != nil {
		return err
	}
	for _, side := range sides() {
		if split.Of(side) == 0 {
			continue
		}
		if err := p.awaitEndpoints(ctx, p.serviceOf(side), side); err != nil {
			return err
		}
	}
	side, all := whole(split)
	if all { // first, so that whoever sees the route there finds it done
		if err := d.point(ctx, side); err != nil {
			return err
		}
	}
	err := d.edit(ctx, httpRoutes, p.opts.Target.Route, func(object map[string]any) error {
		if all {
			p.dropPreview(object)
		}
		return p.weigh(object, split)
	})
	if err != nil {
		return err
	}
	if err := p.awaitRoute(ctx); err != nil {
		return err
	}
	if all {
		if err := p.awaitEndpoints(ctx, p.opts.Target.Service, side); err != nil {
			return err
		}
	}
	return p.opts.Clock.Sleep(ctx, gatewayLag)
}

// backend is the Service that a reference of the route names, where it is the
// public one or a side's: side is empty for the public one.
func (p *Platform) backend(ref map[string]any) (side rollout.Side, ours bool) {
	if kind := text(ref, "kind"); kind != "" && kind != "Service" || text(ref, "group") != "" {
		return "", false
	}
	if namespace := text(ref, "namespace"); namespace != "" && namespace != p.cluster.namespace {
		return "", false
	}
	switch text(ref, "name") {
	case p.opts.Target.Service:
		return "", true
	case p.serviceOf(rollout.Blue):
		return rollout.Blue, true
	case p.serviceOf(rollout.Green):
		return rollout.Green, true
	}
	return "", false
}

// weigh divides each rule's share for the service between the two sides. What
// else a rule leads to keeps its part.
func (p byRoute) weigh(object map[string]any, split rollout.Split) error {
	found := false
	for _, rule := range items(at(object, "spec"), "rules") {
		if p.isPreview(rule) {
			continue
		}
		ok, err := p.weighRule(rule, split)
		if err != nil {
			return err
		}
		found = found || ok
	}
	if !found {
		return fmt.Errorf("%w: no rule of it leads to Service %s", rollout.ErrInput, p.opts.Target.Service)
	}
	return nil
}

func (p byRoute) weighRule(rule map[string]any, split rollout.Split) (found bool, err error) {
	refs, whole := items(rule, "backendRefs"), false
	var total int64
	for _, ref := range refs {
		side, ours := p.backend(ref)
		whole = whole || ours && side == ""
		if ours {
			found = true
			total += number(ref, "weight", 1)
		}
	}
	if !found {
		return false, nil
	}
	scale := int64(1)
	if whole { // tenths of a percent of each unit, so that others keep their part
		scale = int64(rollout.Full)
	}
	next, done := []any{}, false
	for _, ref := range refs {
		_, ours := p.backend(ref)
		switch {
		case !ours:
			ref["weight"] = scale * number(ref, "weight", 1)
			next = append(next, ref)
		case !done:
			done = true
			for _, side := range sides() {
				one := (&unstructured.Unstructured{Object: ref}).DeepCopy().Object
				one["name"] = p.serviceOf(side)
				one["weight"] = scale * total * int64(split.Of(side)) / int64(rollout.Full)
				next = append(next, one)
			}
		}
	}
	for _, ref := range next {
		if w := number(ref.(map[string]any), "weight", 1); w > mostWeight { //nolint:forcetypeassert // they were put there above
			return true, fmt.Errorf("%w: a weight would be %d, the Gateway API takes %d at most: use smaller ones in rules with several backends", rollout.ErrInput, w, mostWeight)
		}
	}
	if !whole && total%int64(rollout.Full) != 0 {
		return true, fmt.Errorf("weights of %s and %s add up to %d, Gapless gave them a multiple of %d: put them back", p.serviceOf(rollout.Blue), p.serviceOf(rollout.Green), total, int64(rollout.Full))
	}
	rule["backendRefs"] = next
	return true, nil
}

// previewHeader is the name and value of preview_header.
func (p *Platform) previewHeader() (name, value string) {
	name, value, _ = strings.Cut(p.opts.Target.PreviewHeader, ":")
	return name, strings.TrimSpace(value)
}

// preview puts before each rule of the service one that leads those who send
// the header to one side.
func (p byRoute) preview(ctx context.Context, d *duty, side rollout.Side) error {
	err := d.edit(ctx, httpRoutes, p.opts.Target.Route, func(object map[string]any) error {
		p.dropPreview(object)
		if side != "" {
			p.addPreview(object, side)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.awaitRoute(ctx)
}

func (p byRoute) addPreview(object map[string]any, side rollout.Side) {
	name, value := p.previewHeader()
	next := []any{}
	for _, rule := range items(at(object, "spec"), "rules") {
		at := slices.IndexFunc(items(rule, "backendRefs"), func(ref map[string]any) bool { _, ours := p.backend(ref); return ours })
		if at >= 0 {
			copied := (&unstructured.Unstructured{Object: rule}).DeepCopy().Object
			delete(copied, "name")
			matches := items(copied, "matches")
			if len(matches) == 0 {
				matches = []map[string]any{{}}
			}
			with := []any{}
			for _, match := range matches {
				headers, _ := match["headers"].([]any)
				match["headers"] = append(slices.Clone(headers), map[string]any{"type": "Exact", "name": name, "value": value})
				with = append(with, match)
			}
			ref := items(copied, "backendRefs")[at]
			ref["name"], ref["weight"] = p.serviceOf(side), int64(1)
			copied["matches"], copied["backendRefs"] = with, []any{ref}
			next = append(next, copied)
		}
		next = append(next, rule)
	}
	below(object, "spec")["rules"] = next
}

func (p byRoute) dropPreview(object map[string]any) {
	next := []any{}
	for _, rule := range items(at(object, "spec"), "rules") {
		if !p.isPreview(rule) {
			next = append(next, rule)
		}
	}
	if spec := at(object, "spec"); spec != nil {
		spec["rules"] = next
	}
}

// isPreview tells of a rule that asks for the header and leads to one side.
func (p *Platform) isPreview(rule map[string]any) bool {
	if p.opts.Target.PreviewHeader == "" {
		return false
	}
	refs := items(rule, "backendRefs")
	if len(refs) != 1 {
		return false
	}
	if side, _ := p.backend(refs[0]); side == "" {
		return false
	}
	name, value := p.previewHeader()
	matches := items(rule, "matches")
	for _, match := range matches {
		if !slices.ContainsFunc(items(match, "headers"), func(h map[string]any) bool {
			return strings.EqualFold(text(h, "name"), name) && text(h, "value") == value
		}) {
			return false
		}
	}
	return len(matches) > 0
}

type routeStatus struct {
	Metadata meta `json:"metadata"`
	Status   struct {
		Parents []struct {
			Controller string      `json:"controllerName"`
			Conditions []condition `json:"conditions"`
		} `json:"parents"`
	} `json:"status"`
}

// behind says who has not taken the route as it was written last; empty where
// all have.
func behind(raw *unstructured.Unstructured) (string, error) {
	route, err := into[routeStatus](raw)
	if err != nil {
		return "", err
	}
	if len(route.Status.Parents) == 0 {
		return "no gateway has taken it", nil
	}
	for _, parent := range route.Status.Parents {
		for _, kind := range []string{"Accepted", "ResolvedRefs"} {
			i := slices.IndexFunc(parent.Conditions, func(c condition) bool { return c.Type == kind })
			if i < 0 || parent.Conditions[i].ObservedGeneration < route.Metadata.Generation {
				return parent.Controller + " has not seen its last change", nil
			}
			if c := parent.Conditions[i]; c.Status != "True" {
				return fmt.Sprintf("%s: %s: %s: %s", parent.Controller, c.Type, c.Reason, c.Message), nil
			}
		}
	}
	return "", nil
}

// awaitRoute returns once each gateway says that it has taken the route.
func (p byRoute) awaitRoute(ctx context.Context) error {
	why := ""
	err := p.until(ctx, func() (bool, error) {
		raw, err := p.cluster.get(ctx, httpRoutes, p.opts.Target.Route)
		if err == nil && raw == nil {
			err = p.missing(httpRoutes, p.opts.Target.Route)
		}
		if err != nil {
			return false, err
		}
		why, err = behind(raw)
		return why == "", err
	})
	if err != nil && why != "" {
		return fmt.Errorf("route %s: %s: %w", p.opts.Target.Route, why, err)
	}
	return err
}

// routed is how the route divides the traffic; public is how the public Service
// does, for rules that lead to that one.
func (p *Platform) routed(raw *unstructured.Unstructured, public rollout.Split) rollout.Split {
	var blue, green, rules float64
	for _, rule := range items(at(raw.Object, "spec"), "rules") {
		if p.isPreview(rule) {
			continue
		}
		var b, g float64
		for _, ref := range items(rule, "backendRefs") {
			side, ours := p.backend(ref)
			weight := float64(number(ref, "weight", 1))
			switch {
			case !ours:
			case side == rollout.Blue:
				b += weight
			case side == rollout.Green:
				g += weight
			default:
				b += weight * public.Blue.Share()
				g += weight * public.Green.Share()
			}
		}
		if b+g > 0 {
			blue, green, rules = blue+b/(b+g), green+g/(b+g), rules+1
		}
	}
	switch {
	case rules == 0:
		return rollout.Split{}
	case green == 0:
		return rollout.SplitTo(rollout.Blue, rollout.Full)
	case blue == 0:
		return rollout.SplitTo(rollout.Green, rollout.Full)
	}
	w := rollout.Weight(math.Round(float64(rollout.Full) * green / rules))
	return rollout.SplitTo(rollout.Green, min(max(w, 1), rollout.Full-1))
}
