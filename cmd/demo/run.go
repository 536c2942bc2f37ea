package main

import (
	"context"
	"errors"
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
	return errors.Join(err, r.verdict())
}

// bothForms shows after a rollback that the schema serves both revisions:
// rows that are written in either form are read in the other.
func (d *demo) bothForms(ctx context.Context) error {
	const rows = 200
	if err := load.BothForms(ctx, d.loadOptions(), d.conn, rows, d.model, d.ledger); err != nil {
		return err
	}
	d.out.say("\nthe schema serves both still: %d rows written in the new form were read by revision %s, and the other way round", rows, oldRevision)
	return nil
}

func (d *demo) loadOptions() load.Options {
	return load.Options{URL: "http://" + d.public, Rate: d.Rate, Readers: readers, Writers: writers, Rows: d.Rows}
}

func (d *demo) startLoad(ctx context.Context) {
	d.model = load.NewModel(d.Rows)
	d.ledger = ledger.New(ledger.Options{Candidate: newRevision, Crashes: d.Fault == crash, Recent: 1 << 16})
	d.account.since = time.Now()
	d.load = load.Start(ctx, d.loadOptions(), d.model, d.ledger)
}
