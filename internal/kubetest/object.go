package kubetest

import (
	"errors"
	"io"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
)

// Resource is where objects of a kind are found: Resource("apps/v1", "Deployment").
func Resource(apiVersion, kind string) schema.GroupVersionResource {
	plural := strings.ToLower(kind) + "s"
	switch kind {
	case "Ingress":
		plural = "ingresses"
	case "NetworkPolicy":
		plural = "networkpolicies"
	}
	return schema.FromAPIVersionAndKind(apiVersion, kind).GroupVersion().WithResource(plural)
}

// In gives the objects of a kind in a namespace.
func (a *Access) In(namespace, apiVersion, kind string) dynamic.ResourceInterface {
	return a.Client.Resource(Resource(apiVersion, kind)).Namespace(namespace)
}

// Apply makes the objects of a manifest, YAML documents, in the namespace, or
// changes them to be so, as the person does who runs "kubectl apply".
func (a *Access) Apply(t testing.TB, namespace, manifest string) {
	t.Helper()
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), len(manifest))
	for {
		var o unstructured.Unstructured
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("manifest: %v", err)
		}
		if len(o.Object) == 0 {
			continue
		}
		_, err = a.In(namespace, o.GetAPIVersion(), o.GetKind()).Apply(t.Context(), o.GetName(), &o,
			metav1.ApplyOptions{FieldManager: "kubectl", Force: true})
		if err != nil {
			t.Fatalf("apply %s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}
