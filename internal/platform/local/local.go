// Package local is the platform of a single host: a gapless agent, reached
// over its admin API.
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// askEvery is how often it is looked whether instances are ready.
const askEvery = 100 * time.Millisecond

// Options are what the agent has to be told beyond a revision's specification.
type Options struct {
	// Service is refused where the agent runs another one.
	Service string
	// Drain is how long requests in flight may go on when an instance is ended,
	// and how long one that takes no traffic may finish what it is at.
	Drain time.Duration
	// SlowOver is the duration above which a request counts as slow.
	SlowOver time.Duration
	// Sessions is how clients stay with the revision they met; nil for not at all.
	Sessions *config.Sessions
}

// Platform is one agent. It implements phase.Sides and phase.Roller.
type Platform struct {
	client *api.Client
	opts   Options
}

// New makes the platform of the agent that client speaks with.
func New(client *api.Client, opts Options) *Platform {
	return &Platform{client: client, opts: opts}
}

// Observe implements phase.Platform.
func (p *Platform) Observe(ctx context.Context) (rollout.Observation, error) {
	state, err := p.state(ctx)
	if err != nil {
		return rollout.Observation{}, err
	}
	seen := rollout.Observation{
		At: state.At, Token: rollout.Token(state.Token), SplitSince: state.Split.InForceAt,
		Split: rollout.Split{
			Blue:  rollout.Weight(state.Split.Weights[api.Blue]),
			Green: rollout.Weight(state.Split.Weights[api.Green]),
		},
		Sides: sides(state),
	}
	if len(state.Mark) > 0 {
		seen.Mark = &rollout.Mark{}
		if err := json.Unmarshal(state.Mark, seen.Mark); err != nil {
			return rollout.Observation{}, fmt.Errorf("mark of %s is not gapless's: %w", state.Service, err)
		}
	}
	return seen, nil
}

// Claim implements phase.Platform.
func (p *Platform) Claim(ctx context.Context, seen rollout.Token, mark rollout.Mark) error {
	raw, err := json.Marshal(mark)
	if err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	_, err = p.client.SetMark(ctx, api.SetMark{IfToken: string(seen), Mark: raw})
	return translated(err)
}

// Reach implements phase.Platform. The instance answers on the agent's host,
// which is this one.
func (p *Platform) Reach(_ context.Context, instance rollout.Instance) (http.RoundTripper, error) {
	if instance.Address == "" {
		return nil, fmt.Errorf("instance %s does not run: %s", instance.Name, instance.Problem)
	}
	dialer := &net.Dialer{Timeout: 3 * time.Second}
	return &direct{address: instance.Address, transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", instance.Address)
		},
		DisableKeepAlives: true, // nobody would close them
	}}, nil
}

// Launch implements phase.Sides. It returns when every instance is ready; how
// long that may take is for ctx to say. A specification without a target asks
// for what the agent kept of the revision on that side.
func (p *Platform) Launch(ctx context.Context, seen rollout.Token, side rollout.Side, spec rollout.Spec) error {
	program, err := p.program(spec)
	if err != nil {
		return err
	}
	launch := api.Launch{IfToken: string(seen), Revision: named(spec.Revision), Spec: program, Sessions: p.sessions()}
	if _, err := p.client.Launch(ctx, api.Side(side), launch); err != nil {
		return translated(err)
	}
	return p.awaitReady(ctx, side, launch.Revision)
}

// program turns a revision's specification into what the agent starts; nil
// where it is to be what the agent kept.
func (p *Platform) program(spec rollout.Spec) (*api.Spec, error) {
	if len(spec.Target) == 0 {
		return nil, nil
	}
	var target config.LocalSpec
	if err := json.Unmarshal(spec.Target, &target); err != nil {
		return nil, fmt.Errorf("specification of %s is not one for an agent: %w", spec.Revision, err)
	}
	program := &api.Spec{
		Command: target.Command, Dir: target.Dir, Env: target.Env, PortEnv: target.PortEnv,
		Health: string(target.Health), NoTraffic: target.NoTraffic,
		Instances: spec.Instances, SlowOver: api.Duration(p.opts.SlowOver),
	}
	if program.NoTraffic {
		program.Grace = api.Duration(p.opts.Drain) // what it is at is no request that the router could wait for
	}
	return program, nil
}

func (p *Platform) sessions() *api.Sessions {
	if p.opts.Sessions == nil {
		return nil
	}
	return &api.Sessions{Cookie: p.opts.Sessions.Cookie, Keep: api.Duration(p.opts.Sessions.Keep)}
}

func (p *Platform) awaitReady(ctx context.Context, side rollout.Side, revision api.Revision) error {
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		state, err := p.state(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		stands := state.Sides[api.Side(side)]
		if stands.Revision != revision || stands.Desired == 0 {
			return fmt.Errorf("side %s was taken by somebody else while %s started: %w", side, revision.ID, rollout.ErrConflict)
		}
		if stands.Ready >= stands.Desired {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// Shift implements phase.Sides.
func (p *Platform) Shift(ctx context.Context, seen rollout.Token, split rollout.Split) error {
	done, err := p.client.Shift(ctx, api.Shift{IfToken: string(seen), Weights: weights(split)})
	if err != nil {
		return translated(err)
	}
	return unsaved(done)
}

// unsaved is an error where a split is in force for as long as the agent lives.
func unsaved(done api.Done) error {
	if done.Unsaved == "" {
		return nil
	}
	return fmt.Errorf("the split is in force, but an agent that starts again would not know of it: %s", done.Unsaved)
}

// Retire implements phase.Sides.
func (p *Platform) Retire(ctx context.Context, seen rollout.Token, side rollout.Side) (cut int, err error) {
	done, err := p.client.Retire(ctx, api.Side(side), api.Retire{IfToken: string(seen), Drain: api.Duration(p.opts.Drain)})
	return done.Cut, translated(err)
}

func (p *Platform) state(ctx context.Context) (api.State, error) {
	state, err := p.client.State(ctx)
	if err != nil {
		return state, translated(err)
	}
	if state.Service != p.opts.Service {
		return state, fmt.Errorf("the agent runs service %q, not %q", state.Service, p.opts.Service)
	}
	return state, nil
}

// translated says a stale token, and an agent that does not answer, in rollout's
// words.
func translated(err error) error {
	switch {
	case errors.Is(err, api.ErrConflict):
		return fmt.Errorf("%w: %w", rollout.ErrConflict, err)
	case errors.Is(err, api.ErrUnreachable):
		return fmt.Errorf("%w: %w", rollout.ErrUnavailable, err)
	}
	return err
}

// direct sends requests to one instance, whatever host they name.
type direct struct {
	address   string
	transport *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (d *direct) RoundTrip(request *http.Request) (*http.Response, error) {
	to := request.Clone(request.Context())
	to.URL.Scheme, to.URL.Host = "http", d.address
	return d.transport.RoundTrip(to)
}
