package phase

import (
	"context"
	"fmt"
	"time"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// looks is how often the counts are looked at during one bake; a look may be
// made as often as one likes, and the sooner a bad candidate is seen the
// better.
const (
	looks       = 30
	shortestGap = 200 * time.Millisecond
	longestGap  = 15 * time.Second
)

// recordedWindow is how much of stable's past the judge may compare with when
// no control arm is left.
const recordedWindow = time.Hour

// watch waits until the next look, at the latest until the given time, and
// has the judge look at the newest counts.
func (s *session) watch(ctx context.Context, until time.Time) error {
	gap := s.in.Config.Strategy.Watching().Bake / looks
	gap = min(max(gap, shortestGap), longestGap)
	if left := until.Sub(s.in.Now()); left > 0 {
		if err := s.r.Clock.Sleep(ctx, min(gap, left)); err != nil {
			return err
		}
	}
	if err := s.observe(ctx); err != nil {
		return err
	}
	q := s.question()
	err := s.count(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	q.Samples, q.Baseline = divide(s.samples, q.Stable, s.in.State.FirstExposed)
	j := verdict.Judge(q)
	if err != nil { // silence is not a pass
		j.Verdict, j.Reason = verdict.Inconclusive, fmt.Sprintf("the counts cannot be read: %v", err)
	}
	s.in.Judgement = &j
	s.tell(Event{Judgement: &j})
	return nil
}

// remember reads what stable did before all traffic leaves it: nothing but that
// is left to compare with then, and a meter may forget.
func (s *session) remember(ctx context.Context, to rollout.Weight) {
	if to < rollout.Full || s.in.State.Opening.Stable.Zero() {
		return
	}
	if err := s.count(ctx); err != nil {
		s.warn(fmt.Sprintf("what stable did until now could not be read: %v", err))
	}
}

// count adds what was counted since the last look. The samples of a long
// exposure are read once, not at every look.
func (s *session) count(ctx context.Context) error {
	exposed := s.in.State.FirstExposed
	if exposed.IsZero() {
		exposed = s.in.Now()
	}
	since := exposed.Add(-recordedWindow)
	if s.counted.After(since) {
		since = s.counted
	}
	window := rollout.Window{Since: since, Seen: s.in.Seen, Passed: s.in.State.Passed}
	samples, err := s.r.Meter.Counts(ctx, window, s.in.State.Opening.Stable, s.in.State.Opening.Candidate)
	if err != nil {
		return err
	}
	for _, sample := range samples {
		if sample.From.Before(s.counted) {
			continue // it was read before
		}
		s.samples = append(s.samples, sample)
	}
	for _, sample := range samples {
		if sample.To.After(s.counted) {
			s.counted = sample.To
		}
	}
	return nil
}

func (s *session) question() verdict.Question {
	st, watching := s.in.State, s.in.Config.Strategy.Watching()
	return verdict.Question{
		Limits: limits(s.in.Config),
		Stable: st.Opening.Stable.Key(), Candidate: st.Opening.Candidate.Key(),
		Weight: int(st.Weight), Since: st.Since, Settle: watching.Settle,
		Bake: watching.Bake, BakeLimit: watching.BakeLimit, Now: s.in.Now(),
	}
}

// divide keeps what was counted since the candidate was first exposed apart
// from stable's past.
func divide(samples []verdict.Sample, stable string, exposed time.Time) (since, baseline []verdict.Sample) {
	for _, sample := range samples {
		if sample.Revision == stable && sample.Weight < int(rollout.Full) {
			baseline = append(baseline, sample)
		}
		if !sample.From.Before(exposed) {
			since = append(since, sample)
		}
	}
	return since, baseline
}

// limits are what the config judges by. Without requests only what instances
// use can be judged.
func limits(cfg *config.Config) verdict.Limits {
	j := cfg.Judge
	if cfg.Traffic == config.TrafficNone {
		return verdict.Limits{MemoryRatio: j.Memory.Ratio}
	}
	return verdict.Limits{
		Errors:   &verdict.Limit{WorseBy: j.Errors.WorseBy.Share(), Ratio: j.Errors.Ratio},
		Slow:     &verdict.Limit{WorseBy: j.Slow.WorseBy.Share(), Ratio: j.Slow.Ratio},
		CPURatio: j.CPU.Ratio, MemoryRatio: j.Memory.Ratio,
		MinRequests: int64(j.MinRequests),
	}
}
