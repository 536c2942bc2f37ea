package kubernetes

import (
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// split tells how public traffic is divided: by the route or ingress that leads
// to the sides, and else by the public Service.
func (p *Platform) split(w world, o rollout.Observation) (rollout.Split, error) {
	split := p.served(w, o)
	switch {
	case w.route != nil:
		waits, err := behind(w.route)
		if err != nil {
			return split, err
		}
		if waits != "" && !w.head.split.Since.IsZero() {
			return w.head.split.Split, nil // the gateway goes by what was in force before
		}
		split = p.routed(w.route, split)
	case w.canary != nil:
		split = p.ingressed(w.canary, split)
	}
	if side, ok := whole(split); ok && o.Sides[side].Desired == 0 {
		return rollout.Split{}, nil
	}
	return split, nil
}

// served tells how the public Service divides: all to the side that its
// selector names, and else by the pods.
func (p *Platform) served(w world, o rollout.Observation) rollout.Split {
	if w.service != nil {
		if side := rollout.Side(w.service.Spec.Selector[sideLabel]); side != "" {
			return rollout.SplitTo(side, rollout.Full)
		}
	}
	if w.head.rolling != nil {
		return p.rolledSplit(w, o)
	}
	return byCount(o)
}

// byCount divides by the pods that are ready, which is what a Service does that
// selects both sides.
func byCount(o rollout.Observation) rollout.Split {
	blue, green := o.Sides[rollout.Blue], o.Sides[rollout.Green]
	switch {
	case blue.Ready+green.Ready == 0:
		return rollout.Split{}
	case green.Ready == 0:
		return rollout.SplitTo(rollout.Blue, rollout.Full)
	case blue.Ready == 0:
		return rollout.SplitTo(rollout.Green, rollout.Full)
	}
	// Beside each other, what is wanted divides: a pod that is not ready for a
	// moment is no shift.
	return splitOf(rollout.Green, green.Desired, blue.Desired)
}
