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
	done    = 0
	stopped = 3
	waiting = 4
)

// command is a run of gapless, as a user would type it.
type command struct {
	*exec.Cmd
	line string
}

// gaplessCommand prepares one run. Its report goes to report, what it tells
// meanwhile to progress.
func (s *stage) gaplessCommand(ctx context.Context, report, progress io.Writer, args ...string) *command {
	cmd := exec.CommandContext(ctx, s.gapless, args...)
	cmd.Dir, cmd.Env = s.dir, s.environment()
	cmd.Stdout, cmd.Stderr = report, progress
	// Ctrl-C is for us; gapless gets it from here, and time to be safe.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 15 * time.Second
	return &command{cmd, "gapless " + strings.Join(args, " ")}
}

// run runs it to its end and gives the exit status.
func (c *command) run() (int, error) {
	if err := c.Start(); err != nil {
		return 0, fmt.Errorf("%s: %w", c.line, err)
	}
	return c.end()
}

func (c *command) end() (int, error) {
	err := c.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.line, err)
	}
	return done, nil
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
