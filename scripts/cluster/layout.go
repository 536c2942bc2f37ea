package main

import (
	"os"
	"path/filepath"
	"strings"
)

const (
	// namespace is the cluster's network namespace.
	namespace = "gapless-cluster"
	netns     = "/run/netns/" + namespace

	// state is removed by down.
	state      = "/var/lib/gapless-cluster"
	kubeconfig = state + "/admin.kubeconfig"
	socket     = state + "/containerd.sock"

	// nodeIP is where the API server, the kubelet and the gateway listen.
	nodeIP       = "10.99.0.1"
	nodeName     = "node"
	apiServer    = "https://" + nodeIP + ":6443"
	serviceRange = "10.96.0.0/16"
	apiServiceIP = "10.96.0.1"
	podRange     = "10.244.0.0/24"

	gatewayAddress = nodeIP + ":80"
	metricsAddress = nodeIP + ":8082"
)

// in names a file of the state.
func in(path ...string) string { return filepath.Join(append([]string{state}, path...)...) }

// binary is a link in the state to a program of the cluster.
func binary(name string) string { return in("bin", name) }

// environment is what a command of "run" gets.
func environment() []string {
	env := []string{
		"KUBECONFIG=" + kubeconfig,
		"GAPLESS_TEST_KUBECONFIG=" + kubeconfig,
		"GAPLESS_TEST_GATEWAY=" + gatewayAddress,
		"GAPLESS_TEST_GATEWAY_METRICS=http://" + metricsAddress + "/metrics",
		"PATH=" + in("bin") + ":" + os.Getenv("PATH") + ":/usr/sbin:/sbin",
	}
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); name != "KUBECONFIG" && name != "PATH" {
			env = append(env, pair)
		}
	}
	return env
}
