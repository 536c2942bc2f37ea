package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// down ends what up started, also what an up that was cut short left behind,
// and gives the machine back as it was.
func down(ctx context.Context) error {
	if _, err := os.Stat(state); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, name := range makers() {
		if err := stop(ctx, name); err != nil {
			return err
		}
	}
	if err := endPods(ctx); err != nil {
		return err
	}
	for _, name := range processes() {
		if err := stop(ctx, name); err != nil {
			return err
		}
	}
	if err := errors.Join(unmount(), removeNamespace(ctx), restoreSysctls(), removeGroups(), removeResults()); err != nil {
		return err
	}
	if err := os.RemoveAll(state); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// endPods ends the containers, then the shims that held them: those are known
// by the socket of our containerd, which they were started with.
func endPods(ctx context.Context) error {
	ctr := []string{"--address", socket, "--namespace", "k8s.io", "tasks"}
	if _, ok := running("containerd"); ok {
		tasks, err := output(ctx, "/", "ctr", append(ctr, "list", "--quiet")...)
		if err != nil {
			return err
		}
		for task := range strings.FieldsSeq(tasks) {
			if _, err := output(ctx, "/", "ctr", append(ctr, "delete", "--force", task)...); err != nil {
				progress("end pods: %v", err)
			}
		}
	}
	shims, err := processesWith(socket)
	if err != nil {
		return err
	}
	for _, pid := range shims {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end the shim %d: %w", pid, err)
		}
	}
	return nil
}

// processesWith finds containerd's shims by an argument.
func processesWith(argument string) ([]int, error) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, fmt.Errorf("processes: %w", err)
	}
	var pids []int
	for _, file := range lines {
		line, err := os.ReadFile(file)
		if err != nil {
			continue // it ended meanwhile
		}
		args := strings.Split(string(line), "\x00")
		if !strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") || !slices.Contains(args, argument) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, fmt.Errorf("processes: %w", err)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// unmount takes the pods' volumes, file systems and network namespaces off, the
// last mounted first.
func unmount() error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	var points []string
	for lines := bufio.NewScanner(bytes.NewReader(mounts)); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && strings.HasPrefix(fields[1], state+"/") {
			points = append(points, fields[1])
		}
	}
	slices.Reverse(points)
	for _, point := range points {
		if err := syscall.Unmount(point, syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", point, err)
		}
	}
	return nil
}

func removeNamespace(ctx context.Context) error {
	if _, err := os.Stat(netns); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := output(ctx, "/", "ip", "netns", "delete", namespace); err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	return nil
}

// removeGroups removes the kubelet's control groups, which are empty now.
func removeGroups() error {
	roots, err := filepath.Glob("/sys/fs/cgroup/*/kubepods") // version 1
	if err != nil {
		return fmt.Errorf("control groups: %w", err)
	}
	var groups []string
	for _, root := range append(roots, "/sys/fs/cgroup/kubepods") {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				groups = append(groups, path)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("control groups: %w", err)
		}
	}
	slices.Reverse(groups) // a group goes after those in it
	for _, group := range groups {
		if err := syscall.Rmdir(group); err != nil {
			return fmt.Errorf("control group %s: %w", group, err)
		}
	}
	return nil
}

// removeResults removes what the network plugins noted of the pods.
func removeResults() error {
	const dir = "/var/lib/cni/results/"
	ours, err := filepath.Glob(dir + "gapless-*-eth0")
	if err != nil {
		return fmt.Errorf("network plugins: %w", err)
	}
	for _, file := range ours {
		id := strings.TrimSuffix(strings.TrimPrefix(file, dir+"gapless-"), "-eth0")
		if err := errors.Join(os.Remove(file), os.RemoveAll(dir+"cni-loopback-"+id+"-lo")); err != nil {
			return fmt.Errorf("network plugins: %w", err)
		}
	}
	return nil
}
