package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// runAll runs every strategy with every fault, each as a demo of its own.
func runAll(ctx context.Context, o options) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	return matrix(ctx, self, &output{w: os.Stdout}, o)
}

// matrix runs the demo self for each combination and shows one line of each.
// It ends with an error if one of them did.
func matrix(ctx context.Context, self string, out *output, o options) error {
	const columns = "%-10s  %-13s  %-11s  %8s  %7s  %13s  %5s  %5s  %s"
	out.say(columns, "strategy", "fault", "outcome", "requests", "dropped", "bad, at most", "cut", "s", "")
	began, bad, runs := time.Now(), 0, 0
	for _, o.Strategy = range strategies() {
		for _, o.Fault = range faults() {
			r, log, err := runOne(ctx, self, o)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			judged := "ok"
			if err != nil {
				bad++
				judged = "FAILED, see " + log
			}
			runs++
			out.say(columns, o.Strategy, o.Fault, r.Outcome, grouped(r.Requests), grouped(r.Dropped),
				fmt.Sprintf("%d, %d", r.CandidateBad, r.CandidateBadBound), grouped(r.CutByFault), fmt.Sprintf("%.0f", r.Seconds), judged)
		}
	}
	out.say("%d runs in %s, %d failed", runs, time.Since(began).Round(time.Second), bad)
	if bad > 0 {
		return fmt.Errorf("%d of %d runs failed", bad, runs)
	}
	return out.err
}

// runOne runs the demo once. What it says is kept in a file where it failed.
func runOne(ctx context.Context, self string, o options) (r result, log string, err error) {
	args := []string{"--json", "--strategy", string(o.Strategy), "--fault", string(o.Fault),
		"--rows", fmt.Sprint(o.Rows), "--rate", fmt.Sprint(o.Rate)}
	if o.Gapless != "" {
		args = append(args, "--gapless", o.Gapless)
	}
	var said, told bytes.Buffer
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stdout, cmd.Stderr = &said, &told
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us; the run gets it from here
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	if err = cmd.Run(); err == nil {
		err = json.Unmarshal(said.Bytes(), &r)
	} else if json.Unmarshal(said.Bytes(), &r) != nil {
		r.Outcome = failed // before it came to a result
	}
	if err != nil {
		log = filepath.Join(os.TempDir(), fmt.Sprintf("gapless-demo-%s-%s.log", o.Strategy, o.Fault))
		if werr := os.WriteFile(log, told.Bytes(), 0o600); werr != nil {
			log = werr.Error()
		}
	}
	return r, log, err
}
