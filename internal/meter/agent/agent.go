// Package agent reads what revisions did from a gapless agent, which counts
// every public request itself.
package agent

import (
	"context"
	"math"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// Meter is one agent's counts. It implements phase.Meter.
type Meter struct{ client *api.Client }

// New makes the meter of the agent that client speaks with.
func New(client *api.Client) *Meter { return &Meter{client: client} }

// Counts returns a sample for each revision and second in which it was
// running and traffic was divided at all. Of several revisions the last is the
// candidate, whose weight the samples carry; of a single one it is the rest of
// the traffic that counts as the candidate's. Seconds whose slow requests were
// counted by another limit than the newest are left out, as they don't compare.
func (m *Meter) Counts(ctx context.Context, in rollout.Window, of ...rollout.Revision) ([]verdict.Sample, error) {
	counts, err := m.client.Counts(ctx, in.Since, api.PerSecond)
	if err != nil {
		return nil, err
	}
	wanted := map[api.Revision]string{}
	for _, revision := range of {
		wanted[api.Revision{ID: revision.ID, Digest: revision.Spec}] = revision.Key()
	}
	candidate := ""
	if len(of) > 1 {
		candidate = of[len(of)-1].Key()
	}
	var samples []verdict.Sample
	limit := newestLimit(counts.Samples, wanted)
	for _, s := range counts.Samples {
		key, asked := wanted[s.Revision]
		if !asked || s.Weights.Check() != nil || s.SlowOver != limit {
			continue
		}
		weight := s.Weights[s.Side]
		if key != candidate {
			weight = api.Whole - weight
		}
		samples = append(samples, sample(s, key, weight))
	}
	return samples, nil
}

func newestLimit(samples []api.Sample, wanted map[api.Revision]string) (limit api.Duration) {
	var newest time.Time
	for _, s := range samples {
		if _, asked := wanted[s.Revision]; asked && s.To.After(newest) {
			newest, limit = s.To, s.SlowOver
		}
	}
	return limit
}

func sample(s api.Sample, key string, weight int) verdict.Sample {
	out := verdict.Sample{
		Revision: key, From: s.From, To: s.To, Weight: weight,
		Requests: int64(s.Requests), Errors: int64(s.Errors), Slow: int64(s.Slow),
		Instances: int(math.Round(s.Instances)),
	}
	if s.CPUSeconds != nil {
		out.CPU, out.HasCPU = time.Duration(*s.CPUSeconds*float64(time.Second)), true
	}
	if s.MemoryBytes != nil {
		out.Memory = int64(*s.MemoryBytes)
	}
	return out
}
