package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// patience bounds each step of coming up.
const patience = 60 * time.Second

// processes are what up starts, in the order in which down ends them: what makes
// pods first, then, with the pods gone, what they lie in.
func processes() []string {
	return append(makers(), "containerd", "kube-apiserver", "etcd")
}

func makers() []string {
	return []string{"kubelet", "gateway", "kube-proxy", "kube-scheduler", "kube-controller-manager"}
}

// start runs inside the namespace and ends when the cluster is ready.
func start(ctx context.Context) error {
	s := supervisor{ended: make(chan error, len(processes()))}
	ready := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { ready <- bringUp(ctx, s) }()
	select {
	case err := <-ready:
		return err
	case err := <-s.ended:
		return err
	}
}

func bringUp(ctx context.Context, s supervisor) error {
	if err := s.startControlPlane(); err != nil {
		return err
	}
	if err := importImages(ctx); err != nil {
		return err
	}
	if err := answers(ctx, apiServer+"/readyz"); err != nil {
		return fmt.Errorf("the API server: %w", err)
	}
	if err := s.startNode(); err != nil {
		return err
	}
	if err := s.startGateway(ctx); err != nil {
		return err
	}
	limit := "--timeout=" + patience.String()
	for _, wait := range [][]string{
		{"--for=create", "node/" + nodeName},
		{"--for=condition=Ready", "node/" + nodeName},
		{"--for=create", "serviceaccount/default"},
		{"--for=condition=Programmed", "--namespace=gateway", "gateway/public"},
	} {
		if err := kubectl(ctx, append([]string{"wait", limit}, wait...)...); err != nil {
			return err
		}
	}
	return nil
}

func (s supervisor) startControlPlane() error {
	pki := in("pki")
	etcd := []string{
		"--name=" + nodeName, "--data-dir=" + in("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=https://127.0.0.1:2379", "--advertise-client-urls=https://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=" + nodeName + "=http://127.0.0.1:2380",
		"--client-cert-auth", "--trusted-ca-file=" + pki + "/ca.crt", "--cert-file=" + pki + "/etcd.crt", "--key-file=" + pki + "/etcd.key",
	}
	server := []string{
		"--bind-address=" + nodeIP, "--advertise-address=" + nodeIP, "--secure-port=6443",
		"--etcd-servers=https://127.0.0.1:2379", "--etcd-cafile=" + pki + "/ca.crt",
		"--etcd-certfile=" + pki + "/kube-apiserver.crt", "--etcd-keyfile=" + pki + "/kube-apiserver.key",
		"--service-cluster-ip-range=" + serviceRange, "--client-ca-file=" + pki + "/ca.crt",
		"--tls-cert-file=" + pki + "/kube-apiserver.crt", "--tls-private-key-file=" + pki + "/kube-apiserver.key",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + pki + "/service-account.pub", "--service-account-signing-key-file=" + pki + "/service-account.key",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--kubelet-certificate-authority=" + pki + "/ca.crt", "--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + pki + "/admin.crt", "--kubelet-client-key=" + pki + "/admin.key",
		"--profiling=false",
	}
	return errors.Join(
		s.start("etcd", binary("etcd"), etcd...),
		s.start("kube-apiserver", binary("kube-apiserver"), server...),
		s.start("containerd", "containerd", "--config="+in("containerd.toml")),
	)
}

func (s supervisor) startNode() error {
	pki := in("pki")
	component := func(name string, more ...string) error {
		config := in(name + ".kubeconfig")
		return s.start(name, binary(name), append([]string{
			"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
			"--bind-address=127.0.0.1", "--leader-elect=false", "--profiling=false",
		}, more...)...)
	}
	return errors.Join(
		component("kube-controller-manager", "--use-service-account-credentials",
			"--service-account-private-key-file="+pki+"/service-account.key", "--root-ca-file="+pki+"/ca.crt"),
		component("kube-scheduler"),
		s.start("kubelet", binary("kubelet"), "--config="+in("kubelet.yaml"), "--kubeconfig="+in("node.kubeconfig"),
			"--root-dir="+in("kubelet"), "--cert-dir="+pki, "--hostname-override="+nodeName, "--node-ip="+nodeIP),
		s.start("kube-proxy", binary("kube-proxy"), "--kubeconfig="+in("kube-proxy.kubeconfig"), "--proxy-mode=iptables",
			"--cluster-cidr="+podRange, "--hostname-override="+nodeName, "--bind-address=127.0.0.1",
			"--healthz-bind-address=127.0.0.1:10256", "--metrics-bind-address=127.0.0.1:10249",
			"--conntrack-max-per-core=0", "--nodeport-addresses="+nodeIP+"/32"),
	)
}

// startGateway starts the data plane as a process of the node, so that neither
// its image nor its pod takes time.
func (s supervisor) startGateway(ctx context.Context) error {
	for _, command := range [][]string{
		{"apply", "--server-side", "--filename=" + binary("crd") + "/"},
		{"wait", "--for=condition=Established", "crd", "--all", "--timeout=" + patience.String()},
		{"apply", "--server-side", "--filename=" + in("gateway.yaml")},
	} {
		if err := kubectl(ctx, command...); err != nil {
			return err
		}
	}
	return s.start("gateway", "env", "KUBECONFIG="+in("gateway.kubeconfig"), binary("traefik"),
		"--global.checknewversion=false", "--global.sendanonymoususage=false", "--log.nocolor=true",
		"--entrypoints.web.address="+gatewayAddress, "--entrypoints.metrics.address="+metricsAddress,
		"--metrics.prometheus=true", "--metrics.prometheus.entrypoint=metrics", "--metrics.prometheus.addrouterslabels=true",
		"--providers.kubernetesgateway=true", "--providers.kubernetesgateway.statusaddress.ip="+nodeIP)
}

func importImages(ctx context.Context) error {
	archives, err := filepath.Glob(in("images", "*.tar"))
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	for _, archive := range archives {
		err := until(ctx, patience, func(ctx context.Context) error {
			_, err := output(ctx, "/", "ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", archive)
			return err
		})
		if err != nil {
			return fmt.Errorf("import images: %w", err)
		}
	}
	return nil
}

// answers waits until an address of the API server answers well.
func answers(ctx context.Context, address string) error {
	pem, err := os.ReadFile(in("pki", "ca.crt"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	certificate, err := tls.LoadX509KeyPair(in("pki", "admin.crt"), in("pki", "admin.key"))
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: roots, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
	}}}
	defer client.CloseIdleConnections()
	return until(ctx, patience, func(ctx context.Context) (err error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, response.Body.Close()) }()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", address, response.Status)
		}
		return nil
	})
}

func kubectl(ctx context.Context, args ...string) error {
	_, err := output(ctx, "/", binary("kubectl"), append([]string{"--kubeconfig=" + kubeconfig}, args...)...)
	return err
}
