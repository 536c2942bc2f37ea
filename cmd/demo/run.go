package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gapless-deploy/gapless/cmd/demo/load"
	"github.com/gapless-deploy/gapless/internal/ledger"
)

// demo is one run.
type demo struct {
	options
	*stage

	out    *output
	began  time.Time
	model  *load.Model
	ledger *ledger.Ledger
	load   *load.Load
	// contracting is when the old form began to go; zero before.
	contracting time.Time
	account     account
}

// Clients at work; half of the requests of a writer are reads.
const (
	readers = 16
	writers = 8
)

func run(ctx context.Context, o options) (err error) {
	d := &demo{options: o, began: time.Now(), out: &output{w: os.Stdout}}
	if o.JSON {
		d.out.w = os.Stderr
	}
	d.out.title(o)
	d.stage, err = setStage(ctx, o, d.out)
	defer func() { err = errors.Join(err, d.out.err, d.close(ctx)) }()
	if err != nil {
		return err
	}
	d.out.stage(d.stage, o)
	if err := d.first(ctx); err != nil {
		return err
	}
	d.startLoad(ctx)
	outcome, err := d.release(ctx)
	d.load.Stop()
	if ctx.Err() != nil {
		return err
	}
	if err != nil {
		outcome = failed
	}
	return errors.Join(err, d.conclude(ctx, outcome))
}

// conclude finds out what the release left, and tells.
func (d *demo) conclude(ctx context.Context, how outcome) error {
	var err error
	if how == rolledBack {
		err = d.bothForms(ctx)
	}
	err = errors.Join(err, d.compare(ctx, how))
	r := d.result(how)
	d.out.result(r, d.ledger.Summary(), d.model.Damaged())
	if d.JSON {
		err = errors.Join(err, r.write(os.Stdout))
	}
	if d.Keep {
		d.out.kept(d.stage)
		<-ctx.Done()
	}
	return errors.Join(err, r.verdict(d.Fault))
}

// first releases the old revision, to which all of the traffic then goes.
func (d *demo) first(ctx context.Context) error {
	if err := d.configure(false); err != nil {
		return err
	}
	status, err := d.phase(ctx, "deploy", "--revision", oldRevision)
	if err == nil && status != done {
		err = fmt.Errorf("the first release ended with status %d", status)
	}
	return err
}

func (d *demo) loadOptions() load.Options {
	return load.Options{URL: "http://" + d.public, Rate: d.Rate, Readers: readers, Writers: writers, Rows: d.Rows}
}

func (d *demo) startLoad(ctx context.Context) {
	d.model = load.NewModel(d.Rows)
	d.ledger = ledger.New(ledger.Options{Candidate: newRevision, Recent: 1 << 16})
	d.account.since = time.Now()
	d.load = load.Start(ctx, d.loadOptions(), d.model, d.ledger)
}

// outcome is how the release ended.
type outcome string

const (
	released   outcome = "released"
	rolledBack outcome = "rolled-back"
	failed     outcome = "failed" // gapless did not do what it should
)

// release is the article's release: expand, code, contract.
func (d *demo) release(ctx context.Context) (outcome, error) {
	if err := d.configure(true); err != nil {
		return "", err
	}
	// What stable does beforehand is what the candidate is held against.
	if err := pause(ctx, 3*time.Second); err != nil {
		return "", err
	}
	if err := d.must(ctx, "plan", "--revision", newRevision); err != nil {
		return "", err
	}
	if d.Fault == killBackfill {
		if err := d.killExpand(ctx); err != nil {
			return "", err
		}
	}
	if err := d.must(ctx, "expand", "--revision", newRevision); err != nil {
		return "", err
	}
	if err := d.must(ctx, "deploy", "--revision", newRevision); err != nil {
		return "", err
	}
	for _, to := range []string{"1", "5", "25", "50", "100"} {
		status, err := d.phase(ctx, "promote", "--to", to)
		if err != nil {
			return "", err
		}
		if status == stopped {
			return rolledBack, d.must(ctx, "status")
		}
		if status != done {
			return "", fmt.Errorf("promote to %s%% ended with status %d", to, status)
		}
	}
	if err := d.must(ctx, "retire"); err != nil {
		return "", err
	}
	d.contracting = time.Now()
	if err := d.must(ctx, "contract"); err != nil {
		return "", err
	}
	return released, d.must(ctx, "status")
}

// patience is how long a phase may ask to wait: for the rollback window, for
// quiet on the old form, for the lease of a killed phase.
const patience = time.Minute

// must runs a phase until it is done. A phase that says that it is too early
// is run again, as a scheduled job would be.
func (d *demo) must(ctx context.Context, args ...string) error {
	status, err := d.phase(ctx, args...)
	if status == waiting {
		d.out.say("  (it is run again until it is due)")
	}
	for until := time.Now().Add(patience); err == nil && status == waiting && time.Now().Before(until); {
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		status, err = d.again(ctx, args...)
	}
	if err == nil && status != done {
		err = fmt.Errorf("gapless %s ended with status %d", args[0], status)
	}
	return err
}

// phase runs gapless once, shows what it tells and what is new in its report.
func (d *demo) phase(ctx context.Context, args ...string) (int, error) {
	d.out.command(args)
	var report bytes.Buffer
	status, err := d.once(ctx, &report, d.out.indented(), args...)
	d.out.report(args[0], report.String())
	return status, err
}

// again runs a phase that waits once more. As long as it waits, nothing is new.
func (d *demo) again(ctx context.Context, args ...string) (int, error) {
	var report, told bytes.Buffer
	status, err := d.once(ctx, &report, &told, args...)
	if status != waiting {
		d.out.command(args)
		d.out.tell(told.String())
		d.out.report(args[0], report.String())
	}
	return status, err
}

// once runs gapless and takes note of what its record says.
func (d *demo) once(ctx context.Context, report, told io.Writer, args ...string) (int, error) {
	c := d.gaplessCommand(ctx, report, told, args...)
	status, err := c.run()
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
