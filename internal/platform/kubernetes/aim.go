package kubernetes

import (
	"fmt"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// rolling is what the head keeps of a Deployment that is rolled.
type rolling struct {
	// To is the revision that replaces the other one; Of is how many instances it
	// has by its specification, and Done how many of them serve for good.
	To   rollout.Revision `json:"to"`
	Of   int              `json:"of"`
	Done int              `json:"done"`
	// Replicas and Settings are the Deployment's when it began.
	Replicas int      `json:"replicas"`
	Settings settings `json:"settings"`
}

// pods is how many of a Deployment's pods stand for so many of a
// specification's instances: where the file names no number, the Deployment's
// own counts, which an autoscaler may have changed since.
func (p *Platform) pods(instances, of, replicas int) int {
	if p.opts.Target.Replicas > 0 || replicas == 0 || of == 0 {
		return instances
	}
	return (instances*replicas + of - 1) / of
}

// target is where a roll leads to.
type target struct {
	goal
	to        rollout.Revision
	side      rollout.Side
	instances int // that are to serve, of the specification's
	of        int
	template  map[string]any
}

// aim finds side, template and numbers. What serves of the revision already goes
// on serving.
func (p *Platform) aim(w world, to rollout.Spec, atLeast int) (t target, err error) {
	t.to = to.Revision
	if t.side, err = p.sideFor(w, to.Revision); err != nil {
		return t, err
	}
	if t.template, err = p.templateToRoll(w, to, t.side); err != nil {
		return t, err
	}
	view, err := viewOf(t.template)
	if err != nil {
		return t, err
	}
	replicas, was := w.rolled.replicas(), 0
	if r := w.head.rolling; r != nil {
		was = r.Replicas
	}
	t.of = firstOf(to.Instances, view.instances(), was, replicas)
	t.goal.of, t.back = p.pods(t.of, t.of, replicas), len(to.Target) == 0
	t.former = firstOf(was, replicas, t.goal.of)
	if p.opts.Target.Replicas == 0 {
		t.former = firstOf(replicas, t.goal.of)
	} else if set, ok := p.serving(w, t.side.Other()); ok {
		t.former = firstOf(set.Spec.Template.instances(), t.former)
	}
	t.instances = min(max(atLeast, 0), t.of)
	if r := w.head.rolling; r != nil && r.To == t.to {
		t.instances = max(t.instances, min(r.Done, t.of))
	}
	if _, replaces := p.serving(w, t.side.Other()); !replaces {
		t.instances = t.of // nothing serves that could go on serving meanwhile
	}
	t.goal.pods = p.pods(t.instances, t.of, replicas)
	return t, nil
}

// firstOf is the first number that is known.
func firstOf(numbers ...int) int {
	for _, n := range numbers {
		if n > 0 {
			return n
		}
	}
	return 1
}

// is reports whether a set is of a revision, on a side.
func (p *Platform) is(set replicaSet, revision rollout.Revision, side rollout.Side) bool {
	r, err := p.revisionOf(set.Spec.Template)
	return err == nil && r == revision && p.sideOf(set) == side
}

// serving is the newest set of a side that has pods.
func (p *Platform) serving(w world, side rollout.Side) (replicaSet, bool) {
	var with replicaSet
	found := false
	for _, set := range w.sets {
		if p.sideOf(set) != side || set.replicas() == 0 {
			continue
		}
		if set.Status.ReadyReplicas > 0 {
			return set, true
		}
		if !found {
			with, found = set, true
		}
	}
	return with, found
}

// sideFor is the side that holds the revision, else one that does not serve.
func (p *Platform) sideFor(w world, revision rollout.Revision) (rollout.Side, error) {
	stands := func(side rollout.Side, only func(replicaSet) bool) (pods, ready int) {
		for _, set := range w.sets {
			if p.sideOf(set) == side && only(set) {
				pods, ready = pods+set.replicas(), ready+set.Status.ReadyReplicas
			}
		}
		return pods, ready
	}
	all := func(replicaSet) bool { return true }
	for _, fits := range []func(rollout.Side) bool{
		func(side rollout.Side) bool {
			pods, _ := stands(side, func(set replicaSet) bool { return p.is(set, revision, side) })
			return pods > 0
		},
		func(side rollout.Side) bool { // kept there, and nothing else serves there
			_, ready := stands(side, all)
			_, kept := p.kept(w, revision, side)
			return kept && ready == 0
		},
		func(side rollout.Side) bool { pods, _ := stands(side, all); return pods == 0 },
		func(side rollout.Side) bool { _, ready := stands(side, all); return ready == 0 },
	} {
		for _, side := range sides() {
			if fits(side) {
				return side, nil
			}
		}
	}
	return "", fmt.Errorf("%w: both sides of Deployment %s serve other revisions", rollout.ErrConflict, p.opts.Target.Deployment)
}

// kept is the newest set of a revision on a side, one with pods first.
func (p *Platform) kept(w world, revision rollout.Revision, side rollout.Side) (replicaSet, bool) {
	var found *replicaSet
	for i, set := range w.sets {
		if p.is(set, revision, side) && (found == nil || found.replicas() == 0 && set.replicas() > 0) {
			found = &w.sets[i]
		}
	}
	if found == nil {
		return replicaSet{}, false
	}
	return *found, true
}

// templateToRoll is the one that the revision has by now, that was kept of it,
// or that is made of the one that serves.
func (p *Platform) templateToRoll(w world, to rollout.Spec, side rollout.Side) (map[string]any, error) {
	now := templateOf(w.raw)
	r, err := p.revisionOf(w.rolled.Spec.Template)
	if err != nil {
		return nil, err
	}
	if len(to.Target) == 0 {
		for _, on := range []rollout.Side{side, side.Other()} {
			if set, ok := p.kept(w, to.Revision, on); ok {
				if on == side {
					return w.templates[set.Metadata.Name], nil
				}
				return onSide(w.templates[set.Metadata.Name], side), nil
			}
		}
		return nil, &lostError{p.opts.Target.Deployment, to.Revision}
	}
	base := now
	if set, ok := p.serving(w, side.Other()); ok {
		base = w.templates[set.Metadata.Name]
	}
	made, err := p.templateFor(base, side, to)
	if err != nil || r != to.Revision || w.rolled.Spec.Template.side() != side {
		return made, err
	}
	// Somebody may have changed what is copied of since; but not the image.
	was, _ := p.containerOf(w.rolled.Spec.Template)
	if view, err := viewOf(made); err != nil {
		return nil, err
	} else if is, _ := p.containerOf(view); is.Image != was.Image {
		return nil, fmt.Errorf("%w: Deployment %s says that it has %s, and has image %s", rollout.ErrConflict, w.rolled.Metadata.Name, r, was.Image)
	}
	return now, nil
}

// lostError is a revision whose definition the cluster no longer has.
type lostError struct {
	deployment string
	revision   rollout.Revision
}

func (e *lostError) Error() string {
	return fmt.Sprintf("Deployment %s has no ReplicaSet of %s any more", e.deployment, e.revision)
}

// Hint says what to do.
func (e *lostError) Hint() string {
	return "release that revision anew; a larger revisionHistoryLimit keeps more of them"
}
