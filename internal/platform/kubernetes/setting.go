package kubernetes

import (
	"fmt"
	"maps"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
)

// The fields of a Deployment by which its controller acts.
const (
	strategyField = "strategy"
	minReadyField = "minReadySeconds"
	deadlineField = "progressDeadlineSeconds"
)

const (
	// noDeadline is how Kubernetes writes that there is none.
	noDeadline int64 = 1<<31 - 1
	// deadlineDefault is the API server's.
	deadlineDefault int64 = 600
)

// settings are these fields as an object has them; it may leave some out.
type settings map[string]any

// UnmarshalJSON keeps whole numbers whole, as the server's objects have them.
func (s *settings) UnmarshalJSON(text []byte) error {
	read := map[string]any{}
	if err := json.Unmarshal(text, &read); err != nil {
		return fmt.Errorf("settings of a Deployment: %w", err)
	}
	*s = read
	return nil
}

// settingsOf are a Deployment's own; Kubernetes's defaults where it was left
// braked and nobody knows its own any more.
func settingsOf(o *unstructured.Unstructured) settings {
	if isBraked(o) {
		return settings{strategyField: rollingBy("25%", "25%"), deadlineField: deadlineDefault}
	}
	spec, s := specIn(o), settings{}
	for _, field := range []string{strategyField, minReadyField, deadlineField} {
		if value, has := spec[field]; has {
			s[field] = value
		}
	}
	return s
}

func isBraked(o *unstructured.Unstructured) bool {
	return specIn(o)[minReadyField] == int64(brake)
}

func rollingBy(surge, unavailable any) map[string]any {
	return map[string]any{"type": "RollingUpdate", "rollingUpdate": map[string]any{"maxSurge": surge, "maxUnavailable": unavailable}}
}

// under gives a Deployment a template and a setting, s being what it has of its
// own; changed is false where it has them.
func (s settings) under(o *unstructured.Unstructured, template map[string]any, to setting) (set *unstructured.Unstructured, changed bool) {
	set = o.DeepCopy()
	spec := specIn(set)
	delete(spec, minReadyField)
	maps.Copy(spec, s)
	switch to.pace {
	case own:
	case quick:
		spec[strategyField] = rollingBy(int64(to.surge), int64(0))
	case braked:
		spec[strategyField] = rollingBy(int64(to.surge), int64(to.unavailable))
		spec[minReadyField], spec[deadlineField] = int64(brake), noDeadline
	}
	spec["template"], spec["replicas"] = template, int64(to.replicas)
	if delete(spec, "paused"); to.paused {
		spec["paused"] = true
	}
	return set, !reflect.DeepEqual(specIn(o), spec)
}

// specIn is an object's own specification, not a copy.
func specIn(o *unstructured.Unstructured) map[string]any {
	spec, _ := o.Object["spec"].(map[string]any)
	return spec
}
