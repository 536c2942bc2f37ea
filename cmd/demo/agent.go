package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// program is a running program of ours.
type program struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
	how   error // valid once ended
}

// bringAgent starts the agent, a client of its API, and sees to their end.
func (s *stage) bringAgent(ctx context.Context, f fault) error {
	var err error
	if s.admin, err = api.NewClient("http://"+s.adminAt, s.token); err != nil {
		return err
	}
	s.later(func(ctx context.Context) error {
		s.admin.Close()
		var err error
		if s.agent != nil {
			err = s.agent.end(ctx)
		}
		return errors.Join(err, s.endInstances())
	})
	return s.startAgent(ctx, f)
}

// startAgent starts the agent and returns once it listens.
func (s *stage) startAgent(ctx context.Context, f fault) error {
	p := &program{log: filepath.Join(s.dir, "agent.log"), ended: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	// It outlives ctx: a release under way goes back through it.
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), s.gapless, "agent", "--service", service,
		"--listen", s.public, "--admin", s.adminAt, "--state-dir", filepath.Join(s.dir, "agent"))
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = s.dir, s.environment(f.trouble().env...), log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us
	if err := errors.Join(p.cmd.Start(), log.Close()); err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	go func() {
		p.how = p.cmd.Wait()
		close(p.ended)
	}()
	s.agent = p
	return p.answers(ctx, s.adminAt)
}

// answers waits until something listens at address.
func (p *program) answers(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ticker.C:
		case <-p.ended:
			return fmt.Errorf("the agent ended: %w\n%s", errors.Join(p.how, err), tail(p.log))
		case <-ctx.Done():
			return fmt.Errorf("the agent does not answer: %w\n%s", err, tail(p.log))
		}
	}
}

// end asks the program to end, and makes it.
func (p *program) end(ctx context.Context) error {
	select {
	case <-p.ended:
		return nil
	default:
	}
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return err
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
	}
	return errors.Join(err, p.cmd.Process.Kill())
}

// kill ends the program at once.
func (p *program) kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill the agent: %w", err)
	}
	<-p.ended
	return nil
}

// endInstances ends what the agent leaves standing: an agent that is started
// again takes its instances over. Ours run from the stage's directory.
func (s *stage) endInstances() error {
	all, err := procfs.AllProcs()
	if err != nil {
		return fmt.Errorf("end the instances: %w", err)
	}
	var errs error
	for _, p := range all {
		program, err := p.Executable()
		if err != nil || !strings.HasPrefix(program, s.dir+string(filepath.Separator)) {
			continue // gone meanwhile, or not ours
		}
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = errors.Join(errs, fmt.Errorf("end instance %d: %w", p.PID, err))
		}
	}
	return errs
}

// tail gives the last lines of a log.
func tail(path string) string {
	const most = 15
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
