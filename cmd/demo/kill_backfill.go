package main

import (
	"context"
	"fmt"

	"github.com/gapless-deploy/gapless/cmd/demo/load"
)

// killBackfill kills expand in the middle of its backfill, and runs it again.
func (d *demo) killBackfill(ctx context.Context, s step) (int, error) {
	c, err := d.begin(ctx, s.args...)
	if err != nil {
		return 0, err
	}
	if err := await(c, "its backfill was under way", func() (bool, error) { return d.backfilled(ctx) }); err != nil {
		return 0, err
	}
	if err := c.kill(); err != nil {
		return 0, fmt.Errorf("%w: take more --rows than %d", err, d.Rows)
	}
	var left int
	const unset = "select count(*) from address where street is not null and street_name is null and house_number is null"
	if err := d.conn.QueryRow(ctx, unset).Scan(&left); err != nil {
		return 0, fmt.Errorf("count what is left of the backfill: %w", err)
	}
	if left == 0 {
		return 0, fmt.Errorf("the backfill was over before it could be killed: take more --rows than %d", d.Rows)
	}
	d.out.say("\nkilled: kill -9 in the middle of the backfill, %s of %s rows left; now the same command again", grouped(left), grouped(d.Rows))
	return d.patiently(ctx, s.args...)
}

// backfilled reports whether a row at the end of the first third is filled.
func (d *demo) backfilled(ctx context.Context) (bool, error) {
	row := d.Rows / 3
	for load.Line(row) == nil || *load.Line(row) == "" {
		row++
	}
	var expanded, filled bool
	err := d.conn.QueryRow(ctx, `select count(*) = 1 from pg_attribute
		where attrelid = 'address'::regclass and attname = 'street_name'`).Scan(&expanded)
	if err == nil && expanded {
		err = d.conn.QueryRow(ctx, `select count(*) > 0 from address where id = $1 and street_name is not null`, row).Scan(&filled)
	}
	return filled, err
}
