package kubernetes

import (
	"context"
	"fmt"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// router is one way to divide public traffic. Which one is in force is read
// from the cluster, see split.go.
type router interface {
	// prepare makes the objects that lead to each side alone.
	prepare(ctx context.Context, d *duty) error
	// nearest is the split that can be had instead of the one that is asked for;
	// the error says why none can.
	nearest(w world, o rollout.Observation, split rollout.Split) (rollout.Split, error)
	// divide puts a split that can be had in force.
	divide(ctx context.Context, d *duty, w world, split rollout.Split) error
	// preview leads to a side those who ask for the candidate by the header; to
	// none where side is empty.
	preview(ctx context.Context, d *duty, side rollout.Side) error
}

func (p *Platform) router() router {
	switch {
	case p.opts.Target.Route != "":
		return byRoute{p}
	case p.opts.Target.Ingress != "":
		return byIngress{p}
	case p.opts.Strategy == rollout.Canary:
		return byReplicas{p}
	}
	return bySelector{p}
}

// Shift implements phase.Sides.
func (p *Platform) Shift(ctx context.Context, seen rollout.Token, split rollout.Split) error {
	w, o, err := p.lookAt(ctx, seen)
	if err != nil {
		return err
	}
	if split.Blue+split.Green != rollout.Full || split.Blue < 0 || split.Green < 0 {
		return fmt.Errorf("%w: blue %s and green %s are not all of the traffic", rollout.ErrInput, split.Blue, split.Green)
	}
	for _, side := range sides() {
		if split.Of(side) > 0 && o.Sides[side].Ready == 0 {
			return fmt.Errorf("no pod of side %s is ready: it is given no traffic", side)
		}
	}
	if p.opts.Target.Service == "" {
		return fmt.Errorf("%w: target.kubernetes.service is not given: there is no traffic to divide", rollout.ErrInput)
	}
	if w.service == nil {
		return p.missing(services, p.opts.Target.Service)
	}
	r := p.router()
	want, err := r.nearest(w, o, split)
	if err != nil {
		return err
	}
	if o.Split == want && w.head.split.Split == want && !w.head.split.Since.IsZero() {
		return nil
	}
	d := p.duty(w.head, fmt.Sprintf("shift to blue %s, green %s", want.Blue, want.Green))
	if err := d.begin(ctx); err != nil {
		return err
	}
	if err := d.pin(ctx, o, want); err != nil {
		return err
	}
	if err := r.divide(ctx, d, w, want); err != nil {
		return err
	}
	return d.enforced(ctx, want)
}

// Nearest is the split that a Shift to another one brings about now: the same
// one, but where only the numbers of pods divide the traffic.
func (p *Platform) Nearest(ctx context.Context, split rollout.Split) (rollout.Split, error) {
	w, err := p.look(ctx)
	if err != nil {
		return split, err
	}
	o, err := p.seen(w)
	if err != nil {
		return split, err
	}
	return p.router().nearest(w, o, split)
}

// whole gives the side that takes all of the traffic.
func whole(split rollout.Split) (rollout.Side, bool) {
	for _, side := range sides() {
		if split.Of(side) == rollout.Full {
			return side, true
		}
	}
	return "", false
}

// How much later than the objects say so data planes act on them, for a cluster
// does not tell when they do.
const (
	// proxyLag: kube-proxy takes up to a second to gather changes (its iptables
	// minSyncPeriod); measured were 0.6 s at most.
	proxyLag = time.Second
	// gatewayLag: Traefik puts in force what it has accepted at most 2 seconds
	// after it did so last (its providersThrottleDuration); measured were 2.0 s
	// after a change that followed another, and none after one by itself.
	gatewayLag = 2500 * time.Millisecond
	// ingressLag: ingress-nginx syncs at most once in 3.3 seconds
	// (--sync-rate-limit). That was not measured.
	ingressLag = 4 * time.Second
)
