// Package kubernetes is the platform of a cluster: a Deployment for each side,
// or two ReplicaSets of one while it is rolled, behind the Service that clients
// use. It installs no controller. What it leaves are labels and annotations on
// the pods' template, and one ConfigMap with the mark.
package kubernetes

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/rest"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// What gapless writes on the pods' template, and so on ReplicaSets and pods.
const (
	// sideLabel is blue or green; the Service that clients use selects by it.
	sideLabel = "gapless.dev/side"
	// revisionAnnotation holds a rollout.Revision as JSON.
	revisionAnnotation = "gapless.dev/revision"
	// instancesAnnotation holds how many pods the revision has.
	instancesAnnotation = "gapless.dev/instances"
	// fieldManager names gapless in the objects' managed fields.
	fieldManager = "gapless"
)

// lookEvery is how often it is looked whether what was asked for has come.
const lookEvery = 250 * time.Millisecond

// Clock is the time of the machine that gapless runs on.
type Clock interface {
	Now() time.Time
	Sleep(ctx context.Context, d time.Duration) error
}

// Options say what is released, and how.
type Options struct {
	// Service is the one of gapless.yaml.
	Service string
	// Target names the objects.
	Target config.Kubernetes
	// Strategy is how revisions take over from each other.
	Strategy rollout.Strategy
	// Traffic is false for a service that takes none, such as a worker.
	Traffic bool
	// Drain is how long requests in flight may go on when a pod is ended.
	Drain time.Duration
	Clock Clock
}

// Platform is one service in one namespace. It implements phase.Sides and
// phase.Roller.
type Platform struct {
	opts    Options
	cluster *cluster
}

// New makes the platform of a service in the cluster that access leads to.
func New(access *rest.Config, opts Options) (*Platform, error) {
	c, err := newCluster(access, opts.Target.Namespace, opts.Clock)
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", opts.Target.Namespace, err)
	}
	return &Platform{opts: opts, cluster: c}, nil
}

// Calls is how many requests were sent to the API server so far.
func (p *Platform) Calls() int64 { return p.cluster.calls.Load() }

// deploymentOf is the name of the Deployment that holds a side where both stand
// beside each other: blue has the one that was there first.
func (p *Platform) deploymentOf(side rollout.Side) string {
	if side == rollout.Green {
		return p.opts.Target.Deployment + "-green"
	}
	return p.opts.Target.Deployment
}

// serviceOf is the name of the Service that selects one side alone.
func (p *Platform) serviceOf(side rollout.Side) string {
	return p.opts.Target.Service + "-" + string(side)
}

// Names are those of the Deployment and the Service by which a side's requests
// are counted. What is behind one Service shares its name.
func (p *Platform) Names(side rollout.Side) (deployment, service string) {
	deployment, service = p.deploymentOf(side), p.opts.Target.Service
	if p.opts.Strategy == rollout.Rolling {
		deployment = p.opts.Target.Deployment
	}
	if p.opts.Target.Route != "" && p.opts.Strategy != rollout.Rolling {
		service = p.serviceOf(side)
	}
	return deployment, service
}

// sides are both.
func sides() []rollout.Side { return []rollout.Side{rollout.Blue, rollout.Green} }
