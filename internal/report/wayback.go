package report

import "github.com/gapless-deploy/gapless/internal/rollout"

// wayBack says how users get the old revision again.
func (v View) wayBack() text {
	if v.Record.Rollout == "" {
		return v.markedWayBack()
	}
	s := v.State
	stable := namesOf(s.Opening).name(s.Opening.Stable)
	if s.WentBack && !s.Opening.Stable.Zero() {
		return say("not needed: %s serves", stable)
	}
	way, why := s.WayBack()
	switch way {
	case rollout.BackInSeconds:
		return v.backInSeconds(stable, s.Opening.Stable, s.Opening.Side.Other())
	case rollout.BackInBatches:
		return backInBatches(stable)
	case rollout.BackByLaunch:
		if cs := v.changes(); cs.any(rollout.Hidden) || cs.any(rollout.Restoring) {
			return say("minutes: %s; then ", why).code("gapless deploy --revision " + s.Opening.Stable.ID)
		}
		return say("minutes: %s must be started again, ", stable).code("gapless deploy --revision " + s.Opening.Stable.ID)
	case rollout.NoWayBack:
	}
	return say("none: %s", why)
}

func backInBatches(stable string) text {
	return say("batch by batch: ").code("gapless rollback").and(" brings %s back", stable)
}

// backInSeconds holds as long as stable stands ready, where it was looked at.
func (v View) backInSeconds(name string, stable rollout.Revision, side rollout.Side) text {
	if v.exposed() == 0 {
		return say("nothing to take back: ").code("gapless rollback").and(" removes what stands of the new revision")
	}
	if v.Seen != nil {
		if st := v.Seen.Sides[side]; st.Revision != stable || st.Ready == 0 {
			return say("no instance of %s is ready on side %s: ", name, side).
				code("gapless rollback").and(" starts it again first")
		}
	}
	return say("seconds: ").code("gapless rollback").and(" gives all traffic to %s", name)
}

// markedWayBack goes by what is stamped on the platform, without a record.
func (v View) markedWayBack() text {
	if v.Seen == nil || v.Seen.Mark == nil || v.Seen.Mark.Stable.Zero() {
		return nil
	}
	m := v.Seen.Mark
	name := naming{}.name(m.Stable)
	if m.Candidate.Zero() {
		return say("not needed: %s is stable and no candidate stands", name)
	}
	if m.Strategy == rollout.Rolling {
		return backInBatches(name)
	}
	return v.backInSeconds(name, m.Stable, m.StableSide)
}
