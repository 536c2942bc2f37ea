package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// patience is how long one question may take.
const patience = 10 * time.Second

// cluster asks for the usage of pods.
type cluster struct {
	rest      *rest.RESTClient
	namespace string
	selector  string
	// summary is set where the cluster has no metrics.k8s.io.
	summary bool
}

func newCluster(access *rest.Config, o Options) (*cluster, error) {
	access = rest.CopyConfig(access)
	access.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	client, err := rest.UnversionedRESTClientFor(access)
	if err != nil {
		return nil, err
	}
	return &cluster{rest: client, namespace: o.Namespace, selector: o.Selector}, nil
}

// usage tells what pods use, by name: by metrics.k8s.io, or where the cluster
// has none by what the kubelets say through the API server.
func (c *cluster) usage(ctx context.Context) (map[string]usage, error) {
	if !c.summary {
		used, err := c.metrics(ctx)
		if !absent(err) {
			return used, err
		}
		c.summary = true
	}
	return c.kubelets(ctx)
}

// absent reports whether there is no metrics.k8s.io, or nobody who answers for
// it.
func absent(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsServiceUnavailable(err)
}

// The views have the fields that are looked at, and no others.
type (
	name struct {
		Name string `json:"name"`
	}
	podMetrics struct {
		Items []struct {
			Metadata   name      `json:"metadata"`
			Timestamp  time.Time `json:"timestamp"`
			Window     string    `json:"window"`
			Containers []struct {
				Usage struct {
					CPU    resource.Quantity `json:"cpu"`
					Memory resource.Quantity `json:"memory"`
				} `json:"usage"`
			} `json:"containers"`
		} `json:"items"`
	}
	podList struct {
		Items []struct {
			Metadata name `json:"metadata"`
			Spec     struct {
				NodeName string `json:"nodeName"`
			} `json:"spec"`
		} `json:"items"`
	}
	// stats are of a pod or of a container, as the kubelet tells them.
	stats struct {
		CPU *struct {
			Time  time.Time `json:"time"`
			Nanos *int64    `json:"usageCoreNanoSeconds"`
		} `json:"cpu"`
		Memory *struct {
			Time       time.Time `json:"time"`
			WorkingSet int64     `json:"workingSetBytes"`
		} `json:"memory"`
	}
	summary struct {
		Pods []struct {
			Ref struct {
				Name      string `json:"name"`
				Namespace string `json:"namespace"`
			} `json:"podRef"`
			stats
			Containers []stats `json:"containers"`
		} `json:"pods"`
	}
)

func (c *cluster) metrics(ctx context.Context) (map[string]usage, error) {
	var list podMetrics
	if err := c.get(ctx, &list, c.selector, "apis", "metrics.k8s.io", "v1beta1", "namespaces", c.namespace, "pods"); err != nil {
		return nil, err
	}
	used := map[string]usage{}
	for _, one := range list.Items {
		window, err := time.ParseDuration(one.Window)
		if err != nil {
			return nil, fmt.Errorf("PodMetrics %s: window %q: %w", one.Metadata.Name, one.Window, err)
		}
		u := usage{at: one.Timestamp, window: window, spent: -1}
		for _, container := range one.Containers {
			u.cores += container.Usage.CPU.AsApproximateFloat64()
			u.memory += container.Usage.Memory.Value()
		}
		used[one.Metadata.Name] = u
	}
	return used, nil
}

func (c *cluster) kubelets(ctx context.Context) (map[string]usage, error) {
	var list podList
	if err := c.get(ctx, &list, c.selector, "api", "v1", "namespaces", c.namespace, "pods"); err != nil {
		return nil, err
	}
	ours, nodes := map[string]bool{}, map[string]bool{}
	for _, one := range list.Items {
		ours[one.Metadata.Name] = true
		if one.Spec.NodeName != "" {
			nodes[one.Spec.NodeName] = true
		}
	}
	used := map[string]usage{}
	for node := range nodes {
		var s summary
		if err := c.get(ctx, &s, "", "api", "v1", "nodes", node, "proxy", "stats", "summary"); err != nil {
			return nil, fmt.Errorf("kubelet of node %s: %w", node, err)
		}
		for _, one := range s.Pods {
			if one.Ref.Namespace == c.namespace && ours[one.Ref.Name] {
				used[one.Ref.Name] = usageOf(one.stats, one.Containers)
			}
		}
	}
	return used, nil
}

// usageOf takes what is told of the pod or, where nothing is, of its containers.
func usageOf(of stats, containers []stats) usage {
	all := containers
	if of.CPU != nil && of.CPU.Nanos != nil && of.Memory != nil {
		all = []stats{of}
	}
	u := usage{}
	known := len(all) > 0
	for _, one := range all {
		if one.CPU == nil || one.CPU.Nanos == nil {
			known = false
		} else {
			u.spent += time.Duration(*one.CPU.Nanos)
			u.at = later(u.at, one.CPU.Time)
		}
		if one.Memory != nil {
			u.memory += one.Memory.WorkingSet
			if one.CPU == nil {
				u.at = later(u.at, one.Memory.Time)
			}
		}
	}
	if !known {
		u.spent = -1
	}
	return u
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// get reads a JSON object. Its errors are the API server's own.
func (c *cluster) get(ctx context.Context, into any, selector string, path ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer within %s", patience))
	defer cancel()
	request := c.rest.Get().AbsPath(path...).SetHeader("Accept", "application/json")
	if selector != "" {
		request = request.Param("labelSelector", selector)
	}
	data, err := request.DoRaw(ctx)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read what the cluster tells at %v: %w", path, err)
	}
	return nil
}
