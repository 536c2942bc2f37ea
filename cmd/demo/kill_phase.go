package main

import "context"

// killPhase kills gapless when the traffic that a phase moves has just moved,
// and runs the same command again.
func (d *demo) killPhase(ctx context.Context, s step) (int, error) {
	c, err := d.begin(ctx, s.args...)
	if err != nil {
		return 0, err
	}
	if err := d.midway(ctx, c, s.midway); err != nil {
		return 0, err
	}
	if err := c.kill(); err != nil {
		return 0, err
	}
	d.out.say("\nkilled: kill -9 when %s had just come to %s of the traffic; now the same command again", newRevision, s.midway)
	return d.patiently(ctx, s.args...)
}
