package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// kind is a kind of object, by its resource's name.
type kind string

const (
	deployments kind = "deployments"
	replicaSets kind = "replicasets"
	pods        kind = "pods"
	services    kind = "services"
	configMaps  kind = "configmaps"
	endpoints   kind = "endpointslices"
	events      kind = "events"
	httpRoutes  kind = "httproutes"
	ingresses   kind = "ingresses"
	autoscalers kind = "horizontalpodautoscalers"
	budgets     kind = "poddisruptionbudgets"
	jobs        kind = "jobs"
)

// resource is the kind in the version that gapless speaks.
func (k kind) resource() schema.GroupVersionResource {
	group, version := "", "v1"
	switch k {
	case deployments, replicaSets:
		group = "apps"
	case endpoints:
		group = "discovery.k8s.io"
	case httpRoutes:
		group = "gateway.networking.k8s.io"
	case ingresses:
		group = "networking.k8s.io"
	case autoscalers:
		group, version = "autoscaling", "v2"
	case budgets:
		group = "policy"
	case jobs:
		group = "batch"
	case pods, services, configMaps, events:
	}
	return schema.GroupVersionResource{Group: group, Version: version, Resource: string(k)}
}

// cluster reads and writes the objects of one namespace. They stay as the
// server gave them, so that what this version of gapless does not know of is
// copied all the same.
type cluster struct {
	api       dynamic.Interface
	transport http.RoundTripper // to the API server, signed in
	host      string
	namespace string
	clock     Clock
	calls     atomic.Int64
	time      serverTime
}

func newCluster(access *rest.Config, namespace string, clock Clock) (*cluster, error) {
	c := &cluster{namespace: namespace, clock: clock}
	config := rest.CopyConfig(access)
	config.UserAgent, config.WarningHandler = "gapless", rest.NoWarnings{}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &counting{c, next} })
	if config.QPS == 0 {
		config.QPS, config.Burst = 50, 100 // the default of 5 would make a look take a second
	}
	var err error
	if c.api, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	if c.transport, err = rest.TransportFor(config); err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	url, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	c.host = url.String()
	return c, nil
}

func (c *cluster) of(k kind) dynamic.ResourceInterface {
	return c.api.Resource(k.resource()).Namespace(c.namespace)
}

// get gives an object; nil where there is none.
func (c *cluster) get(ctx context.Context, k kind, name string) (*unstructured.Unstructured, error) {
	found, err := c.of(k).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return found, c.told(ctx, "read", k, name, err)
}

// list gives the objects that a label selector fits.
func (c *cluster) list(ctx context.Context, k kind, selector string) ([]unstructured.Unstructured, error) {
	found, err := c.of(k).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, c.told(ctx, "list", k, selector, err)
	}
	return found.Items, nil
}

func (c *cluster) create(ctx context.Context, k kind, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	made, err := c.of(k).Create(ctx, o, metav1.CreateOptions{FieldManager: fieldManager})
	return made, c.told(ctx, "create", k, o.GetName(), err)
}

// update writes an object that nobody else has written since it was read; else
// the error is a conflict, see isConflict.
func (c *cluster) update(ctx context.Context, k kind, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	made, err := c.of(k).Update(ctx, o, metav1.UpdateOptions{FieldManager: fieldManager})
	return made, c.told(ctx, "write", k, o.GetName(), err)
}

// delete takes an object away; one that is not there is fine.
func (c *cluster) delete(ctx context.Context, k kind, name string) error {
	err := c.of(k).Delete(ctx, name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return c.told(ctx, "delete", k, name, err)
}

// told says what was asked of the server, and an answer that may be another one
// soon in rollout's words.
func (c *cluster) told(ctx context.Context, verb string, k kind, name string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil { // the caller knows best why it has ended
		return fmt.Errorf("%s %s %s/%s: %w", verb, k, c.namespace, name, context.Cause(ctx))
	}
	err = fmt.Errorf("%s %s %s/%s: %w", verb, k, c.namespace, name, err)
	var unreached net.Error
	switch {
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return &deniedError{err}
	case apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsServiceUnavailable(err), apierrors.IsTooManyRequests(err),
		apierrors.IsInternalError(err), errors.As(err, &unreached):
		return fmt.Errorf("%w: %w", rollout.ErrUnavailable, err)
	}
	return err
}

// isConflict tells whether somebody else has written the object meanwhile.
func isConflict(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }

// deniedError is a verb that the cluster does not let us use.
type deniedError struct{ error }

func (e *deniedError) Unwrap() error { return e.error }

// Hint says what to do.
func (e *deniedError) Hint() string {
	return "give the account the Role of this phase, or see whether its credentials are still good"
}

// into reads the fields that a view names.
func into[T any](o *unstructured.Unstructured) (view T, err error) {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &view); err != nil {
		return view, fmt.Errorf("%s %s is not understood: %w", o.GetKind(), o.GetName(), err)
	}
	return view, nil
}

// counting counts requests, and keeps the server's time.
type counting struct {
	cluster *cluster
	next    http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (c *counting) RoundTrip(request *http.Request) (*http.Response, error) {
	c.cluster.calls.Add(1)
	response, err := c.next.RoundTrip(request)
	if err == nil {
		c.cluster.time.heard(response.Header.Get("Date"), c.cluster.clock.Now())
	}
	return response, err
}

// serverTime follows the API server's clock, which all runners share, by the
// times that its answers bear. These are whole seconds, so the offset is the
// largest one that was seen.
type serverTime struct {
	mu     sync.Mutex
	offset time.Duration
	known  bool
}

func (s *serverTime) heard(date string, now time.Time) {
	at, err := http.ParseTime(date)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := at.Sub(now); !s.known || d > s.offset {
		s.offset, s.known = d, true
	}
}

func (s *serverTime) at(now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Add(s.offset).UTC()
}
