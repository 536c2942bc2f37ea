package kubernetes

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// defaultGrace is how long a pod has to end where its template says nothing.
const defaultGrace = 30

// candidate is what becomes of a copied Deployment.
type candidate struct {
	name     string
	side     rollout.Side
	revision rollout.Revision
	target   config.KubernetesSpec
	replicas int
	drain    time.Duration
}

// copyOf makes a new Deployment of another one, whole but for what is that
// one's alone.
func (c candidate) copyOf(base *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	made := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": base.GetAPIVersion(), "kind": base.GetKind(),
		"metadata": copiedMeta(base, c.name),
		"spec":     base.DeepCopy().Object["spec"],
	}}
	// What Gapless creates selects its own pods alone.
	below(made.Object, "spec", "selector", "matchLabels")[sideLabel] = string(c.side)
	return made, c.settle(made.Object)
}

// over writes the copy over a Deployment that is there; its own selector cannot
// be changed.
func (c candidate) over(object map[string]any, base *unstructured.Unstructured) error {
	spec, ok := base.DeepCopy().Object["spec"].(map[string]any)
	if !ok {
		return fmt.Errorf("deployment %s has no spec", base.GetName())
	}
	selector := at(object, "spec", "selector")
	spec["selector"] = selector
	labels := below(spec, "template", "metadata", "labels")
	maps.Copy(labels, at(selector, "matchLabels"))
	object["spec"] = spec
	return c.settle(object)
}

// settle makes the copy the candidate's.
func (c candidate) settle(object map[string]any) error {
	spec := below(object, "spec")
	spec["replicas"] = int64(c.replicas)
	delete(spec, "paused")
	delete(below(object, "metadata", "annotations"), replicasAnnotation)
	return c.onto(below(spec, "template"))
}

// onto makes a pods' template the candidate's.
func (c candidate) onto(template map[string]any) error {
	revision, err := json.Marshal(c.revision)
	if err != nil {
		return fmt.Errorf("revision %s: %w", c.revision, err)
	}
	below(template, "metadata", "labels")[sideLabel] = string(c.side)
	below(template, "metadata", "annotations")[revisionAnnotation] = string(revision)
	container, err := c.container(template)
	if err != nil {
		return err
	}
	container["image"] = c.target.Image
	c.injectPreStop(below(template, "spec"), container)
	return nil
}

// container finds the one that has the revision's image; the target's name was
// settled before, see containerOf.
func (c candidate) container(template map[string]any) (map[string]any, error) {
	for _, one := range items(at(template, "spec"), "containers") {
		if text(one, "name") == c.target.Container {
			return one, nil
		}
	}
	return nil, fmt.Errorf("%w: the pods have no container %q: name the one with the image as target.kubernetes.container", rollout.ErrInput, c.target.Container)
}

// injectPreStop has the container wait before it is told to end, where its
// template does not say what it does then.
func (c candidate) injectPreStop(pod, container map[string]any) {
	if c.target.PreStop <= 0 || at(container, "lifecycle", "preStop") != nil {
		return
	}
	below(container, "lifecycle", "preStop", "sleep")["seconds"] = seconds(c.target.PreStop)
	if least := seconds(c.target.PreStop + c.drain); number(pod, "terminationGracePeriodSeconds", defaultGrace) < least {
		pod["terminationGracePeriodSeconds"] = least
	}
}

func seconds(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) }

// copiedMeta is the metadata of a copy: labels and annotations, but not those
// by which another tool knows what is its own, and so would remove the copy.
func copiedMeta(base *unstructured.Unstructured, name string) map[string]any {
	made := map[string]any{"name": name, "namespace": base.GetNamespace()}
	keep := func(of map[string]string) map[string]any {
		kept := map[string]any{}
		for key, value := range of {
			if !owners(key) {
				kept[key] = value
			}
		}
		return kept
	}
	labels := keep(base.GetLabels())
	labels["app.kubernetes.io/managed-by"] = fieldManager
	made["labels"] = labels
	if annotations := keep(base.GetAnnotations()); len(annotations) > 0 {
		made["annotations"] = annotations
	}
	return made
}

// owners tells of a label or annotation by which a tool or controller knows
// its own objects.
func owners(key string) bool {
	domain, _, _ := strings.Cut(key, "/")
	switch domain {
	case "kubectl.kubernetes.io", "deployment.kubernetes.io", "argocd.argoproj.io", "meta.helm.sh", "objectset.rio.cattle.io":
		return true
	}
	return strings.HasSuffix(domain, ".toolkit.fluxcd.io") ||
		key == "app.kubernetes.io/instance" || key == "app.kubernetes.io/managed-by" || key == replicasAnnotation
}

// sideService is a copy of the public Service that selects one side alone, and
// that is reached within the cluster only.
func (p *Platform) sideService(public *unstructured.Unstructured, side rollout.Side) *unstructured.Unstructured {
	from, spec := at(public.DeepCopy().Object, "spec"), map[string]any{"type": "ClusterIP"}
	for _, key := range []string{"sessionAffinity", "sessionAffinityConfig", "internalTrafficPolicy", "publishNotReadyAddresses", "ipFamilies", "ipFamilyPolicy", "trafficDistribution"} {
		if value, ok := from[key]; ok {
			spec[key] = value
		}
	}
	if text(from, "clusterIP") == "None" {
		spec["clusterIP"] = "None"
	}
	ports := []any{}
	for _, one := range items(from, "ports") {
		delete(one, "nodePort")
		ports = append(ports, one)
	}
	spec["ports"] = ports
	below(spec, "selector")
	maps.Copy(at(spec, "selector"), at(from, "selector"))
	at(spec, "selector")[sideLabel] = string(side)
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Service",
		"metadata": copiedMeta(public, p.serviceOf(side)), "spec": spec,
	}}
}
