package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"
)

// outcome is how the release ended.
type outcome string

const (
	released   outcome = "released"
	rolledBack outcome = "rolled-back"
	failed     outcome = "failed" // gapless did not do what it should
)

// first releases the old revision, to which all of the traffic then goes.
func (d *demo) first(ctx context.Context) error {
	if err := d.configure(d.options, false); err != nil {
		return err
	}
	return d.must(ctx, "deploy", "--revision", oldRevision)
}

// release is the article's release: expand, code, contract.
func (d *demo) release(ctx context.Context) (outcome, error) {
	if err := d.configure(d.options, true); err != nil {
		return "", err
	}
	// What stable does beforehand is what the candidate is held against.
	if err := pause(ctx, 3*time.Second); err != nil {
		return "", err
	}
	if err := d.must(ctx, "plan", "--revision", newRevision); err != nil {
		return "", err
	}
	for _, s := range d.Strategy.steps() {
		if s.args[0] == "contract" {
			d.contracting = time.Now()
		}
		status, err := d.take(ctx, s)
		switch {
		case err != nil:
			return "", err
		case status == stopped && d.account.wentBack:
			return rolledBack, d.must(ctx, "status")
		case status != done:
			return "", fmt.Errorf("gapless %s ended with status %d", s.args[0], status)
		}
	}
	return released, d.must(ctx, "status")
}

// take runs one phase of the release, struck by the fault where it is its turn.
func (d *demo) take(ctx context.Context, s step) (int, error) {
	if t := d.Fault.trouble(); t.strikes(s) {
		return t.strike(d, ctx, s)
	}
	return d.patiently(ctx, s.args...)
}

// must runs a phase until it is done.
func (d *demo) must(ctx context.Context, args ...string) error {
	status, err := d.patiently(ctx, args...)
	if err == nil && status != done {
		err = fmt.Errorf("gapless %s ended with status %d", args[0], status)
	}
	return err
}

// patience is how long a phase may ask to wait: for the rollback window, for
// quiet on the old form, for the lease of a killed phase.
const patience = time.Minute

// patiently runs a phase. One that says that it is too early is run again, as
// a scheduled job would be.
func (d *demo) patiently(ctx context.Context, args ...string) (int, error) {
	status, err := d.phase(ctx, args...)
	if status == waiting {
		d.out.say("  (it is run again until it is due)")
	}
	for until := time.Now().Add(patience); err == nil && status == waiting && time.Now().Before(until); {
		if err := pause(ctx, time.Second); err != nil {
			return 0, err
		}
		status, err = d.again(ctx, args...)
	}
	return status, err
}

// phase runs gapless once, shows what it tells and what is new in its report.
func (d *demo) phase(ctx context.Context, args ...string) (int, error) {
	r, err := d.begin(ctx, args...)
	if err != nil {
		return 0, err
	}
	return d.end(ctx, r)
}

// begin starts a phase, which shows what it tells.
func (d *demo) begin(ctx context.Context, args ...string) (*command, error) {
	d.out.command(args)
	return d.start(ctx, d.out.indented(), args...)
}

// end waits for a phase that was begun, and shows what is new in its report.
func (d *demo) end(ctx context.Context, c *command) (int, error) {
	status, err := d.noted(ctx, c)
	d.out.report(c.args[0], c.report.String())
	return status, err
}

// again runs a phase that waits once more. As long as it waits, nothing is new.
func (d *demo) again(ctx context.Context, args ...string) (int, error) {
	var told bytes.Buffer
	c, err := d.start(ctx, &told, args...)
	if err != nil {
		return 0, err
	}
	status, err := d.noted(ctx, c)
	if status != waiting {
		d.out.command(args)
		d.out.tell(told.String())
		d.out.report(args[0], c.report.String())
	}
	return status, err
}

func (d *demo) start(ctx context.Context, progress io.Writer, args ...string) (*command, error) {
	c := d.gaplessCommand(ctx, progress, args...)
	return c, c.start()
}

// noted waits for the end of a phase and takes note of what its record says.
func (d *demo) noted(ctx context.Context, c *command) (int, error) {
	status, err := c.wait()
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("%s: %w", c.line, ctx.Err())
	}
	if err != nil {
		return 0, err
	}
	return status, d.account.read(d.stage.dir, d.ledger)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
