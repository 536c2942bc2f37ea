package kubernetes

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// lints gathers what is told.
type lints []string

func (l *lints) add(when bool, form string, of ...any) {
	if when {
		*l = append(*l, fmt.Sprintf(form, of...))
	}
}

// Lints lists what in the cluster's objects costs requests while pods come and
// go, and what that costs; each in one line. None of it stops a release, but
// what a rolling update would refuse is told too.
func (p *Platform) Lints(ctx context.Context) ([]string, error) {
	w, err := p.look(ctx)
	if err != nil {
		return nil, err
	}
	name := p.deploymentOf(rollout.Blue)
	if green, ok := w.deployments[p.deploymentOf(rollout.Green)]; ok && green.replicas() > 0 && w.deployments[name].replicas() == 0 {
		name = green.Metadata.Name
	}
	d, ok := w.deployments[name]
	if !ok {
		return []string{fmt.Sprintf("Deployment %s/%s is not there: there is nothing to copy a candidate of", p.cluster.namespace, name)}, nil
	}
	var l lints
	p.lintPods(&l, d)
	p.lintStrategy(&l, d)
	scaled, err := p.lintAutoscalers(ctx, &l, d)
	if err != nil {
		return nil, err
	}
	l.add(d.replicas() == 1 && !scaled, "Deployment %s has one pod: when that pod or its node fails, nobody serves until another is up", name)
	return l, p.lintBudgets(ctx, &l, d)
}

// lintPods looks at how a pod begins to serve and how it ends.
func (p *Platform) lintPods(l *lints, d deployment) {
	t := d.Spec.Template
	main, known := p.containerOf(t)
	l.add(!known, "the pods have %d containers and none is named %s: say which one has the image, as target.kubernetes.container",
		len(t.Spec.Containers), d.Metadata.Name)
	if !known {
		return
	}
	l.add(main.ReadinessProbe == nil && p.opts.Traffic,
		"container %s has no readinessProbe: a pod takes traffic from when it starts, whether it can answer or not", main.Name)
	stop := main.Lifecycle.PreStop
	l.add(stop == nil && p.opts.Target.InjectPreStop == 0 && p.opts.Traffic,
		"container %s has no preStop: a pod ends before routers have noticed, which failed about 1 request in 100 while pods were replaced; "+
			"set target.kubernetes.inject_prestop: 5s", main.Name)
	l.add(stop == nil && p.opts.Target.InjectPreStop > 0 && p.opts.Traffic && t.revisionIsForeign(),
		"container %s has no preStop yet: inject_prestop gives it to the candidate, the pods that serve now end without it once more", main.Name)
	grace := time.Duration(graceOf(t)) * time.Second
	var sleep time.Duration
	switch {
	case stop != nil && stop.Sleep != nil:
		sleep = time.Duration(stop.Sleep.Seconds) * time.Second
	case stop == nil && p.opts.Target.InjectPreStop > 0:
		grace = max(grace, p.opts.Target.InjectPreStop+p.opts.Drain) // as the candidate will have it
	}
	l.add(grace < sleep+p.opts.Drain,
		"terminationGracePeriodSeconds is %d and preStop takes %s of it: requests that take longer than %s are cut, drain allows them %s",
		graceOf(t), sleep, max(grace-sleep, 0), p.opts.Drain)
	for _, c := range t.Spec.Containers {
		l.add(c.Name != main.Name && stop != nil && c.Lifecycle.PreStop == nil,
			"container %s has no preStop beside %s's: it ends first, and what passes through it fails", c.Name, main.Name)
	}
}

func graceOf(t template) int64 {
	if t.Spec.GraceSeconds == nil {
		return defaultGrace
	}
	return *t.Spec.GraceSeconds
}

// revisionIsForeign tells of a template that gapless did not write.
func (t template) revisionIsForeign() bool { return t.Metadata.Annotations[revisionAnnotation] == "" }

// lintStrategy looks at how the Deployment's controller replaces pods.
func (p *Platform) lintStrategy(l *lints, d deployment) {
	name, rolls := d.Metadata.Name, p.opts.Strategy == rollout.Rolling
	recreate := d.Spec.Strategy.Type == "Recreate"
	l.add(recreate && rolls, "Deployment %s has strategy Recreate, which ends all pods before a new one starts: a rolling update of it is refused", name)
	l.add(recreate && !rolls, "Deployment %s has strategy Recreate: whoever else changes its pods ends all of them before a new one starts", name)
	if limit := d.Spec.HistoryLimit; limit != nil {
		l.add(*limit == 0 && rolls, "Deployment %s has revisionHistoryLimit 0, so nothing keeps what the way back needs: a rolling update of it is refused", name)
	}
	l.add(d.Spec.Paused && p.opts.Strategy == rollout.Rolling && d.Spec.MinReadySeconds != brake,
		"Deployment %s is paused by somebody: a rolling update of it is refused", name)
	// What is rolled has its settings changed meanwhile; a tool that puts them back would be in the way.
	if tool := manager(d.Metadata); tool != "" && rolls {
		l.add(true, "Deployment %s is %s's: have it ignore spec.template, strategy, minReadySeconds, progressDeadlineSeconds and paused, "+
			"which a rolling update changes while it lasts", name, tool)
	}
	if !rolls && !recreate {
		unavailable := fmt.Sprint(d.Spec.Strategy.RollingUpdate.MaxUnavailable)
		l.add(d.replicas() > 1 && unavailable != "0" && unavailable != "0%" && unavailable != "25%",
			"Deployment %s has maxUnavailable %s: whoever else changes its pods takes so many away before new ones are ready", name, unavailable)
	}
}

// manager names the GitOps tool that an object says it belongs to.
func manager(of meta) string {
	for _, marks := range []map[string]string{of.Labels, of.Annotations} {
		for key := range marks {
			switch domain, _, _ := strings.Cut(key, "/"); {
			case domain == "argocd.argoproj.io":
				return "Argo CD"
			case strings.HasSuffix(domain, ".toolkit.fluxcd.io"):
				return "Flux"
			}
		}
	}
	return ""
}

// lintAutoscalers looks at who else sets the number of pods.
func (p *Platform) lintAutoscalers(ctx context.Context, l *lints, d deployment) (scaled bool, err error) {
	scaling, err := p.scaling(ctx, d.Metadata.Name)
	if err != nil {
		return false, err
	}
	for _, a := range scaling {
		scaled = true
		least := 1
		if a.Spec.Min != nil {
			least = *a.Spec.Min
		}
		name := a.Metadata.Name
		l.add(least < 2, "HorizontalPodAutoscaler %s may go down to one pod: when that pod or its node fails, nobody serves until another is up", name)
		l.add(p.opts.Target.Replicas > 0, "HorizontalPodAutoscaler %s sets the number of pods, and so does target.kubernetes.replicas: leave that out", name)
		l.add(p.opts.Strategy != rollout.Rolling && p.opts.Target.Replicas == 0,
			"HorizontalPodAutoscaler %s scales Deployment %s alone: the candidate beside it keeps the number of pods that it starts with", name, d.Metadata.Name)
	}
	return scaled, nil
}

type budget struct {
	Metadata meta `json:"metadata"`
	Spec     struct {
		Selector *metav1.LabelSelector `json:"selector"`
	} `json:"spec"`
}

// lintBudgets looks whether a node that is drained may take all pods at once.
func (p *Platform) lintBudgets(ctx context.Context, l *lints, d deployment) error {
	raws, err := p.cluster.list(ctx, budgets, "")
	if err != nil {
		return err
	}
	found, err := all[budget](raws)
	if err != nil {
		return err
	}
	for _, b := range found {
		by, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil {
			return fmt.Errorf("PodDisruptionBudget %s: %w", b.Metadata.Name, err)
		}
		if by.Matches(labels.Set(d.Spec.Template.Metadata.Labels)) {
			return nil
		}
	}
	l.add(d.replicas() > 1, "no PodDisruptionBudget covers the pods of %s: nodes that are drained at one time may take all of them", d.Metadata.Name)
	return nil
}
