package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Roll implements phase.Roller: the Deployment's controller replaces one pod
// after the other, see move.go. What is done next is read from the cluster alone,
// so that a roll which was cut short goes on where it was. A pod that is ready
// takes traffic: the cluster cannot hold it back until it is let in; but no
// second one comes before. The old ReplicaSet keeps the old definition. How many
// requests were cut is not known here.
func (p *Platform) Roll(ctx context.Context, seen rollout.Token, to rollout.Spec, atLeast int,
	admit func(context.Context, rollout.Instance) error) (cut int, err error) {
	w, err := p.lookAtRolled(ctx)
	if err != nil {
		return 0, err
	}
	if w.head.token != seen {
		return 0, fmt.Errorf("%w: its token is %s, not %s", rollout.ErrConflict, w.head.token, seen)
	}
	if err := p.rollable(ctx, w); err != nil {
		return 0, err
	}
	r := &roll{platform: p, admit: admit, admitted: map[admission]bool{}, head: w.head}
	if r.target, err = p.aim(w, to, atLeast); err != nil || r.instances == 0 {
		return 0, err
	}
	r.own = settingsOf(w.raw)
	if w.head.rolling != nil {
		r.own = w.head.rolling.Settings
	}
	r.doing = fmt.Sprintf("roll %s to %d of %d", to.Revision.Key(), r.instances, r.of)
	r.standing(w)
	return 0, r.run(ctx, w)
}

// lookAtRolled reads the head and the Deployment with its pods, and no more.
func (p *Platform) lookAtRolled(ctx context.Context) (world, error) {
	var w world
	var err error
	if w.head, err = p.head(ctx); err != nil {
		return w, err
	}
	name := p.opts.Target.Deployment
	if w.raw, err = p.cluster.get(ctx, deployments, name); err != nil {
		return w, err
	}
	if w.raw == nil {
		return w, fmt.Errorf("Deployment %s/%s does not exist", p.cluster.namespace, name) //nolint:staticcheck // ST1005: the kind's name
	}
	if w.rolled, err = into[deployment](w.raw); err != nil {
		return w, err
	}
	w.deployments = map[string]deployment{name: w.rolled}
	return w, p.lookAtPods(ctx, &w)
}

// rollable refuses a Deployment that cannot be rolled without a gap.
func (p *Platform) rollable(ctx context.Context, w world) error {
	d := w.rolled
	refuse := func(why, hint string) error {
		return &refusedError{fmt.Sprintf("Deployment %s cannot be rolled: %s", d.Metadata.Name, why), hint}
	}
	switch _, bySide := d.Spec.Selector.MatchLabels[sideLabel]; {
	case d.Spec.Strategy.Type == "Recreate":
		return refuse("its strategy is Recreate, which ends all pods before a new one starts", "set strategy.type to RollingUpdate")
	case d.Spec.HistoryLimit != nil && *d.Spec.HistoryLimit == 0:
		return refuse("its revisionHistoryLimit is 0, so nothing keeps what the way back needs", "set it to 2 or more")
	case d.Spec.Paused && w.head.rolling == nil && !isBraked(w.raw):
		return refuse("somebody has paused it", "kubectl rollout resume deployment/"+d.Metadata.Name)
	case bySide:
		return refuse("it selects its pods by "+sideLabel, "leave that label out of spec.selector")
	}
	// A route that a canary led to a side's Service would lose its pods: they
	// change sides as they are rolled.
	for _, side := range sides() {
		if w.head.rolling != nil || p.opts.Target.Service == "" {
			break
		}
		name := p.serviceOf(side)
		if left, err := p.cluster.get(ctx, services, name); err != nil {
			return err
		} else if left != nil {
			return refuse("Service "+name+" of a canary is there, to which routes may lead",
				fmt.Sprintf("lead every route to Service %s again, then delete %s and %s", p.opts.Target.Service, p.serviceOf(rollout.Blue), p.serviceOf(rollout.Green)))
		}
	}
	other, err := p.cluster.get(ctx, deployments, p.deploymentOf(rollout.Green))
	if err != nil || other == nil {
		return err
	}
	if view, err := into[deployment](other); err != nil {
		return err
	} else if view.replicas() > 0 {
		return refuse("Deployment "+view.Metadata.Name+" runs beside it", "end that rollout first: gapless retire or gapless rollback")
	}
	return nil
}

// refusedError is something that somebody has to set otherwise first.
type refusedError struct{ text, hint string }

func (e *refusedError) Error() string { return e.text }

// Hint says what to do.
func (e *refusedError) Hint() string { return e.hint }

// roll is one call of Roll.
type roll struct {
	platform *Platform
	target
	admit    func(context.Context, rollout.Instance) error
	admitted map[admission]bool
	head     head // as it was when this began
	doing    string
	own      settings // the Deployment's, before it was rolled
	begun    bool
	awaited  func(context.Context) string // says what is waited for, and why
}

// admission is of a pod until it is started anew.
type admission struct {
	name     string
	restarts int
}

func admissionOf(one pod) admission { return admission{one.Metadata.Name, one.restarts()} }

// standing notes the pods that serve for good: they are not to be let in again.
func (r *roll) standing(w world) {
	n := 0
	switch last := w.head.rolling; {
	case last != nil && last.To == r.to:
		n = r.platform.pods(last.Done, r.of, w.rolled.replicas())
	case last == nil:
		n = r.goal.of
	}
	for _, one := range r.ours(w) {
		if one.ready() && (n > 0 || r.back) {
			r.admitted[admissionOf(one)] = true
			n--
		}
	}
}

// ours are the pods of the revision that are to stay, as they came up.
func (r *roll) ours(w world) (of []pod) {
	set, ok := r.platform.kept(w, r.to, r.side)
	if !ok {
		return nil
	}
	for _, one := range podsOf(w.pods, set) {
		if !one.leaving() {
			of = append(of, one)
		}
	}
	return of
}

func (r *roll) counts(w world) counts {
	c := counts{replicas: w.rolled.replicas()}
	set, ok := r.platform.kept(w, r.to, r.side)
	if ok {
		c.wanted = set.replicas()
	}
	for _, other := range w.sets {
		if ok && other.Metadata.Name == set.Metadata.Name {
			continue
		}
		c.leaving = c.leaving || len(podsOf(w.pods, other)) > 0
		if r.platform.sideOf(other) != r.side || r.back {
			c.others += other.replicas()
		} else {
			c.spoilt += other.replicas()
		}
	}
	for _, one := range r.ours(w) {
		if !one.ready() {
			continue
		}
		c.ready++
		if r.admit == nil || r.admitted[admissionOf(one)] {
			c.admitted++
		}
	}
	return c
}

// run makes one move after the other until the goal is reached.
func (r *roll) run(ctx context.Context, w world) error {
	for {
		r.awaited = nil
		next, reached := r.goal.next(r.counts(w))
		set, changed := r.own.under(w.raw, r.template, next)
		var err error
		switch {
		case !changed && reached:
			return r.finish(ctx)
		case !r.begun: // not before the head says so, and whoever looks can see it
			err = r.begin(ctx, w)
		case changed:
			_, err = r.platform.cluster.update(ctx, deployments, set)
		default:
			err = r.attend(ctx, w)
		}
		if err != nil && !r.passing(err) {
			return r.late(ctx, err)
		}
		if w, err = r.look(ctx, w); err != nil {
			return r.late(ctx, err)
		}
	}
}

// passing tells of an error that the next look is to judge.
func (r *roll) passing(err error) bool {
	return isConflict(err) && !errors.Is(err, rollout.ErrConflict) || errors.Is(err, rollout.ErrUnavailable)
}

// begin writes what is about to be done, and what the Deployment had.
func (r *roll) begin(ctx context.Context, w world) error {
	h, err := r.platform.amend(ctx, r.head, func(h *head) {
		next := rolling{To: r.to, Of: r.of, Replicas: w.rolled.replicas(), Settings: r.own}
		if last := h.rolling; last != nil {
			next.Replicas = last.Replicas
			if last.To == r.to {
				next.Done = last.Done
			}
		} else if r.counts(w).others == 0 {
			next.Replicas = r.goal.of
		}
		h.doing, h.rolling = r.doing, &next
	})
	if err != nil {
		return err
	}
	r.head = h
	if err := r.widen(ctx); err != nil {
		return err
	}
	r.begun = true
	return nil
}

// widen has the Service select pods of both sides: those that are rolled change
// sides.
func (r *roll) widen(ctx context.Context) error {
	name := r.platform.opts.Target.Service
	if name == "" {
		return nil
	}
	d := &duty{Platform: r.platform, head: r.head, doing: r.doing, begun: true}
	return d.edit(ctx, services, name, func(object map[string]any) error {
		delete(at(object, "spec", "selector"), sideLabel)
		return nil
	})
}

// finish notes what is in force now. Where all pods are replaced nothing is left
// to be put back.
func (r *roll) finish(ctx context.Context) error {
	split := rollout.SplitTo(r.side, rollout.PartOf(r.instances, r.of))
	full := r.instances == r.of
	is := func(h head) bool {
		return h.split.Split == split && !h.split.Since.IsZero() && (h.rolling == nil) == full &&
			(full || h.rolling.To == r.to && h.rolling.Done == r.instances)
	}
	if is(r.head) {
		return nil
	}
	at := r.platform.cluster.time.at(r.platform.opts.Clock.Now())
	_, err := r.platform.amend(ctx, r.head, func(h *head) {
		if h.split.Split != split || h.split.Since.IsZero() {
			h.split = divided{split, at}
		}
		if full {
			h.rolling = nil
		} else if last := h.rolling; last != nil {
			next := *last
			next.Done = r.instances
			h.rolling = &next
		}
	})
	return r.late(ctx, err)
}

// look reads the cluster again and makes sure that it is still ours to change.
// An API server that is away is waited for.
func (r *roll) look(ctx context.Context, last world) (world, error) {
	for {
		w, err := r.platform.lookAtRolled(ctx)
		switch {
		case errors.Is(err, rollout.ErrUnavailable) && ctx.Err() == nil:
			away := err
			r.awaited = func(context.Context) string { return away.Error() }
			if err := r.platform.opts.Clock.Sleep(ctx, time.Second); err != nil {
				return last, err
			}
			continue
		case err != nil:
			return w, err
		case w.head.token == r.head.token:
			return w, nil
		case w.head.owner() != r.head.owner(), w.head.doing != r.head.doing && w.head.doing != r.doing:
			return w, fmt.Errorf("%w: %q works on it, at epoch %d, with %q", rollout.ErrConflict,
				w.head.owner().holder, w.head.owner().epoch, w.head.doing)
		}
		r.head = w.head
		return w, nil
	}
}

// rolledSplit tells what is rolled so far, of all that there are to be.
func (p *Platform) rolledSplit(w world, o rollout.Observation) rollout.Split {
	last := w.head.rolling
	side, ok := o.SideOf(last.To)
	if !ok {
		return byCount(o)
	}
	news, others := o.Sides[side].Ready, o.Sides[side.Other()].Ready
	replicas := w.deployments[p.opts.Target.Deployment].replicas()
	of := p.pods(last.Of, last.Of, replicas)
	switch {
	case news == 0 || others == 0:
		return byCount(o)
	case news >= of:
		return rollout.SplitTo(side, rollout.PartOf(news, news+others))
	case news == p.pods(last.Done, last.Of, replicas):
		return rollout.SplitTo(side, rollout.PartOf(last.Done, last.Of))
	}
	return rollout.SplitTo(side, rollout.PartOf(news, of))
}
