package kubernetes

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// replicasAnnotation holds on a Deployment that Gapless has scaled down how
// many pods it has when it is whole.
const replicasAnnotation = "gapless.dev/replicas"

// slack is how much later than its grace period a pod may be gone.
const slack = 10 * time.Second

// lookAt reads the world, where the head is still the one that was looked at.
func (p *Platform) lookAt(ctx context.Context, seen rollout.Token) (world, rollout.Observation, error) {
	w, err := p.look(ctx)
	if err != nil {
		return w, rollout.Observation{}, err
	}
	if w.head.token != seen {
		return w, rollout.Observation{}, fmt.Errorf("%w: its token is %s, not %s", rollout.ErrConflict, w.head.token, seen)
	}
	o, err := p.seen(w)
	return w, o, err
}

// Launch implements phase.Sides. The side's Deployment becomes a copy of the
// one that serves, or of the first one where none serves yet, with the
// revision's image. A side that holds the revision already is waited for.
func (p *Platform) Launch(ctx context.Context, seen rollout.Token, side rollout.Side, spec rollout.Spec) error {
	w, o, err := p.lookAt(ctx, seen)
	if err != nil {
		return err
	}
	d := p.duty(w.head, fmt.Sprintf("launch %s on %s", spec.Revision.Key(), side))
	if there := o.Sides[side]; there.Revision != spec.Revision || there.Desired == 0 {
		if share := o.Split.Of(side); share > 0 {
			return fmt.Errorf("side %s takes %s of the traffic with revision %s: nothing is launched over it", side, share, there.Revision)
		}
		if err := d.launch(ctx, w, o, side, spec); err != nil {
			return err
		}
	}
	if err := p.awaitReady(ctx, side, spec.Revision); err != nil {
		return err
	}
	if p.opts.Target.PreviewHeader == "" || o.Split.Of(side.Other()) != rollout.Full {
		return nil
	}
	return p.router().preview(ctx, d, side)
}

func (d *duty) launch(ctx context.Context, w world, o rollout.Observation, side rollout.Side, spec rollout.Spec) error {
	if err := d.shield(ctx, w, o, side); err != nil {
		return err
	}
	if o.Sides[side].Desired > 0 { // what came to nothing makes room
		if err := d.clear(ctx, side); err != nil {
			return err
		}
	}
	if len(spec.Target) == 0 {
		return d.revive(ctx, side, spec)
	}
	base, err := d.base(ctx, w, o, side)
	if err != nil {
		return err
	}
	c, err := d.candidate(base, o, side, spec)
	if err != nil {
		return err
	}
	if _, there := w.deployments[c.name]; there {
		return d.edit(ctx, deployments, c.name, func(object map[string]any) error { return c.over(object, base) })
	}
	made, err := c.copyOf(base)
	if err != nil {
		return err
	}
	if err := d.begin(ctx); err != nil {
		return err
	}
	if _, err = d.cluster.create(ctx, deployments, made); isConflict(err) {
		return fmt.Errorf("%w: %w", rollout.ErrConflict, err)
	}
	return err
}

// shield keeps public traffic from a side that is about to come up, and makes
// what leads to each side alone.
func (d *duty) shield(ctx context.Context, w world, o rollout.Observation, side rollout.Side) error {
	name := d.opts.Target.Service
	if name == "" {
		return nil
	}
	if w.service == nil {
		return d.missing(services, name)
	}
	if w.service.Spec.Selector[sideLabel] == "" {
		if !w.labelled(o.Sides[side.Other()]) {
			return &unadoptedError{d.opts.Target.Deployment}
		}
		if err := d.point(ctx, side.Other()); err != nil {
			return err
		}
	}
	return d.router().prepare(ctx, d)
}

// labelled reports whether each pod of a side bears its label, so that a
// Service may select by it.
func (w world) labelled(st rollout.SideState) bool {
	named := map[string]bool{}
	for _, i := range st.Instances {
		named[i.Name] = true
	}
	for _, one := range w.pods {
		if named[one.Metadata.Name] && one.side() == "" {
			return false
		}
	}
	return true
}

// unadoptedError is a Deployment whose pods serve without gapless's label.
type unadoptedError struct{ deployment string }

func (e *unadoptedError) Error() string {
	return fmt.Sprintf("pods of deployment %s serve without the label %s", e.deployment, sideLabel)
}

// Hint says what to do.
func (e *unadoptedError) Hint() string {
	return "gapless takes over a Deployment that has 0 replicas: this build does not adopt one that serves"
}

// clear takes away the pods of a revision that another one replaces. They take
// no traffic, so that nothing waits for their end.
func (d *duty) clear(ctx context.Context, side rollout.Side) error {
	err := d.edit(ctx, deployments, d.deploymentOf(side), func(object map[string]any) error {
		below(object, "spec")["replicas"] = int64(0)
		return nil
	})
	if err != nil {
		return err
	}
	return d.until(ctx, func() (bool, error) {
		o, err := d.Observe(ctx)
		return o.Sides[side].Desired == 0, err
	})
}

// revive scales up what the side's Deployment kept of a revision.
func (d *duty) revive(ctx context.Context, side rollout.Side, spec rollout.Spec) error {
	return d.edit(ctx, deployments, d.deploymentOf(side), func(object map[string]any) error {
		raw := &unstructured.Unstructured{Object: object}
		view, err := into[deployment](raw)
		if err != nil {
			return err
		}
		kept, err := d.revisionOf(view.Spec.Template)
		if err != nil {
			return err
		}
		if kept != spec.Revision {
			return fmt.Errorf("it kept revision %s, asked for is %s", kept, spec.Revision)
		}
		below(object, "spec")["replicas"] = int64(cmp.Or(view.whole(), spec.Instances, 1))
		delete(below(object, "metadata", "annotations"), replicasAnnotation)
		return nil
	})
}

// whole is how many pods the Deployment has when it is not scaled down.
func (d deployment) whole() int {
	if n, err := strconv.Atoi(d.Metadata.Annotations[replicasAnnotation]); err == nil && n > d.replicas() {
		return n
	}
	return d.replicas()
}

// base is the Deployment that the candidate is copied of.
func (d *duty) base(ctx context.Context, w world, o rollout.Observation, side rollout.Side) (*unstructured.Unstructured, error) {
	first, other := d.deploymentOf(rollout.Blue), d.deploymentOf(side.Other())
	serves, there := w.deployments[other]
	name := first
	if _, one := w.deployments[first]; there && (!one || serves.Spec.Template.side() != "" && o.Sides[side.Other()].Desired > 0) {
		name = other
	}
	raw, err := d.cluster.get(ctx, deployments, name)
	if err == nil && raw == nil {
		err = d.missing(deployments, name)
	}
	return raw, err
}

func (p *Platform) candidate(base *unstructured.Unstructured, o rollout.Observation, side rollout.Side, spec rollout.Spec) (candidate, error) {
	c := candidate{name: p.deploymentOf(side), side: side, revision: spec.Revision, drain: p.opts.Drain}
	if err := json.Unmarshal(spec.Target, &c.target); err != nil {
		return c, fmt.Errorf("specification of %s is not one for a Deployment: %w", spec.Revision, err)
	}
	view, err := into[deployment](base)
	if err != nil {
		return c, err
	}
	if c.target.Container == "" {
		if one, ok := p.containerOf(view.Spec.Template); ok {
			c.target.Container = one.Name
		}
	}
	c.replicas = cmp.Or(spec.Instances, o.Sides[side.Other()].Desired, view.whole(), 1)
	return c, nil
}

// awaitReady returns once all pods of the side are of the revision and ready.
func (p *Platform) awaitReady(ctx context.Context, side rollout.Side, revision rollout.Revision) error {
	name := p.deploymentOf(side)
	return p.until(ctx, func() (bool, error) {
		raw, err := p.cluster.get(ctx, deployments, name)
		if err != nil {
			return false, err
		}
		if raw == nil {
			return false, fmt.Errorf("deployment %s/%s was deleted while %s started", p.cluster.namespace, name, revision)
		}
		d, err := into[deployment](raw)
		if err != nil {
			return false, err
		}
		holds, err := p.revisionOf(d.Spec.Template)
		if err != nil {
			return false, err
		}
		if holds != revision || d.replicas() == 0 {
			return false, fmt.Errorf("%w: deployment %s was taken by somebody else while %s started", rollout.ErrConflict, name, revision)
		}
		n, is := d.replicas(), d.Status
		return d.settled() && is.Replicas == n && is.UpdatedReplicas == n && is.ReadyReplicas == n, nil
	})
}

// until looks again and again until what was asked for is done.
func (p *Platform) until(ctx context.Context, done func() (bool, error)) error {
	for {
		if ok, err := done(); err != nil || ok {
			return err
		}
		if err := p.opts.Clock.Sleep(ctx, lookEvery); err != nil {
			return err
		}
	}
}

// Retire implements phase.Sides. The Deployment stays, with no pods, as what a
// rollback starts again from. A cluster does not tell what it cut, so that cut
// is always zero.
func (p *Platform) Retire(ctx context.Context, seen rollout.Token, side rollout.Side) (cut int, err error) {
	w, o, err := p.lookAt(ctx, seen)
	if err != nil {
		return 0, err
	}
	if share := o.Split.Of(side); share > 0 {
		return 0, fmt.Errorf("side %s takes %s of the traffic: it is not retired", side, share)
	}
	name := p.deploymentOf(side)
	was, there := w.deployments[name]
	if _, pods := o.Sides[side]; !pods && (!there || was.replicas() == 0) {
		return 0, nil
	}
	d := p.duty(w.head, "retire "+string(side))
	if p.opts.Target.PreviewHeader != "" {
		if err := p.router().preview(ctx, d, ""); err != nil {
			return 0, err
		}
	}
	if there {
		if err := d.edit(ctx, deployments, name, retired); err != nil {
			return 0, err
		}
		if err := d.pinTo(ctx, map[rollout.Side]int{side: 0}); err != nil {
			return 0, err
		}
	}
	return 0, p.awaitGone(ctx, side, was)
}

// retired scales a Deployment down and has it remember how far.
func retired(object map[string]any) error {
	view, err := into[deployment](&unstructured.Unstructured{Object: object})
	if err != nil {
		return err
	}
	if n := view.whole(); n > 0 {
		below(object, "metadata", "annotations")[replicasAnnotation] = strconv.Itoa(n)
	}
	below(object, "spec")["replicas"] = int64(0)
	return nil
}

// awaitGone waits for the end of a side's pods, which are given the time that
// they may take.
func (p *Platform) awaitGone(ctx context.Context, side rollout.Side, was deployment) error {
	grace := defaultGrace * time.Second
	if s := was.Spec.Template.Spec.GraceSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	limit := p.opts.Clock.Now().Add(max(p.opts.Drain, grace) + slack)
	return p.until(ctx, func() (bool, error) {
		w, err := p.look(ctx)
		if err != nil {
			return false, err
		}
		left := ""
		for _, set := range w.sets {
			for _, one := range podsOf(w.pods, set) {
				if p.sideOf(set) == side {
					left = one.Metadata.Name
				}
			}
		}
		if left != "" && p.opts.Clock.Now().After(limit) {
			return false, fmt.Errorf("pod %s/%s was told to end, and is still there after its grace period of %s", p.cluster.namespace, left, grace)
		}
		return left == "", nil
	})
}
