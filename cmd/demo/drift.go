package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// drift moves traffic by hand while a phase is at it, past gapless. The phase
// must end and say that a person is needed, and so must the next try; gapless
// rollback brings stable back.
func (d *demo) drift(ctx context.Context, s step) (int, error) {
	c, err := d.begin(ctx, s.args...)
	if err != nil {
		return 0, err
	}
	if err := d.baking(ctx, c, s.midway); err != nil {
		return 0, err
	}
	const byHand = 600
	if err := d.shiftByHand(ctx, byHand); err != nil {
		return 0, err
	}
	d.out.say("\nby hand: somebody gives %s %g%% of the traffic", newRevision, byHand/10.)
	status, err := d.end(ctx, c)
	if err != nil {
		return 0, err
	}
	if err := noticed(c, status); err != nil {
		return 0, err
	}
	if c, err = d.begin(ctx, s.args...); err != nil {
		return 0, err
	}
	if status, err = d.end(ctx, c); err != nil {
		return 0, err
	}
	if err := noticed(c, status); err != nil {
		return 0, err
	}
	if err := d.must(ctx, "rollback", "--reason", "somebody moved the traffic by hand"); err != nil {
		return 0, err
	}
	return stopped, nil
}

// noticed holds where a phase that ended asks for a person and says why.
func noticed(c *command, status int) error {
	const says = "reality is not what the record says"
	if status != needsPerson || !strings.Contains(flowing(c.report.String()), says) {
		return fmt.Errorf("%s ended with status %d after the traffic was moved by hand; it must be %d and say %q", c.line, status, needsPerson, says)
	}
	return nil
}

// flowing undoes how text is set into lines.
func flowing(text string) string { return strings.Join(strings.Fields(text), " ") }

// shiftByHand gives the candidate a weight, as anybody with the agent's token
// can. It looks again when gapless's own heartbeat came in between.
func (d *demo) shiftByHand(ctx context.Context, weight int) error {
	for {
		state, err := d.admin.State(ctx)
		if err != nil {
			return err
		}
		side, there := candidateSide(state)
		if !there {
			return fmt.Errorf("no side holds %s", newRevision)
		}
		_, err = d.admin.Shift(ctx, api.Shift{IfToken: state.Token,
			Weights: api.Weights{side: weight, side.Other(): api.Whole - weight}})
		if !errors.Is(err, api.ErrConflict) {
			return err
		}
	}
}
