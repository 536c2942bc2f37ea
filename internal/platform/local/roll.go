package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Roll implements phase.Roller: new instances come up beside the old ones and
// take their part of the traffic before as many of those are drained. The old
// revision keeps its definition. What is done next is read from the agent's
// state alone, so that a roll which was cut short goes on where it was.
func (p *Platform) Roll(ctx context.Context, seen rollout.Token, to rollout.Spec, atLeast int,
	admit func(context.Context, rollout.Instance) error) (cut int, err error) {
	program, err := p.program(to)
	if err != nil {
		return 0, err
	}
	state, err := p.state(ctx)
	if err != nil {
		return 0, err
	}
	if state.Token != string(seen) {
		return 0, fmt.Errorf("%w: its token is %s, not %s", rollout.ErrConflict, state.Token, seen)
	}
	goal, err := goalOf(state, to, atLeast)
	if err != nil || goal.goal == 0 {
		return 0, err
	}
	r := &roll{platform: p, goal: goal, program: program, admit: admit, admitted: map[admission]bool{}, stood: goal.stands(state)}
	if r.owner, err = ownerOf(state); err != nil {
		return 0, err
	}
	err = r.run(ctx, state)
	return r.cut, err
}

// roll is one call of Roll.
type roll struct {
	platform *Platform
	goal
	program  *api.Spec // nil for what the agent kept
	admit    func(context.Context, rollout.Instance) error
	admitted map[admission]bool
	owner    owner
	stood    bool   // the side was seen to hold the revision
	awaited  string // the instance that is waited for, and why
	cut      int
}

// admission is of an instance until it is started anew.
type admission struct {
	name     string
	restarts int
}

// owner is who works on the platform, and since which rollback.
type owner struct {
	epoch  int
	holder string
}

func ownerOf(state api.State) (owner, error) {
	if len(state.Mark) == 0 {
		return owner{}, nil
	}
	var mark rollout.Mark
	if err := json.Unmarshal(state.Mark, &mark); err != nil {
		return owner{}, fmt.Errorf("mark of %s is not gapless's: %w", state.Service, err)
	}
	o := owner{epoch: mark.Epoch}
	if mark.Lease != nil {
		o.holder = mark.Lease.Holder
	}
	return o, nil
}

// run makes one move after the other until none is left.
func (r *roll) run(ctx context.Context, state api.State) error {
	for {
		next := r.next(state, func(in api.Instance) bool { return r.admit == nil || r.admitted[admission{in.Name, in.Restarts}] })
		if next.kind == nothing {
			return nil
		}
		// A token that went stale since the last look is no conflict as long as
		// the next look finds us in charge.
		if err := r.make(ctx, state, next); err != nil && !errors.Is(err, api.ErrConflict) {
			return err
		}
		var err error
		if state, err = r.look(ctx); err != nil {
			return err
		}
	}
}

// look reads the state again and makes sure that it is still ours to change.
func (r *roll) look(ctx context.Context) (api.State, error) {
	state, err := r.platform.state(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return state, r.late(ctx)
		}
		return state, err
	}
	now, err := ownerOf(state)
	if err != nil {
		return state, err
	}
	if now != r.owner {
		return state, fmt.Errorf("%w: %q works on it, at epoch %d", rollout.ErrConflict, now.holder, now.epoch)
	}
	stands := r.stands(state)
	if r.stood && !stands {
		return state, fmt.Errorf("%w: side %s was taken by somebody else while %s was rolled", rollout.ErrConflict, r.side, r.revision.ID)
	}
	r.stood = stands
	return state, nil
}

// make does one move. Errors of a stale token wrap api.ErrConflict.
func (r *roll) make(ctx context.Context, state api.State, m move) error {
	client, drain := r.platform.client, api.Duration(r.platform.opts.Drain)
	var done api.Done
	var err error
	r.awaited = ""
	switch m.kind {
	case toLaunch:
		_, err = client.Launch(ctx, m.side, api.Launch{
			IfToken: state.Token, Revision: r.revision, Spec: r.program, Instances: m.instances, Sessions: r.platform.sessions(),
		})
	case toScale:
		done, err = client.Scale(ctx, m.side, api.Scale{
			IfToken: state.Token, Instances: m.instances, Serving: m.serving, Drain: drain,
		})
	case toRetire:
		done, err = client.Retire(ctx, m.side, api.Retire{IfToken: state.Token, Drain: drain})
	case toShift:
		done, err = client.Shift(ctx, api.Shift{IfToken: state.Token, Weights: m.weights})
		err = errors.Join(err, unsaved(done))
	case toAwait:
		return r.await(ctx, m.of)
	case toAdmit:
		return r.let(ctx, m.of)
	case nothing:
	}
	r.cut += done.Cut
	return err
}

// await gives an instance a moment to become ready.
func (r *roll) await(ctx context.Context, in api.Instance) error {
	r.awaited = fmt.Sprintf("instance %s of %s is not ready: %s", in.Name, in.Revision.ID, problem(in))
	timer := time.NewTimer(askEvery)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return r.late(ctx)
	case <-timer.C:
		return nil
	}
}

// late tells what was waited for when the time was up.
func (r *roll) late(ctx context.Context) error {
	if r.awaited == "" {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %s", context.Cause(ctx), r.awaited)
}

// let asks whether an instance may take traffic.
func (r *roll) let(ctx context.Context, in api.Instance) error {
	if err := r.admit(ctx, instance(in)); err != nil {
		return fmt.Errorf("instance %s of %s: %w", in.Name, in.Revision.ID, err)
	}
	r.admitted[admission{in.Name, in.Restarts}] = true
	return nil
}
