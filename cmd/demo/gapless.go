package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// The exit statuses of gapless that the demo tells apart.
const (
	done        = 0
	stopped     = 3
	waiting     = 4
	needsPerson = 5
)

// command is a run of gapless, as a user would type it.
type command struct {
	*exec.Cmd
	line   string
	args   []string
	report bytes.Buffer // what it printed, whole once it has ended

	ended  chan struct{}
	status int   // valid once ended
	how    error // valid once ended; nil where it left a status
}

// gaplessCommand prepares one run. What it tells meanwhile goes to progress.
func (s *stage) gaplessCommand(ctx context.Context, progress io.Writer, args ...string) *command {
	cmd := exec.CommandContext(ctx, s.gapless, args...)
	c := &command{Cmd: cmd, line: "gapless " + strings.Join(args, " "), args: args, ended: make(chan struct{})}
	cmd.Dir, cmd.Env = s.dir, s.environment()
	cmd.Stdout, cmd.Stderr = &c.report, progress
	// Ctrl-C is for us; gapless gets it from here, and time to be safe.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 15 * time.Second
	return c
}

func (c *command) start() error {
	if err := c.Start(); err != nil {
		return fmt.Errorf("%s: %w", c.line, err)
	}
	go func() {
		defer close(c.ended)
		err := c.Wait()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
			c.status = exit.ExitCode()
		} else if err != nil {
			c.how = fmt.Errorf("%s: %w", c.line, err)
		}
	}()
	return nil
}

// wait gives the exit status, once there is one.
func (c *command) wait() (int, error) {
	<-c.ended
	return c.status, c.how
}

// kill ends it by SIGKILL. It is an error if it had ended by itself.
func (c *command) kill() error {
	if err := c.Process.Kill(); err != nil {
		return fmt.Errorf("kill %s: %w", c.line, err)
	}
	if <-c.ended; c.how == nil {
		return fmt.Errorf("%s was over before it could be killed", c.line)
	}
	return nil
}

// indented puts two spaces before each line.
type indented struct {
	out   io.Writer
	start bool // of a line
}

// Write implements io.Writer.
func (w *indented) Write(p []byte) (int, error) {
	var text bytes.Buffer
	for _, b := range p {
		if w.start && b != '\n' {
			text.WriteString("  ")
		}
		w.start = b == '\n'
		text.WriteByte(b)
	}
	if _, err := w.out.Write(text.Bytes()); err != nil {
		return 0, fmt.Errorf("show: %w", err)
	}
	return len(p), nil
}
