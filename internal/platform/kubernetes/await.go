package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// attend lets the next pod in that is ready, or waits for one.
func (r *roll) attend(ctx context.Context, w world) error {
	for _, one := range r.ours(w) {
		if !one.ready() {
			r.awaited = func(ctx context.Context) string {
				return fmt.Sprintf("instance %s of %s is not ready: %s", one.Metadata.Name, r.to, r.platform.problem(ctx, one))
			}
			return r.await(ctx, w)
		}
	}
	for _, one := range r.ours(w) {
		if r.admit != nil && !r.admitted[admissionOf(one)] {
			if err := r.admit(ctx, instance(one, r.side)); err != nil {
				return fmt.Errorf("instance %s of %s: %w", one.Metadata.Name, r.to, err)
			}
			r.admitted[admissionOf(one)] = true
			return nil
		}
	}
	r.awaited = func(context.Context) string { return r.unmade(w) }
	return r.await(ctx, w)
}

// unmade says what is waited for where each pod that there is is ready.
func (r *roll) unmade(w world) string {
	set, ok := r.platform.kept(w, r.to, r.side)
	switch {
	case !ok:
		return cmp.Or(failure(w.rolled.Status.Conditions), fmt.Sprintf("Deployment %s has no ReplicaSet of %s yet", w.rolled.Metadata.Name, r.to))
	case len(podsOf(w.pods, set)) < set.replicas():
		return fmt.Sprintf("%d of %d pods of %s are there: %s", len(podsOf(w.pods, set)), set.replicas(), r.to,
			cmp.Or(failure(set.Status.Conditions), "ReplicaSet "+set.Metadata.Name+" makes no more"))
	}
	for _, one := range w.pods {
		if one.leaving() {
			return fmt.Sprintf("instance %s is still ending, and has until %s", one.Metadata.Name, one.Metadata.DeletionTimestamp.UTC().Format(time.TimeOnly))
		}
	}
	return fmt.Sprintf("Deployment %s is not at what it was set to", w.rolled.Metadata.Name)
}

// await waits until the pods have changed, and looks at all again after a while
// even if they have not.
func (r *roll) await(ctx context.Context, w world) error {
	const looks = 8
	before := changes(w.pods)
	for range looks {
		if err := r.platform.opts.Clock.Sleep(ctx, lookEvery); err != nil {
			return err
		}
		raws, err := r.platform.cluster.list(ctx, pods, w.selector)
		if err != nil {
			return err
		}
		now, err := all[pod](raws)
		if err != nil {
			return err
		}
		now = slices.DeleteFunc(now, func(one pod) bool { return !ownedByAny(one, w.sets) })
		if !slices.Equal(changes(now), before) {
			return nil
		}
	}
	return nil
}

// changes is what a roll goes by of pods.
func changes(of []pod) (list []string) {
	for _, one := range of {
		list = append(list, fmt.Sprint(one.Metadata.UID, one.ready(), one.leaving(), one.restarts(), one.Status.Phase))
	}
	slices.Sort(list)
	return list
}

func ownedByAny(one pod, sets []replicaSet) bool {
	return slices.ContainsFunc(sets, func(s replicaSet) bool { return s.Metadata.Name == setOf(one) })
}

// all are the views of several objects.
func all[T any](raws []unstructured.Unstructured) ([]T, error) {
	var views []T
	for i := range raws {
		view, err := into[T](&raws[i])
		if err != nil {
			return nil, err
		}
		views = append(views, view)
	}
	return views, nil
}

// late tells what was waited for when the time was up.
func (r *roll) late(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if err == nil || cause == nil || errors.Is(err, rollout.ErrConflict) {
		return err
	}
	if r.awaited == nil {
		return fmt.Errorf("%w: %w", cause, err)
	}
	// What there is to say needs a few requests more.
	told, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellWithin)
	defer cancel()
	return fmt.Errorf("%w: %s", cause, r.awaited(told))
}

// tellWithin bounds how long it is looked for the reason of a failure.
const tellWithin = 5 * time.Second
