package agent_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// BenchmarkSwitch measures, while clients keep asking, how long after the
// decision a switch of all traffic is in force at the router, and how long
// after it the caller knows, the state then being on disk.
func BenchmarkSwitch(b *testing.B) {
	opts := options(b)
	opts.Log = slog.New(slog.DiscardHandler)
	h := start(b, opts)
	h.launch(api.Blue, "v1", spec("v1", 1))
	h.launch(api.Green, "v2", spec("v2", 1))
	h.shift(1000, 0)
	stop := h.load(2)
	var inForce, known []time.Duration
	for i := range b.N {
		green := 1000 * ((i + 1) % 2)
		token := h.now().Token
		decided := time.Now()
		done, err := h.client.Shift(b.Context(), api.Shift{IfToken: token, Weights: api.Weights{api.Blue: 1000 - green, api.Green: green}})
		if err != nil {
			b.Fatal(err)
		}
		known = append(known, time.Since(decided))
		inForce = append(inForce, done.InForceAt.Sub(decided))
		want := []string{"v1", "v2"}[green/1000]
		if _, body := get(b, h.public, "/who"); !strings.HasPrefix(body, want) {
			b.Fatalf("switch %d: answered by %q, want %s", i, body, want)
		}
	}
	b.StopTimer()
	if answers, faults := stop(); len(faults) > 0 {
		b.Errorf("%d of %v requests failed, first: %s", len(faults), answers, faults[0])
	}
	report := func(name string, took []time.Duration) {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, name+"-p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, name+"-p99-ms")
		b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, name+"-max-ms")
	}
	report("in-force", inForce)
	report("known", known)
	b.ReportMetric(0, "ns/op")
}
