package phase

import (
	"context"

	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// takeOver begins the record anew, chained to the head whose record is lost.
func (s *session) takeOver(ctx context.Context, adopted rollout.Adopted) error {
	id, err := plan.RolloutID(adopted.Stable, adopted.Lost)
	if err != nil {
		return err
	}
	adopted.Target, adopted.Config = s.in.Config.Target.String(), s.work.Config
	s.record, s.head = rollout.NewRecord(s.in.Config.Service, id), adopted.Lost
	err = s.write(ctx, func(m *rollout.Mark) {
		*m = m.Without()
		m.Rollout, m.Stable, m.StableSide = id, adopted.Stable, adopted.Side
	}, append([]rollout.Data{adopted}, s.beginning()...)...)
	if err != nil {
		return err
	}
	s.in.Lost, s.in.Fresh, s.lost = false, false, nil
	return s.observe(ctx)
}
