package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/ledger"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/probe"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

const benchConfig = `
service: shop
target:
  local: {agent: "http://%s", command: [%q, "{revision}"], instances: 2, health: /healthz}
strategy:
  blue_green: {bake: 1s, bake_limit: 1m, settle: 100ms}
judge: {errors: {worse_by: 2pp}, slow: {over: 1s, worse_by: 20pp}, min_requests: 20}
rollback_window: 1h
drain: 2s
`

// BenchmarkSwitchAndRollback switches all traffic to a candidate and takes it
// back again, phase by phase with the real parts, while clients send 300
// requests a second without retries. It tells how long after each decision the
// new split was in force: at the router, as the record has it, and as the
// clients saw it. A request that is dropped fails it.
func BenchmarkSwitchAndRollback(b *testing.B) {
	s := newBenchStage(b)
	s.run(rollout.Deploy, "1.0")
	book := ledger.New(ledger.Options{Candidate: "1.1", Recent: 1 << 16})
	p, err := probe.Start(b.Context(), probe.Options{URL: "http://" + s.public + "/", Every: time.Second / 300}, book)
	if err != nil {
		b.Fatal(err)
	}
	for range b.N {
		s.run(rollout.Deploy, "1.1")
		s.run(rollout.Promote, "")
		s.switched(book)
		s.run(rollout.Rollback, "")
		s.switched(book)
	}
	b.StopTimer()
	p.Stop()
	sum := book.Summary()
	if sum.Dropped > 0 || sum.CutByFault > 0 {
		b.Errorf("%d of %d requests were dropped: %+v", sum.Dropped, sum.Requests, sum.Causes)
	}
	for _, w := range sum.Switches {
		if w.InForce == nil {
			b.Errorf("the clients did not see the switch from %s to %s at %s", w.From, w.To, w.Decided)
			continue
		}
		s.seen[w.To] = append(s.seen[w.To], *w.InForce)
	}
	for to, name := range map[rollout.Weight]string{rollout.Full: "switch", 0: "rollback"} {
		for _, from := range []struct {
			who  string
			took []time.Duration
		}{{"router", s.took[to]}, {"clients", s.seen[to]}} {
			slices.Sort(from.took)
			for _, q := range []struct {
				name string
				at   int
			}{{"p50", len(from.took) / 2}, {"p99", len(from.took) * 99 / 100}, {"max", len(from.took) - 1}} {
				b.ReportMetric(float64(from.took[q.at].Microseconds())/1000, fmt.Sprintf("%s-%s-%s-ms", name, from.who, q.name))
			}
		}
	}
	b.ReportMetric(float64(sum.Requests), "requests")
	b.ReportMetric(float64(sum.Dropped), "dropped")
	b.ReportMetric(0, "ns/op")
}

// benchStage is an agent, and phases that are run on it.
type benchStage struct {
	b          *testing.B
	public     string
	env        *environment
	took, seen map[rollout.Weight][]time.Duration
	last       phase.Result
}

func newBenchStage(b *testing.B) *benchStage {
	b.Helper()
	built, dir := programs(b), b.TempDir()
	service, err := exec.LookPath("service")
	if err != nil {
		b.Fatal(err)
	}
	s := &benchStage{b: b, took: map[rollout.Weight][]time.Duration{}, seen: map[rollout.Weight][]time.Duration{}}
	admin := ""
	for _, address := range []*string{&s.public, &admin} {
		if *address, err = freeAddress(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	config := filepath.Join(dir, "gapless.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, benchConfig, admin, service), 0o600); err != nil {
		b.Fatal(err)
	}
	b.Setenv("GAPLESS_AGENT_TOKEN", "a-token-of-the-benchmark")
	cmd := exec.CommandContext(context.Background(), filepath.Join(built, "gapless"), "agent",
		"--service", "shop", "--listen", s.public, "--admin", admin, "--state-dir", filepath.Join(dir, "agent"))
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			b.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", admin)
		if err == nil {
			if err := conn.Close(); err != nil {
				b.Fatal(err)
			}
			break
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
	}
	p := Process{Stdout: b.Output(), Stderr: b.Output(), Getenv: os.Getenv}
	s.env = &environment{Process: p, out: newOutput(p), commands: &commands{Config: config, State: filepath.Join(dir, "records")}}
	return s
}

// run runs a phase as its command would.
func (s *benchStage) run(p rollout.Phase, revision string) {
	s.b.Helper()
	r, err := s.env.compose()
	if err != nil {
		s.b.Fatal(err)
	}
	r.runner.Tell = nil
	work := r.work
	work.Request, work.Revision = plan.Request{Phase: p}, revision
	if s.last, err = r.runner.Run(s.b.Context(), work); err != nil {
		s.b.Fatal(err)
	}
	if s.last.Outcome != rollout.Done {
		s.b.Fatalf("%s ended %s: %s", p, s.last.Outcome, s.last.Reason)
	}
}

// switched tells of the switch that the last phase made.
func (s *benchStage) switched(book *ledger.Ledger) {
	s.b.Helper()
	for _, e := range slices.Backward(s.last.Record.Entries) {
		data, err := e.Decode()
		if err != nil {
			s.b.Fatal(err)
		}
		switch d := data.(type) {
		case *rollout.Shifted:
			book.Switched(d.Decided, d.From, d.To)
			s.took[d.To] = append(s.took[d.To], d.InForce.Sub(d.Decided))
			return
		case *rollout.RolledBack:
			book.Switched(d.Decided, d.From, 0)
			s.took[0] = append(s.took[0], d.InForce.Sub(d.Decided))
			return
		}
	}
	s.b.Fatal("the last phase made no switch")
}
