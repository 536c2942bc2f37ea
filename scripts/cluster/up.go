package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// up prepares the state and the namespace, then starts the cluster by running
// this program inside the namespace.
func up(ctx context.Context) error {
	if status() == nil {
		progress("it is up already")
		return nil
	}
	if os.Geteuid() != 0 {
		return &MissingError{"it needs root"}
	}
	root, err := output(ctx, ".", "go", "list", "-m", "-f", "{{.Dir}}", "github.com/gapless-deploy/gapless")
	if err != nil {
		return err
	}
	if err := install(ctx, root); err != nil {
		return err
	}
	if err := down(ctx); err != nil { // what an earlier one left
		return err
	}
	began := time.Now()
	if err := prepare(ctx, root); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	cmd := inNamespace(ctx, self, "start")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return errors.Join(fmt.Errorf("the cluster did not come up: %w", err), down(context.WithoutCancel(ctx)))
	}
	progress("up in %s", time.Since(began).Round(100*time.Millisecond))
	return nil
}

// install sees to the programs of the machine.
func install(ctx context.Context, root string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts/need"), "containerd=containerd", "runc=runc", "iptables=iptables",
		"ip=iproute2", "nsenter=util-linux", "/usr/lib/cni/ptp=containernetworking-plugins")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return &MissingError{"a package of the system is missing"}
	}
	return nil
}

// prepare makes what the processes of the cluster find when they start.
func prepare(ctx context.Context, root string) error {
	for _, dir := range []string{"bin", "log", "pid"} {
		if err := os.MkdirAll(in(dir), 0o755); err != nil {
			return fmt.Errorf("state: %w", err)
		}
	}
	kubernetesDir, err := kubernetes().cached(ctx, root)
	if err != nil {
		return err
	}
	gatewayDir, err := gateway().cached(ctx, root)
	if err != nil {
		return err
	}
	for name, target := range map[string]string{"traefik": gatewayDir + "/traefik", "crd": gatewayDir + "/crd"} {
		if err := os.Symlink(target, binary(name)); err != nil {
			return fmt.Errorf("state: %w", err)
		}
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"} {
		if err := os.Symlink(kubernetesDir+"/kubernetes", binary(name)); err != nil {
			return fmt.Errorf("state: %w", err)
		}
	}
	if err := buildImages(ctx, root, kubernetesDir); err != nil {
		return err
	}
	if err := errors.Join(writePKI(), writeConfigs(), saveSysctls()); err != nil {
		return err
	}
	return addNamespace(ctx)
}

// addNamespace makes the network namespace. Its loopback has the node's address;
// the services' addresses need a route until kube-proxy's rules see them.
func addNamespace(ctx context.Context) error {
	for _, command := range []string{
		"netns add " + namespace,
		"-n " + namespace + " link set lo up",
		"-n " + namespace + " address add " + nodeIP + "/32 dev lo",
		"-n " + namespace + " route add " + serviceRange + " dev lo src " + nodeIP,
	} {
		if _, err := output(ctx, "/", "ip", strings.Fields(command)...); err != nil {
			return fmt.Errorf("network namespace: %w", err)
		}
	}
	return nil
}

// inNamespace is not "ip netns exec", which hides the control groups behind a
// new /sys.
func inNamespace(ctx context.Context, command ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + netns, "--"}, command...)...)
}

// enter becomes the command, inside the namespace.
func enter(command []string) error {
	if _, ok := running("kube-apiserver"); !ok {
		return status()
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	err = syscall.Exec(nsenter, append([]string{"nsenter", "--net=" + netns, "--"}, command...), environment())
	return fmt.Errorf("run %s: %w", command[0], err)
}

// status returns no error when all of the cluster runs.
func status() error {
	var missing []string
	for _, name := range processes() {
		if _, ok := running(name); !ok {
			missing = append(missing, name)
		}
	}
	switch {
	case len(missing) == len(processes()):
		return errors.New(`it is not up; "cluster up" starts it`)
	case len(missing) > 0:
		return fmt.Errorf("not running: %s; their logs are in %s", strings.Join(missing, ", "), in("log"))
	}
	return nil
}
