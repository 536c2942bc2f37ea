package cli

import (
	"cmp"
	"fmt"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/gapless-deploy/gapless/internal/config"
	pods "github.com/gapless-deploy/gapless/internal/meter/kubernetes"
	"github.com/gapless-deploy/gapless/internal/meter/prometheus"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/platform/kubernetes"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// kubernetes gives the cluster's platform, and what counts there: requests by
// Prometheus where the config names one, CPU and memory by the cluster.
func (env *environment) kubernetes(cfg *config.Config) (phase.Platform, phase.Meter, error) {
	klog.SetLogger(logr.Discard()) // the client library's own words, which nobody asked for
	target := *cfg.Target.Kubernetes
	access, err := env.clusterAccess(target.Context)
	if err != nil {
		return nil, nil, err
	}
	platform, err := kubernetes.New(access, kubernetes.Options{
		Service: cfg.Service, Target: target, Strategy: cfg.Strategy.Kind(), Traffic: cfg.Traffic != config.TrafficNone,
		Drain: cfg.Drain, Clock: phase.SystemClock{},
	})
	if err != nil {
		return nil, nil, err
	}
	counts := pods.Options{Namespace: target.Namespace, Warn: env.out.warn}
	if cfg.Meter != nil {
		if counts.Requests, err = env.prometheus(cfg, platform); err != nil {
			return nil, nil, err
		}
	}
	meter, err := pods.New(access, counts)
	if err != nil {
		return nil, nil, err
	}
	return platform, meter, nil
}

// clusterAccess is what KUBECONFIG or ~/.kube/config says, or the service
// account of the pod that gapless runs in.
func (env *environment) clusterAccess(context string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	access, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: context}).ClientConfig()
	if err != nil {
		return nil, &inputError{
			err:  fmt.Errorf("credentials of the cluster, context %s: %w", cmp.Or(context, "current"), err),
			hint: "set KUBECONFIG to a kubeconfig of an account that may do what the phase's Role says",
		}
	}
	env.out.hide(access.BearerToken)
	env.out.hide(access.Password)
	return access, nil
}

func (env *environment) prometheus(cfg *config.Config, platform *kubernetes.Platform) (*prometheus.Meter, error) {
	named := cfg.Meter.Prometheus
	o := prometheus.Options{
		Config: *named, SlowOver: cfg.Judge.Slow.Over, Namespace: cfg.Target.Kubernetes.Namespace,
		Sides: map[rollout.Side]prometheus.Side{}, Clock: phase.SystemClock{}, Warn: env.out.warn,
	}
	for _, side := range []rollout.Side{rollout.Blue, rollout.Green} {
		deployment, service := platform.Names(side)
		o.Sides[side] = prometheus.Side{Deployment: deployment, Service: service}
	}
	for _, secret := range []struct {
		name string
		into *string
	}{{named.TokenEnv, &o.Token}, {named.BasicAuthEnv, &o.BasicAuth}} {
		if secret.name == "" {
			continue
		}
		if *secret.into = env.Getenv(secret.name); *secret.into == "" {
			return nil, &inputError{fmt.Errorf("%s is not set: it holds the credentials of Prometheus", secret.name), "set it in the environment of this command"}
		}
		env.out.hide(*secret.into)
	}
	if named.CAEnv != "" {
		o.CA = []byte(env.Getenv(named.CAEnv))
	}
	return prometheus.New(o)
}
