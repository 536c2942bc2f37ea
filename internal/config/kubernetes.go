package config

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Kubernetes is a Deployment behind a Service and, for weights, a route.
type Kubernetes struct {
	// The context of the kubeconfig that leads to the cluster. Default: its current one, or the service account of the pod that gapless runs in.
	Context string `yaml:"context"`
	// The namespace of all the objects named here.
	Namespace string `yaml:"namespace,required"`
	// The Deployment's name. The other side is a Deployment of this name with -green behind it.
	Deployment string `yaml:"deployment,required" jsonschema:"maxLength=57"`
	// The name of the Service that clients use. It may be left out where the service takes no traffic.
	Service string `yaml:"service" jsonschema:"maxLength=57"`
	// The image of a revision; {revision} stands for its id.
	Image string `yaml:"image,required"`
	// The container that has this image. Default: the pod's only one, else the one named like the Deployment.
	Container string `yaml:"container"`
	// How many pods a revision has. Default: as many as stable has when the rollout begins.
	Replicas int `yaml:"replicas" jsonschema:"minimum=1,maximum=1000"`
	// The HTTPRoute (Gateway API) whose weights divide the traffic.
	Route string `yaml:"route"`
	// The Ingress of ingress-nginx to which a canary Ingress is put, whose weight divides the traffic.
	Ingress string `yaml:"ingress"`
	// A header that leads to the candidate whatever the weight, like "X-Canary: yes". Needs route or ingress.
	PreviewHeader string `yaml:"preview_header"`
	// How long a pod of the candidate waits before it is told to end, where its template says nothing: the time that routers take to notice.
	InjectPreStop time.Duration `yaml:"inject_prestop"`
}

// KubernetesSpec is what a revision differs by from the one that its pods are
// copied of. With the id and the number of replicas asked for, a revision's
// digest is made of it.
type KubernetesSpec struct {
	Image     string        `json:"image"`
	Container string        `json:"container,omitempty"`
	PreStop   time.Duration `json:"pre_stop,omitempty"`
}

// spec describes the revision with this id.
func (k *Kubernetes) spec(revision string) (rollout.Spec, error) {
	id, err := rollout.ParseRevisionID(revision)
	if err != nil {
		return rollout.Spec{}, err
	}
	return rollout.NewSpec(id, k.Replicas, KubernetesSpec{
		Image: strings.ReplaceAll(k.Image, "{revision}", id), Container: k.Container, PreStop: k.InjectPreStop,
	})
}

// RevisionOf gives the id of the revision that has this image; none where the
// image is not of the form that the file names.
func (k *Kubernetes) RevisionOf(image string) (id string, ok bool) {
	before, after, found := strings.Cut(k.Image, "{revision}")
	if !found || !strings.HasPrefix(image, before) || !strings.HasSuffix(image, after) || len(image) <= len(before)+len(after) {
		return "", false
	}
	id, err := rollout.ParseRevisionID(image[len(before) : len(image)-len(after)])
	return id, err == nil
}

var (
	// dnsLabel and dnsSubdomain are what Kubernetes takes for names (RFC 1123).
	dnsLabel     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	dnsSubdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)
	header       = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}: ?[!-~]{1,200}$`)
)

func (k *checker) kubernetes(t *Kubernetes) {
	const at = "target.kubernetes"
	k.dnsName(at+".namespace", t.Namespace, dnsLabel)
	k.dnsName(at+".deployment", t.Deployment, dnsSubdomain)
	k.dnsName(at+".service", t.Service, dnsLabel)
	k.dnsName(at+".container", t.Container, dnsLabel)
	k.dnsName(at+".route", t.Route, dnsSubdomain)
	k.dnsName(at+".ingress", t.Ingress, dnsSubdomain)
	// The names of the other side and of its Service are these with a suffix.
	for key, name := range map[string]string{"deployment": t.Deployment, "service": t.Service} {
		if in := at + "." + key; !k.faulty(in) && len(name) > maxSideName {
			k.refuse(in, fmt.Sprintf("expected at most %d characters, observed %d: a side's name has a suffix", maxSideName, len(name)), "")
		}
	}
	if k.doc.Has(at+".image") && !k.faulty(at+".image") && strings.Count(t.Image, "{revision}") != 1 {
		k.refuse(at+".image", "expected {revision} once, observed "+fmt.Sprintf("%q", t.Image), "write it like registry.example.com/shop:{revision}")
	}
	k.placeholders(at+".image", t.Image)
	if k.doc.Has(at+".replicas") && !k.faulty(at+".replicas") && (t.Replicas < 1 || t.Replicas > 1000) {
		k.refuse(at+".replicas", fmt.Sprintf("expected 1 to 1000, observed %d", t.Replicas), "")
	}
	if t.Route != "" && t.Ingress != "" {
		k.refuse(at+".ingress", "both route and ingress are given: one of them divides the traffic", "delete one")
	}
	if t.PreviewHeader != "" && !k.faulty(at+".preview_header") && !header.MatchString(t.PreviewHeader) {
		k.refuse(at+".preview_header", fmt.Sprintf("expected a header and its value, observed %q", t.PreviewHeader), `write it like "X-Canary: yes"`)
	}
	if t.PreviewHeader != "" && t.Route == "" && t.Ingress == "" {
		k.refuse(at+".preview_header", "a Service cannot go by a header", "name the route or the ingress too")
	}
	k.within(at+".inject_prestop", t.InjectPreStop, 0, 10*time.Minute)
}

// maxSideName leaves room for "-green" in a DNS label.
const maxSideName = 57

func (k *checker) dnsName(at, name string, form *regexp.Regexp) {
	if k.doc.Has(at) && !k.faulty(at) && !form.MatchString(name) {
		k.refuse(at, fmt.Sprintf("expected the name of an object, observed %q", name), "lower-case letters, digits and hyphens")
	}
}
