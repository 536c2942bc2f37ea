package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/agent/supervisor"
	"github.com/gapless-deploy/gapless/internal/agent/tally"
)

// fresh refuses a change that was decided on another state. a.mu is held.
func (a *agent) fresh(token string) error {
	if token == a.saved.token() {
		return nil
	}
	return api.Refuse(api.CodeConflict, "state is %s, the request was decided on %q: look again", a.saved.token(), token)
}

// commit makes next the state, under a new token. a.mu is held.
func (a *agent) commit(next saved) error {
	next.Serial++
	if err := a.write(next); err != nil {
		return api.Refuse(api.CodeFailed, "not done, the state could not be written: %v", err)
	}
	return nil
}

// setMark writes the mark.
func (a *agent) setMark(to api.SetMark) (api.Done, error) {
	if len(to.Mark) == 0 || !json.Valid(to.Mark) {
		return api.Done{}, api.Refuse(api.CodeInvalid, "mark: must be JSON")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.fresh(to.IfToken); err != nil {
		return api.Done{}, err
	}
	next := a.saved.clone()
	next.Mark = bytes.Clone(to.Mark)
	if err := a.commit(next); err != nil {
		return api.Done{}, err
	}
	return api.Done{Token: a.saved.token()}, nil
}

// launchSide puts a revision on a side that takes no traffic.
func (a *agent) launchSide(ctx context.Context, side api.Side, order api.Launch) (api.Done, error) {
	if err := side.Check(); err != nil {
		return api.Done{}, api.Refuse(api.CodeInvalid, "%v", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.fresh(order.IfToken); err != nil {
		return api.Done{}, err
	}
	spec, err := a.definition(side, order)
	if err != nil {
		return api.Done{}, err
	}
	instances, err := countOf(order, spec)
	if err != nil {
		return api.Done{}, err
	}
	before, known := a.saved.Sides[side]
	if known && before.Desired > 0 && before.Revision == order.Revision && same(before.Spec, spec) {
		return a.complete(ctx, side, instances, spec.SlowOver, order.Sessions)
	}
	if weight := a.saved.Weights[side]; weight > 0 {
		return api.Done{}, api.Refuse(api.CodeServing, "launch %s on %s: %s takes %s of the traffic there",
			order.Revision.ID, side, before.Revision.ID, percent(weight))
	}
	next := a.saved.clone()
	next.Launches++
	next.Sides[side] = savedSide{Revision: order.Revision, Spec: spec, Desired: instances, Launch: next.Launches}
	a.compare(next, spec.SlowOver)
	next.keepSessions(order.Sessions)
	former := a.fleets[side]
	delete(a.fleets, side)
	if err := a.commit(next); err != nil {
		if former != nil {
			a.fleets[side] = former
		}
		return api.Done{}, err
	}
	a.remember()
	a.dismiss(ctx, side, former)
	a.fleets[side] = a.launch(ctx, side, a.saved.Sides[side])
	a.opts.Log.Info("launch", "side", side, "revision", order.Revision.ID, "instances", instances)
	return api.Done{Token: a.saved.token()}, nil
}

// same tells whether two definitions start the same instances.
func same(a, b api.Spec) bool {
	a.SlowOver, b.SlowOver = 0, 0
	return reflect.DeepEqual(a, b)
}

// complete starts what a side that was launched before lacks, lets all of it
// serve, and sets what holds for both sides. a.mu is held.
func (a *agent) complete(ctx context.Context, side api.Side, instances int, slowOver api.Duration, sessions *api.Sessions) (api.Done, error) {
	next, stands := a.saved.clone(), a.saved.Sides[side]
	instances = max(instances, stands.Desired)
	compared, kept := a.compare(next, slowOver), next.keepSessions(sessions)
	changed := compared || kept
	if stands.Desired < instances || stands.Held > 0 {
		next.Sides[side], changed = next.Sides[side].scaled(instances, instances), true
	}
	if !changed {
		return api.Done{Token: a.saved.token()}, nil
	}
	if err := a.commit(next); err != nil {
		return api.Done{}, err
	}
	a.remember()
	a.fit(ctx, side)
	return api.Done{Token: a.saved.token()}, nil
}

// countOf is how many instances a launch begins with.
func countOf(order api.Launch, spec api.Spec) (int, error) {
	if order.Instances < 0 || order.Instances > spec.Instances {
		return 0, api.Refuse(api.CodeInvalid, "launch %s: instances: %d is not within 1 to %d, all of them",
			order.Revision.ID, order.Instances, spec.Instances)
	}
	if order.Instances == 0 {
		return spec.Instances, nil
	}
	return order.Instances, nil
}

// compare sets above what a request of either side counts as slow and tells
// whether that was another limit. a.mu is held.
func (a *agent) compare(next saved, slowOver api.Duration) (changed bool) {
	for name, side := range next.Sides {
		changed = changed || side.Spec.SlowOver != slowOver
		side.Spec.SlowOver = slowOver
		next.Sides[name] = side
		a.book.Series(tally.Key{Side: name, Revision: side.Revision}, slowOver.Std())
	}
	return changed
}

// definition is the one that was sent or, without one, that the side kept.
func (a *agent) definition(side api.Side, order api.Launch) (api.Spec, error) {
	if order.Revision.ID == "" {
		return api.Spec{}, api.Refuse(api.CodeInvalid, "launch on %s: revision has no id", side)
	}
	spec := order.Spec
	if spec == nil {
		kept, ok := a.saved.Sides[side]
		if !ok || kept.Revision != order.Revision {
			return api.Spec{}, api.Refuse(api.CodeInvalid, "launch %s on %s: no definition was sent and the side kept none of this revision", order.Revision.ID, side)
		}
		spec = &kept.Spec
	}
	err := spec.Check()
	if order.Sessions != nil {
		err = errors.Join(err, order.Sessions.Check())
	}
	if err != nil {
		return api.Spec{}, api.Refuse(api.CodeInvalid, "launch %s on %s: %v", order.Revision.ID, side, err)
	}
	if _, err := supervisor.FindProgram(*spec); err != nil {
		return api.Spec{}, api.Refuse(api.CodeInvalid, "launch %s on %s: %v", order.Revision.ID, side, err)
	}
	return *spec, nil
}

// dismiss drains and ends a fleet that was replaced, in the background. a.mu is held.
func (a *agent) dismiss(ctx context.Context, side api.Side, former *supervisor.Fleet) {
	if former == nil {
		return
	}
	a.leaving = append(a.leaving, leaving{side, former})
	go func() {
		if _, err := a.farewell(ctx, former, a.opts.Drain); err != nil {
			a.opts.Log.Error("a replaced revision does not end", "side", side, "error", err)
		}
	}()
}

// farewell ends a fleet and forgets it, even where the caller does not wait.
func (a *agent) farewell(ctx context.Context, fleet *supervisor.Fleet, drain time.Duration) (cut int, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	cut, err = fleet.Stop(ctx)
	if err != nil {
		return cut, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, l := range a.leaving {
		if l.fleet == fleet {
			a.leaving = append(a.leaving[:i:i], a.leaving[i+1:]...)
			break
		}
	}
	return cut, nil
}

// shift puts a split in force at once, then writes it down: the way back must
// work even when the disk does not.
func (a *agent) shift(order api.Shift) (api.Done, error) {
	if err := order.Weights.Check(); err != nil {
		return api.Done{}, api.Refuse(api.CodeInvalid, "%v", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.fresh(order.IfToken); err != nil {
		return api.Done{}, err
	}
	if len(a.saved.Weights) > 0 && a.saved.Weights.Equal(order.Weights) {
		return api.Done{Token: a.saved.token(), InForceAt: a.saved.InForceAt}, nil
	}
	for _, side := range api.Sides() {
		if err := a.canServe(side, order.Weights[side]); err != nil {
			return api.Done{}, err
		}
	}
	next := a.saved.clone()
	next.Weights = api.Weights{api.Blue: order.Weights[api.Blue], api.Green: order.Weights[api.Green]}
	next.InForceAt = a.shiftRouter(next.Weights)
	next.Serial++
	done := api.Done{InForceAt: next.InForceAt}
	if err := a.write(next); err != nil {
		a.opts.Log.Error("split is in force but not saved", "error", err)
		done.Unsaved = err.Error()
		a.saved = next
		a.notice()
	}
	done.Token = a.saved.token()
	a.opts.Log.Info("shift", "blue", percent(next.Weights[api.Blue]), "green", percent(next.Weights[api.Green]))
	return done, nil
}

// canServe refuses traffic to a side without a ready instance.
func (a *agent) canServe(side api.Side, weight int) error {
	if weight == 0 {
		return nil
	}
	fleet := a.fleets[side]
	if fleet == nil {
		return api.Refuse(api.CodeNotReady, "side %s cannot take %s of the traffic: nothing runs there", side, percent(weight))
	}
	serving := a.saved.Sides[side].serving()
	if fleet.ReadyOf(serving) > 0 {
		return nil
	}
	return api.Refuse(api.CodeNotReady, "side %s cannot take %s of the traffic: %s", side, percent(weight), whyNone(fleet, serving))
}

// whyNone says why none of the first so many instances can serve.
func whyNone(fleet *supervisor.Fleet, serving int) string {
	problem := "no instance is ready"
	all := fleet.Status()
	if serving == 0 {
		problem = fmt.Sprintf("all %d instances are held", len(all))
	}
	for _, in := range all[:min(serving, len(all))] {
		problem = supervisor.Problem(in)
	}
	return problem
}

// retire drains and ends the instances of a side and returns when they are gone.
func (a *agent) retire(ctx context.Context, side api.Side, order api.Retire) (api.Done, error) {
	if err := side.Check(); err != nil {
		return api.Done{}, api.Refuse(api.CodeInvalid, "%v", err)
	}
	if order.Drain < 0 {
		return api.Done{}, api.Refuse(api.CodeInvalid, "drain: %s must not be negative", order.Drain.Std())
	}
	fleets, err := a.release(side, order)
	if err != nil {
		return api.Done{}, err
	}
	return a.farewells(ctx, fleets, order.Drain.Std())
}

// farewells ends fleets side by side and tells how many requests were cut.
func (a *agent) farewells(ctx context.Context, fleets []*supervisor.Fleet, drain time.Duration) (api.Done, error) {
	cuts := make([]int, len(fleets))
	var all errgroup.Group
	for i, fleet := range fleets {
		all.Go(func() (err error) { cuts[i], err = a.farewell(ctx, fleet, drain); return err })
	}
	err := all.Wait()
	a.mu.Lock()
	done := api.Done{Token: a.saved.token()}
	a.mu.Unlock()
	for _, cut := range cuts {
		done.Cut += cut
	}
	if err != nil {
		return done, api.Refuse(api.CodeFailed, "%v", err)
	}
	return done, nil
}

// release writes down that a side is retired and hands over its fleets, those
// of an earlier retirement still at it included.
func (a *agent) release(side api.Side, order api.Retire) ([]*supervisor.Fleet, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.fresh(order.IfToken); err != nil {
		return nil, err
	}
	if weight := a.saved.Weights[side]; weight > 0 {
		return nil, api.Refuse(api.CodeServing, "retire %s: it takes %s of the traffic", side, percent(weight))
	}
	if state, known := a.saved.Sides[side]; known && (state.Desired > 0 || order.Forget) {
		next := a.saved.clone()
		state.Desired, state.Held, state.Places = 0, 0, nil
		next.Sides[side] = state
		if order.Forget {
			delete(next.Sides, side)
		}
		fleet := a.fleets[side]
		delete(a.fleets, side)
		if err := a.commit(next); err != nil {
			if fleet != nil {
				a.fleets[side] = fleet
			}
			return nil, err
		}
		if fleet != nil {
			a.leaving = append(a.leaving, leaving{side, fleet})
		}
		a.opts.Log.Info("retire", "side", side, "revision", state.Revision.ID)
	}
	return a.leavingOf(side), nil
}

// leavingOf lists the fleets of a side that are being ended. a.mu is held.
func (a *agent) leavingOf(side api.Side) []*supervisor.Fleet {
	var fleets []*supervisor.Fleet
	for _, l := range a.leaving {
		if l.side == side {
			fleets = append(fleets, l.fleet)
		}
	}
	return fleets
}
