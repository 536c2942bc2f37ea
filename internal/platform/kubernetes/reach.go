package kubernetes

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Reach implements phase.Platform: by the API server, which leads to a pod
// from wherever gapless runs.
func (p *Platform) Reach(ctx context.Context, instance rollout.Instance) (http.RoundTripper, error) {
	raw, err := p.cluster.get(ctx, pods, instance.Name)
	if err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, fmt.Errorf("pod %s/%s is gone", p.cluster.namespace, instance.Name)
	}
	view, err := into[pod](raw)
	if err != nil {
		return nil, err
	}
	n, err := p.portOf(ctx, view)
	if err != nil {
		return nil, fmt.Errorf("pod %s/%s: %w", p.cluster.namespace, instance.Name, err)
	}
	base, err := url.Parse(p.cluster.host + "/")
	if err != nil {
		return nil, fmt.Errorf("reach pod %s: %w", instance.Name, err)
	}
	base = base.JoinPath("/api/v1/namespaces", p.cluster.namespace, "pods", instance.Name+":"+strconv.Itoa(n), "proxy")
	return &proxied{base: base, transport: p.cluster.transport}, nil
}

// portOf is the port of a pod that the Service leads to; its first one where
// there is no Service.
func (p *Platform) portOf(ctx context.Context, one pod) (int, error) {
	target, err := p.targetPort(ctx)
	if err != nil {
		return 0, err
	}
	if n := target.IntValue(); n > 0 {
		return n, nil
	}
	for _, c := range one.Spec.Containers {
		for _, candidate := range c.Ports {
			if target.StrVal == "" || candidate.Name == target.StrVal {
				return candidate.ContainerPort, nil
			}
		}
	}
	return 0, fmt.Errorf("%w: no container has port %q", rollout.ErrInput, target.StrVal)
}

// targetPort is the first that the Service names.
func (p *Platform) targetPort(ctx context.Context) (target intstr.IntOrString, err error) {
	if p.opts.Target.Service == "" {
		return target, nil
	}
	raw, err := p.cluster.get(ctx, services, p.opts.Target.Service)
	if err != nil || raw == nil {
		return target, err
	}
	view, err := into[service](raw)
	if err != nil || len(view.Spec.Ports) == 0 {
		return target, err
	}
	return port(view.Spec.Ports[0].TargetPort)
}

// proxied sends requests to one pod through the API server.
type proxied struct {
	base      *url.URL
	transport http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *proxied) RoundTrip(request *http.Request) (*http.Response, error) {
	to := request.Clone(request.Context())
	path := t.base.JoinPath(request.URL.EscapedPath())
	path.RawQuery = request.URL.RawQuery
	to.URL, to.Host = path, ""
	return t.transport.RoundTrip(to)
}
