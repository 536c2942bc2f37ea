package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Strategy is how a new revision takes over; exactly one is given.
type Strategy struct {
	// The candidate's share of the traffic rises step by step.
	Canary *Canary `yaml:"canary"`
	// All traffic moves at once to a candidate that stands ready.
	BlueGreen *BlueGreen `yaml:"blue_green"`
	// Instances are replaced batch by batch.
	Rolling *Rolling `yaml:"rolling"`
}

// Watch is how long a candidate is watched at one weight.
type Watch struct {
	// How long a candidate is watched at a step or batch before it may pass, at most 5h. Default 5m.
	Bake time.Duration `yaml:"bake"`
	// How long a step or batch may take to come to a verdict, at most 5h; then it holds. Default 30m, or bake where that is longer.
	BakeLimit time.Duration `yaml:"bake_limit"`
	// How long after a start or shift is left out of the judgement. Default 30s.
	Settle time.Duration `yaml:"settle"`
}

// Canary raises the candidate's share of the traffic step by step.
type Canary struct {
	// The candidate's share at each step in percent: rising, in steps of 0.1, the last 100. Default [1, 5, 25, 50, 100].
	Steps []rollout.Weight `yaml:"steps" jsonschema:"minItems=1,maxItems=50"`
	Watch
}

// BlueGreen moves all traffic at once.
type BlueGreen struct {
	Watch
}

// Rolling replaces instances batch by batch; each batch is watched before the
// next one.
type Rolling struct {
	// How many instances are replaced at a time: a number, or a share such as 25%. Default 25%.
	Batch Batch `yaml:"batch"`
	// What to do when a batch fails: stop there, or take the new instances back. Default stop.
	OnFailure OnFailure `yaml:"on_failure"`
	Watch
}

// OnFailure is what a rolling update does when a batch fails.
type OnFailure string

// The ways to take a failed batch.
const (
	FailureStop     OnFailure = "stop"
	FailureRollback OnFailure = "rollback"
)

// Values are the texts a file may give.
func (OnFailure) Values() []string { return []string{string(FailureStop), string(FailureRollback)} }

// Default fills in what a file may leave out.
func (w *Watch) Default() {
	w.Bake = 5 * time.Minute
	w.BakeLimit = 0 // resolved once bake is known
	w.Settle = 30 * time.Second
}

// Default fills in what a file may leave out.
func (c *Canary) Default() {
	c.Steps = []rollout.Weight{10, 50, 250, 500, rollout.Full}
	c.Watch.Default()
}

// Default fills in what a file may leave out.
func (r *Rolling) Default() {
	r.Batch = Batch{Share: 250}
	r.OnFailure = FailureStop
	r.Watch.Default()
}

const (
	defaultBakeLimit = 30 * time.Minute
	// longestBake leaves an hour of the six that a hosted job may run.
	longestBake = 5 * time.Hour
)

// Kind is the key the strategy is given under: canary, blue_green or rolling.
func (s Strategy) Kind() rollout.Strategy {
	given := s.kinds()
	if len(given) != 1 {
		return ""
	}
	return rollout.Strategy(given[0])
}

func (s Strategy) kinds() []string {
	var given []string
	if s.Canary != nil {
		given = append(given, string(rollout.Canary))
	}
	if s.BlueGreen != nil {
		given = append(given, string(rollout.BlueGreen))
	}
	if s.Rolling != nil {
		given = append(given, string(rollout.Rolling))
	}
	return given
}

// Watching is how long a candidate is watched at each weight.
func (s Strategy) Watching() Watch {
	switch {
	case s.Canary != nil:
		return s.Canary.Watch
	case s.BlueGreen != nil:
		return s.BlueGreen.Watch
	case s.Rolling != nil:
		return s.Rolling.Watch
	}
	return Watch{}
}

// Weights are those that a candidate of so many instances is watched at,
// rising, the last 100 percent.
func (s Strategy) Weights(instances int) []rollout.Weight {
	switch {
	case s.Canary != nil:
		return s.Canary.Steps
	case s.Rolling != nil:
		var weights []rollout.Weight
		for n := 0; n < instances; {
			n = s.Rolling.Next(n, instances)
			weights = append(weights, rollout.PartOf(n, instances))
		}
		return weights
	}
	return []rollout.Weight{rollout.Full}
}

// Next is how many of so many instances are the candidate's after one more
// batch.
func (r *Rolling) Next(replaced, instances int) int {
	return min(instances, replaced+r.Batch.Of(instances))
}

// Batch is how many instances a rolling update replaces at a time: a count, or
// a share of all when Count is 0.
type Batch struct {
	Count int
	Share rollout.Weight
}

// UnmarshalText reads 2 or 25%.
func (b *Batch) UnmarshalText(text []byte) error {
	if share, ok := strings.CutSuffix(string(text), "%"); ok {
		w, err := rollout.ParseWeight(share)
		if err != nil || w == 0 {
			return fmt.Errorf("expected a share from 0.1%% to 100%%, observed %q", text)
		}
		*b = Batch{Share: w}
		return nil
	}
	count, err := strconv.Atoi(string(text))
	if err != nil || count < 1 {
		return errors.New("expected a number of instances or a share such as 25%, observed " + strconv.Quote(string(text)))
	}
	*b = Batch{Count: count}
	return nil
}

// String is the batch as a file gives it.
func (b Batch) String() string {
	if b.Count > 0 {
		return strconv.Itoa(b.Count)
	}
	return b.Share.String()
}

// Of is the size of a batch among so many instances: at least one, a share
// rounded down.
func (b Batch) Of(instances int) int {
	if b.Count > 0 {
		return min(b.Count, instances)
	}
	return max(1, instances*int(b.Share)/int(rollout.Full))
}
