package kubernetes

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// world is what was read of the cluster at one moment.
type world struct {
	at   time.Time
	head head
	// deployments are those that exist, of the two that may.
	deployments map[string]deployment
	sets        []replicaSet              // of these, the newest first
	templates   map[string]map[string]any // whole, by the set's name
	selector    string                    // of all the pods
	pods        []pod                     // of these sets
	service     *service                  // nil where there is none
	// route divides the traffic where the target names one; ingress does with
	// canary, which is there only while traffic is divided.
	route, ingress, canary *unstructured.Unstructured

	// rolled is the Deployment that is rolled, and raw its object.
	rolled deployment
	raw    *unstructured.Unstructured
}

// look reads the world. Nothing in it may be from before the head was read:
// what is written later makes the head's token stale.
func (p *Platform) look(ctx context.Context) (world, error) {
	w := world{deployments: map[string]deployment{}}
	var err error
	if w.head, err = p.head(ctx); err != nil {
		return w, err
	}
	if err := p.lookAtDeployments(ctx, &w); err != nil {
		return w, err
	}
	if p.opts.Target.Service != "" {
		raw, err := p.cluster.get(ctx, services, p.opts.Target.Service)
		if err != nil {
			return w, err
		}
		if raw != nil {
			s, err := into[service](raw)
			if err != nil {
				return w, err
			}
			w.service = &s
		}
	}
	if err := p.lookAtRoutes(ctx, &w); err != nil {
		return w, err
	}
	if err := p.lookAtPods(ctx, &w); err != nil {
		return w, err
	}
	w.at = p.cluster.time.at(p.opts.Clock.Now())
	if since := w.head.split.Since; since.After(w.at) {
		w.at = since // another runner's clock runs ahead by less than a second
	}
	return w, nil
}

func (p *Platform) lookAtDeployments(ctx context.Context, w *world) error {
	for _, side := range sides() {
		raw, err := p.cluster.get(ctx, deployments, p.deploymentOf(side))
		if err != nil {
			return err
		}
		if raw == nil {
			continue
		}
		if w.deployments[raw.GetName()], err = into[deployment](raw); err != nil {
			return err
		}
	}
	return nil
}

// lookAtRoutes reads what divides the traffic before the Services.
func (p *Platform) lookAtRoutes(ctx context.Context, w *world) (err error) {
	if name := p.opts.Target.Route; name != "" {
		if w.route, err = p.cluster.get(ctx, httpRoutes, name); err != nil {
			return err
		}
	}
	if name := p.opts.Target.Ingress; name != "" {
		if w.ingress, err = p.cluster.get(ctx, ingresses, name); err != nil {
			return err
		}
		if w.canary, err = p.cluster.get(ctx, ingresses, p.canaryName()); err != nil {
			return err
		}
	}
	return nil
}

// lookAtPods reads ReplicaSets and pods. The labels that the first Deployment
// selects by are on the pods of both.
func (p *Platform) lookAtPods(ctx context.Context, w *world) error {
	base, ok := w.deployments[p.deploymentOf(rollout.Blue)]
	if !ok {
		if base, ok = w.deployments[p.deploymentOf(rollout.Green)]; !ok {
			return nil
		}
	}
	chosen := base.Spec.Selector.MatchLabels
	only := map[string]string{}
	for k, v := range chosen {
		if k != sideLabel {
			only[k] = v
		}
	}
	by := labels.SelectorFromSet(only).String()
	w.selector, w.templates = by, map[string]map[string]any{}
	raws, err := p.cluster.list(ctx, replicaSets, by)
	if err != nil {
		return err
	}
	ours := map[string]bool{}
	for i := range raws {
		set, err := into[replicaSet](&raws[i])
		if err != nil {
			return err
		}
		for _, d := range w.deployments {
			if owned(set.Metadata, d.Metadata) {
				w.sets = append(w.sets, set)
				w.templates[set.Metadata.Name] = templateOf(&raws[i])
				ours[set.Metadata.Name] = true
			}
		}
	}
	slices.SortStableFunc(w.sets, func(a, b replicaSet) int {
		return cmp.Or(b.Metadata.CreationTimestamp.Compare(a.Metadata.CreationTimestamp.Time), cmp.Compare(a.Metadata.Name, b.Metadata.Name))
	})
	if raws, err = p.cluster.list(ctx, pods, by); err != nil {
		return err
	}
	for i := range raws {
		one, err := into[pod](&raws[i])
		if err != nil {
			return err
		}
		if ours[setOf(one)] {
			w.pods = append(w.pods, one)
		}
	}
	slices.SortStableFunc(w.pods, func(a, b pod) int { // as they came up
		return cmp.Or(a.Metadata.CreationTimestamp.Compare(b.Metadata.CreationTimestamp.Time), cmp.Compare(a.Metadata.Name, b.Metadata.Name))
	})
	return nil
}

func owned(o, by meta) bool {
	return slices.ContainsFunc(o.OwnerReferences, func(r ownerReference) bool { return r.UID == by.UID })
}

// setOf is the name of the ReplicaSet that a pod is of.
func setOf(p pod) string {
	for _, r := range p.Metadata.OwnerReferences {
		if r.Kind == "ReplicaSet" {
			return r.Name
		}
	}
	return ""
}

// Observe implements phase.Platform.
func (p *Platform) Observe(ctx context.Context) (rollout.Observation, error) {
	w, err := p.look(ctx)
	if err != nil {
		return rollout.Observation{}, err
	}
	o, err := p.seen(w)
	p.explain(ctx, w, o)
	return o, err
}

// explain looks up what the pods' status does not say of why they are not ready.
func (p *Platform) explain(ctx context.Context, w world, o rollout.Observation) {
	for _, one := range w.pods {
		side := o.Sides[cmp.Or(one.side(), rollout.Blue)]
		for i := range side.Instances {
			if at := &side.Instances[i]; at.Name == one.Metadata.Name && !at.Ready {
				at.Problem = p.problem(ctx, one)
			}
		}
	}
}

// seen tells the world in rollout's words.
func (p *Platform) seen(w world) (rollout.Observation, error) {
	o := rollout.Observation{At: w.at, Token: w.head.token, Mark: w.head.mark, Sides: map[rollout.Side]rollout.SideState{}}
	for _, set := range w.sets {
		alive := podsOf(w.pods, set)
		if set.replicas() == 0 && len(alive) == 0 {
			continue
		}
		side := p.sideOf(set)
		st := o.Sides[side]
		revision, err := p.revisionOf(set.Spec.Template)
		if err != nil {
			return o, fmt.Errorf("ReplicaSet %s: %w", set.Metadata.Name, err)
		}
		if st.Desired == 0 { // the set that is wanted names the side's revision
			st.Revision = revision
		}
		st.Desired += set.replicas()
		for _, one := range alive {
			if one.leaving() {
				continue
			}
			i := instance(one, side)
			st.Instances = append(st.Instances, i)
			if i.Ready {
				st.Ready++
			}
		}
		st.Draining = st.Desired == 0
		o.Sides[side] = st
	}
	p.counted(w, o)
	var err error
	if o.Split, err = p.split(w, o); err != nil {
		return o, err
	}
	switch {
	case o.Split.Zero():
	case o.Split == w.head.split.Split:
		o.SplitSince = w.head.split.Since
	default: // nobody noted when it came into force
		o.SplitSince = w.at
	}
	return o, nil
}

// counted tells how many pods a side has when it is whole, where they divide the
// traffic or have done so.
func (p *Platform) counted(w world, o rollout.Observation) {
	both := w.service != nil && w.service.Spec.Selector[sideLabel] == "" && len(o.Sides) == len(sides())
	for side, st := range o.Sides {
		if n := w.deployments[p.deploymentOf(side)].whole(); both || st.Desired > 0 && n > st.Desired {
			st.Whole = n
			o.Sides[side] = st
		}
	}
}

// sideOf is the side that a ReplicaSet is on; what gapless did not label is on
// the side that was there first.
func (p *Platform) sideOf(set replicaSet) rollout.Side {
	if side := set.Spec.Template.side(); side != "" {
		return side
	}
	return rollout.Blue
}

// revisionOf is the revision of a template. One that gapless did not write has
// that of its image, and no specification that is known.
func (p *Platform) revisionOf(t template) (rollout.Revision, error) {
	r, err := t.revision()
	if err != nil || !r.Zero() {
		return r, err
	}
	if c, ok := p.containerOf(t); ok {
		if id, ok := p.opts.Target.RevisionOf(c.Image); ok {
			return rollout.Revision{ID: id}, nil
		}
	}
	return rollout.Revision{ID: "unknown"}, nil
}

// containerOf is the container that carries the revision's image.
func (p *Platform) containerOf(t template) (container, bool) {
	name := p.opts.Target.Container
	switch {
	case name == "" && len(t.Spec.Containers) == 1:
		return t.Spec.Containers[0], true
	case name == "":
		name = p.opts.Target.Deployment
	}
	for _, c := range t.Spec.Containers {
		if c.Name == name {
			return c, true
		}
	}
	return container{}, false
}

func podsOf(all []pod, set replicaSet) (of []pod) {
	for _, one := range all {
		if setOf(one) == set.Metadata.Name && one.Status.Phase != "Succeeded" && one.Status.Phase != "Failed" {
			of = append(of, one)
		}
	}
	return of
}

func instance(one pod, side rollout.Side) rollout.Instance {
	i := rollout.Instance{
		Name: one.Metadata.Name, Side: side, Address: one.Status.PodIP, Ready: one.ready(), Restarts: one.restarts(), Ended: ended(one),
	}
	if !i.Ready {
		i.Problem = diagnose(one).text
	}
	return i
}
