package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/gapless-deploy/gapless/cmd/demo/load"
)

// killExpand kills expand in the middle of its backfill.
func (d *demo) killExpand(ctx context.Context) error {
	args := []string{"expand", "--revision", newRevision}
	d.out.command(args)
	c := d.gaplessCommand(ctx, io.Discard, d.out.indented(), args...)
	if err := c.Start(); err != nil {
		return fmt.Errorf("%s: %w", c.line, err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := c.end()
		ended <- err
	}()
	if err := d.backfillUnderWay(ctx, ended); err != nil {
		return err
	}
	if err := c.Process.Kill(); err != nil {
		return fmt.Errorf("kill expand: %w", err)
	}
	if err := <-ended; err == nil {
		return fmt.Errorf("expand was over before it could be killed: take more --rows than %d", d.Rows)
	}
	var left int
	const unset = "select count(*) from address where street is not null and street_name is null and house_number is null"
	if err := d.conn.QueryRow(ctx, unset).Scan(&left); err != nil {
		return fmt.Errorf("count what is left of the backfill: %w", err)
	}
	if left == 0 {
		return fmt.Errorf("the backfill was over before it could be killed: take more --rows than %d", d.Rows)
	}
	d.out.say("\nkilled: kill -9 in the middle of the backfill, %s of %s rows left; now the same command again", grouped(left), grouped(d.Rows))
	return nil
}

// backfillUnderWay waits until a row in the first third is filled.
func (d *demo) backfillUnderWay(ctx context.Context, ended <-chan error) error {
	const filled = `select count(*) from address where id = $1 and street_name is not null`
	row := d.Rows / 3
	for load.Line(row) == nil || *load.Line(row) == "" {
		row++
	}
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		var expanded bool
		err := d.conn.QueryRow(ctx, `select count(*) = 1 from pg_attribute
			where attrelid = 'address'::regclass and attname = 'street_name'`).Scan(&expanded)
		n := 0
		if err == nil && expanded {
			err = d.conn.QueryRow(ctx, filled, row).Scan(&n)
		}
		if err != nil {
			return fmt.Errorf("watch the backfill: %w", err)
		}
		if n > 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case err := <-ended:
			if err == nil {
				err = fmt.Errorf("it was over before it could be killed")
			}
			return fmt.Errorf("expand: %w", err)
		}
	}
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
