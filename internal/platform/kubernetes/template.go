package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// hashLabel is what a Deployment's controller puts on each ReplicaSet's template.
const hashLabel = "pod-template-hash"

// templateOf is a copy of the pods' template of a Deployment or ReplicaSet, as
// it was before the controller labelled it.
func templateOf(o *unstructured.Unstructured) map[string]any {
	whole, _, _ := unstructured.NestedMap(o.Object, "spec", "template") // a copy; the server gives no other form
	unstructured.RemoveNestedField(whole, "metadata", "labels", hashLabel)
	return whole
}

// viewOf is what gapless looks at of a whole template.
func viewOf(whole map[string]any) (t template, err error) {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(whole, &t); err != nil {
		return t, fmt.Errorf("pod template is not understood: %w", err)
	}
	return t, nil
}

// onSide is the template with a side's label.
func onSide(whole map[string]any, side rollout.Side) (map[string]any, error) {
	whole = runtime.DeepCopyJSON(whole)
	if err := unstructured.SetNestedField(whole, string(side), "metadata", "labels", sideLabel); err != nil {
		return nil, fmt.Errorf("pod template: %w", err)
	}
	return whole, nil
}

// templateFor is the template of a revision, made of the one that serves: other
// image, other side, and what the specification asks for besides.
func (p *Platform) templateFor(base map[string]any, side rollout.Side, spec rollout.Spec) (map[string]any, error) {
	var target config.KubernetesSpec
	if err := json.Unmarshal(spec.Target, &target); err != nil {
		return nil, fmt.Errorf("specification of %s: %w", spec.Revision, err)
	}
	whole, err := onSide(base, side)
	if err != nil {
		return nil, err
	}
	revision, err := json.Marshal(spec.Revision)
	if err != nil {
		return nil, fmt.Errorf("revision %s: %w", spec.Revision, err)
	}
	notes, _, err := unstructured.NestedStringMap(whole, "metadata", "annotations")
	if err != nil {
		return nil, fmt.Errorf("pod template: %w", err)
	}
	notes = maps.Clone(notes)
	if notes == nil {
		notes = map[string]string{}
	}
	notes[revisionAnnotation] = string(revision)
	delete(notes, instancesAnnotation)
	if spec.Instances > 0 {
		notes[instancesAnnotation] = strconv.Itoa(spec.Instances)
	}
	if err := unstructured.SetNestedStringMap(whole, notes, "metadata", "annotations"); err != nil {
		return nil, fmt.Errorf("pod template: %w", err)
	}
	return whole, p.fill(whole, target)
}

// fill puts a specification's image and preStop into a template.
func (p *Platform) fill(whole map[string]any, target config.KubernetesSpec) error {
	view, err := viewOf(whole)
	if err != nil {
		return err
	}
	of, ok := p.containerOf(view)
	if !ok {
		return errors.New("which container carries the image is not known: name it as target.kubernetes.container")
	}
	all, _, err := unstructured.NestedSlice(whole, "spec", "containers")
	if err != nil {
		return fmt.Errorf("pod template: %w", err)
	}
	for _, one := range all {
		c, ok := one.(map[string]any)
		if !ok || c["name"] != of.Name {
			continue
		}
		c["image"] = target.Image
		if _, has, _ := unstructured.NestedMap(c, "lifecycle", "preStop"); target.PreStop > 0 && !has {
			seconds := int64(target.PreStop.Seconds())
			if err := unstructured.SetNestedField(c, seconds, "lifecycle", "preStop", "sleep", "seconds"); err != nil {
				return fmt.Errorf("container %s: %w", of.Name, err)
			}
			grace := graceDefault
			if view.Spec.GraceSeconds != nil {
				grace = *view.Spec.GraceSeconds
			}
			if least := seconds + int64(p.opts.Drain.Seconds()) + 1; grace < least {
				if err := unstructured.SetNestedField(whole, least, "spec", "terminationGracePeriodSeconds"); err != nil {
					return fmt.Errorf("pod template: %w", err)
				}
			}
		}
	}
	return unstructured.SetNestedSlice(whole, all, "spec", "containers")
}

// graceDefault is a pod's terminationGracePeriodSeconds where it names none.
const graceDefault int64 = 30

// instances is how many pods the revision of a template has, where gapless wrote
// it there; else 0.
func (t template) instances() int {
	n, err := strconv.Atoi(t.Metadata.Annotations[instancesAnnotation])
	if err != nil || n < 0 {
		return 0
	}
	return n
}
