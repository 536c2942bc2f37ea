package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// grace is how long a process may take to end before it is killed.
const grace = 10 * time.Second

// supervisor starts the cluster's processes, which outlive it, and watches them
// while the cluster comes up.
type supervisor struct {
	ended chan error
}

// start starts a program in a session of its own, with its output in the
// state's log directory. Its pid is written for down.
func (s supervisor) start(name, path string, args ...string) (err error) {
	log, err := os.OpenFile(in("log", name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("log of %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	cmd := exec.Command(path, args...) //nolint:noctx // it outlives this process
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	born, err := birth(cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		err := cmd.Wait()
		if err == nil {
			err = errors.New("exit status 0")
		}
		s.ended <- fmt.Errorf("%s ended: %w; its log ends with\n%s", name, err, tail(log.Name()))
	}()
	record := fmt.Sprintf("%d %s", cmd.Process.Pid, born)
	if err := os.WriteFile(in("pid", name), []byte(record), 0o600); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return nil
}

// birth is when a process started, in the kernel's ticks: with it a pid is
// never taken for another process that got it later.
func birth(pid int) (string, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", err
	}
	// The name, in brackets, may hold spaces; the start time is field 22.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	const state, started = 0, 19
	if len(fields) <= started || fields[state] == "Z" {
		return "", fmt.Errorf("process %d: %w", pid, fs.ErrNotExist)
	}
	return fields[started], nil
}

// running returns the pid of a process that up started, if it still runs.
func running(name string) (pid int, ok bool) {
	record, err := os.ReadFile(in("pid", name))
	if err != nil {
		return 0, false
	}
	number, born, _ := strings.Cut(string(record), " ")
	pid, err = strconv.Atoi(number)
	if err != nil {
		return 0, false
	}
	now, err := birth(pid)
	return pid, err == nil && now == born
}

// stop ends a process that up started.
func stop(ctx context.Context, name string) error {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		pid, ok := running(name)
		if !ok {
			return nil
		}
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop %s, process %d: %w", name, pid, err)
		}
		ended := func(context.Context) error {
			if pid, ok := running(name); ok {
				return fmt.Errorf("%s, process %d, still runs", name, pid)
			}
			return nil
		}
		if err := until(ctx, grace, ended); err == nil {
			return nil
		}
	}
	return fmt.Errorf("stop %s: it outlived SIGKILL by %s", name, grace)
}

// until tries a condition until it holds; the error is the last one it gave.
func until(ctx context.Context, limit time.Duration, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w after %s: %w", ctx.Err(), limit, err)
		}
	}
}

// tail returns the last lines of a log.
func tail(file string) string {
	const most = 10
	content, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
