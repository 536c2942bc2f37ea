package kubernetes

import (
	"context"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// split tells how public traffic is divided: by the Service's selector where
// that names a side, and else by the pods that are ready.
func (p *Platform) split(_ context.Context, w world, o rollout.Observation) (rollout.Split, error) {
	if w.service != nil {
		if side := rollout.Side(w.service.Spec.Selector[sideLabel]); side != "" {
			if o.Sides[side].Desired == 0 {
				return rollout.Split{}, nil
			}
			return rollout.SplitTo(side, rollout.Full), nil
		}
	}
	if w.head.rolling != nil {
		return p.rolledSplit(w, o), nil
	}
	return byCount(w, o), nil
}

// byCount divides by the pods that are ready, which is what a Service does that
// selects both sides. While a Deployment is rolled, the share of the newer
// ReplicaSet is told of all that there are to be.
func byCount(w world, o rollout.Observation) rollout.Split {
	blue, green := o.Sides[rollout.Blue], o.Sides[rollout.Green]
	switch {
	case blue.Ready+green.Ready == 0:
		return rollout.Split{}
	case green.Ready == 0:
		return rollout.SplitTo(rollout.Blue, rollout.Full)
	case blue.Ready == 0:
		return rollout.SplitTo(rollout.Green, rollout.Full)
	}
	for _, d := range w.deployments {
		side := d.Spec.Template.side()
		if newer := o.Sides[side]; side != "" && d.replicas() > 0 && newer.Ready > 0 && len(w.deployments) == 1 {
			return rollout.SplitTo(side, rollout.PartOf(min(newer.Ready, d.replicas()), d.replicas()))
		}
	}
	return rollout.SplitTo(rollout.Green, rollout.PartOf(green.Ready, blue.Ready+green.Ready))
}
