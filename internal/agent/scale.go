package agent

import (
	"context"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/agent/supervisor"
)

// scale has so many instances of a side run and so many of them serve. It
// returns when those that it ends are gone.
func (a *agent) scale(ctx context.Context, side api.Side, order api.Scale) (api.Done, error) {
	if err := side.Check(); err != nil {
		return api.Done{}, api.Refuse(api.CodeInvalid, "%v", err)
	}
	if order.Drain < 0 {
		return api.Done{}, api.Refuse(api.CodeInvalid, "drain: %s must not be negative", order.Drain.Std())
	}
	leaving, err := a.resize(ctx, side, order)
	if err != nil {
		return api.Done{}, err
	}
	return a.farewells(ctx, leaving, order.Drain.Std())
}

// resize puts other numbers in force and hands over what is to be ended, what
// still leaves since earlier included: but nothing where instances were
// started, which must not wait for a drain.
func (a *agent) resize(ctx context.Context, side api.Side, order api.Scale) ([]*supervisor.Fleet, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.fresh(order.IfToken); err != nil {
		return nil, err
	}
	if err := a.canScale(side, order); err != nil {
		return nil, err
	}
	before := a.saved.Sides[side]
	if before.Desired != order.Instances || before.serving() != order.Serving {
		next := a.saved.clone()
		next.Sides[side] = before.scaled(order.Instances, order.Serving)
		if err := a.commit(next); err != nil {
			return nil, err
		}
		a.fit(ctx, side)
		a.opts.Log.Info("scale", "side", side, "revision", before.Revision.ID, "instances", order.Instances, "serving", order.Serving)
	}
	if order.Instances > before.Desired {
		return nil, nil
	}
	return a.leavingOf(side), nil
}

// fit gives the fleet of a side the places that are written down. a.mu is held.
func (a *agent) fit(ctx context.Context, side api.Side) {
	state := a.saved.Sides[side]
	if left := a.fleets[side].Scale(ctx, state.places(), state.serving()); left != nil {
		a.leaving = append(a.leaving, leaving{side, left})
	}
}

// canScale refuses numbers that cannot be, and those that would leave a share
// of the traffic without the last instance that is ready for it. a.mu is held.
func (a *agent) canScale(side api.Side, order api.Scale) error {
	fleet, before := a.fleets[side], a.saved.Sides[side]
	if fleet == nil {
		return api.Refuse(api.CodeNotReady, "scale %s: nothing runs there", side)
	}
	if order.Instances < 1 || order.Instances > before.Spec.Instances {
		return api.Refuse(api.CodeInvalid, "scale %s: instances: %d is not within 1 to %d, all of %s",
			side, order.Instances, before.Spec.Instances, before.Revision.ID)
	}
	if order.Serving < 0 || order.Serving > order.Instances {
		return api.Refuse(api.CodeInvalid, "scale %s: serving: %d is not within 0 to %d, the instances asked for", side, order.Serving, order.Instances)
	}
	weight := a.saved.Weights[side]
	if weight == 0 {
		return nil
	}
	if order.Serving == 0 {
		return api.Refuse(api.CodeServing, "scale %s: %s takes %s of the traffic there, so one instance at least must serve",
			side, before.Revision.ID, percent(weight))
	}
	if fleet.ReadyOf(before.serving()) > 0 && fleet.ReadyOf(order.Serving) == 0 {
		return api.Refuse(api.CodeNotReady, "scale %s to %d serving: none of them could take %s of the traffic: %s",
			side, order.Serving, percent(weight), whyNone(fleet, order.Serving))
	}
	return nil
}
