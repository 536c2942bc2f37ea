package kubernetes

import (
	"encoding/json"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// hashLabel is what a Deployment's controller puts on each ReplicaSet's template.
const hashLabel = "pod-template-hash"

// templateOf is a copy of the pods' template of a Deployment or ReplicaSet, as
// it was before the controller labelled it.
func templateOf(o *unstructured.Unstructured) map[string]any {
	whole, _ := specIn(o.DeepCopy())["template"].(map[string]any)
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
func onSide(whole map[string]any, side rollout.Side) map[string]any {
	whole = runtime.DeepCopyJSON(whole)
	below(whole, "metadata", "labels")[sideLabel] = string(side)
	return whole
}

// templateFor is the template of a revision, made of the one that serves.
func (p *Platform) templateFor(base map[string]any, side rollout.Side, spec rollout.Spec) (map[string]any, error) {
	c := candidate{side: side, revision: spec.Revision, drain: p.opts.Drain}
	if err := json.Unmarshal(spec.Target, &c.target); err != nil {
		return nil, fmt.Errorf("specification of %s: %w", spec.Revision, err)
	}
	view, err := viewOf(base)
	if err != nil {
		return nil, err
	}
	if of, ok := p.containerOf(view); ok {
		c.target.Container = of.Name
	}
	made := runtime.DeepCopyJSON(base)
	notes := below(made, "metadata", "annotations")
	delete(notes, instancesAnnotation)
	if spec.Instances > 0 {
		notes[instancesAnnotation] = strconv.Itoa(spec.Instances)
	}
	return made, c.onto(made)
}

// instances is how many pods the revision of a template has, where gapless wrote
// it there; else 0.
func (t template) instances() int {
	n, err := strconv.Atoi(t.Metadata.Annotations[instancesAnnotation])
	if err != nil || n < 0 {
		return 0
	}
	return n
}
