package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// await waits, while a phase runs, for a moment that the stage shows.
func await(c *command, what string, shows func() (bool, error)) error {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		there, err := shows()
		if err != nil {
			return fmt.Errorf("wait until %s: %w", what, err)
		}
		if there {
			return nil
		}
		select {
		case <-ticker.C:
		case <-c.ended:
			return fmt.Errorf("%s was over before %s", c.line, what)
		}
	}
}

// midway waits until the candidate takes the weight that a phase brings it to.
func (d *demo) midway(ctx context.Context, c *command, w rollout.Weight) error {
	return await(c, fmt.Sprintf("%s took %s", newRevision, w), func() (bool, error) {
		state, err := d.admin.State(ctx)
		if err != nil {
			return false, err
		}
		side, there := candidateSide(state)
		return there && state.Split.Weights[side] == int(w), nil
	})
}

// baking waits until the candidate, at that weight, has answered as many
// requests as two seconds bring: the judge has looked at some of them by then.
func (d *demo) baking(ctx context.Context, c *command, w rollout.Weight) error {
	if err := d.midway(ctx, c, w); err != nil {
		return err
	}
	enough := d.answered() + int64(2*d.Rate*w.Share())
	return await(c, "it was baking", func() (bool, error) { return d.answered() >= enough, nil })
}

// answered is how many requests the candidate has answered.
func (d *demo) answered() int64 { return d.ledger.Summary().Answered[newRevision] }

func candidateSide(state api.State) (api.Side, bool) {
	for side, there := range state.Sides {
		if there.Revision.ID == newRevision && there.Desired > 0 {
			return side, true
		}
	}
	return "", false
}
