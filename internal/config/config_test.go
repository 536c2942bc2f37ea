package config_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/document"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

var update = flag.Bool("update", false, "write the golden files")

var ignoreSource = cmpopts.IgnoreUnexported(config.Config{})

// example is what testdata/gapless.yaml says, all of it.
func example() *config.Config {
	return &config.Config{
		Service: "address-book",
		Target: config.Target{Local: &config.Local{
			Agent: "http://127.0.0.1:7070", TokenEnv: "GAPLESS_AGENT_TOKEN", CAEnv: "GAPLESS_AGENT_CA",
			Command: []string{"./releases/{revision}/address-book"},
			PortEnv: "PORT", Instances: 3, Health: "/healthz",
		}},
		Strategy: config.Strategy{Canary: &config.Canary{
			Steps: []rollout.Weight{10, 50, 250, 500, 1000},
			Watch: config.Watch{Bake: 5 * time.Minute, BakeLimit: 30 * time.Minute, Settle: 30 * time.Second},
		}},
		Traffic: config.TrafficHTTP, ReadyWithin: 2 * time.Minute, Drain: 30 * time.Second,
		Sessions: &config.Sessions{Cookie: "address-book", Keep: 24 * time.Hour},
		Smoke:    []config.Smoke{{Get: "/healthz", Status: 200}},
		Warmup:   []config.Warmup{{Get: "/addresses/{1..50}"}},
		Probe:    &config.Probe{URL: "https://addresses.example.com/healthz", Every: 200 * time.Millisecond},
		Judge: config.Judge{
			Errors: config.Errors{WorseBy: 0.1, Ratio: 1.25},
			Slow:   config.Slow{Over: 300 * time.Millisecond, WorseBy: 0.5, Ratio: 1.25},
			CPU:    config.Excess{Ratio: 1.5}, Memory: config.Excess{Ratio: 1.3}, MinRequests: 150,
		},
		Schema: &config.Schema{
			URLEnv: "DATABASE_URL", Changes: []string{"db/changes/0007-split-street.yaml"},
			Backfill: config.Backfill{
				Workers: 1, BatchTarget: 250 * time.Millisecond,
				MaxLag: 10 * time.Second, MaxWAL: 4096, MaxLockWaiters: 10, MaxProbe: 50 * time.Millisecond, MaxConnections: 90,
			},
		},
		RollbackWindow: 24 * time.Hour,
		AbandonAfter:   7 * 24 * time.Hour,
		Gates: config.Gates{
			Promote:  &config.Gate{Environment: "production"},
			Contract: &config.Gate{Environment: "production-schema"},
		},
		OnCancel: config.CancelRollback,
	}
}

func TestLoadReadsTheExample(t *testing.T) {
	got, err := config.Load("testdata/gapless.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(example(), got, ignoreSource); diff != "" {
		t.Error(diff)
	}
	data, err := os.ReadFile("testdata/gapless.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rollout.File{Name: "testdata/gapless.yaml", Data: data}, got.Source()); diff != "" {
		t.Errorf("source: %s", diff)
	}
	if fault := got.Fault("strategy.canary.steps[2]", "m", ""); fault.Line != 13 || fault.Column != 26 {
		t.Errorf("a later fault is at %v", fault)
	}
}

const least = `
service: address-book
target: {local: {agent: "unix:///run/gapless.sock", command: ["./{revision}"], health: /}}
strategy: {canary: {}}
`

// TestDefaults: what the example gives explicitly is also what it gets by
// leaving it out.
func TestDefaults(t *testing.T) {
	got, err := config.Parse("gapless.yaml", []byte(least))
	if err != nil {
		t.Fatal(err)
	}
	want := example()
	want.Target.Local.Agent, want.Target.Local.Command = "unix:///run/gapless.sock", []string{"./{revision}"}
	want.Target.Local.Instances, want.Target.Local.Health = 1, "/"
	want.Sessions, want.Smoke, want.Warmup, want.Probe, want.Schema, want.Gates = nil, nil, nil, nil, nil, config.Gates{}
	if diff := cmp.Diff(want, got, ignoreSource); diff != "" {
		t.Error(diff)
	}
}

func TestSessionsHaveACookieByDefault(t *testing.T) {
	got, err := config.Parse("gapless.yaml", []byte(least+"sessions: {}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&config.Sessions{Cookie: "gapless-session"}, got.Sessions); diff != "" {
		t.Error(diff)
	}
}

// TestParseReportsEveryFaultAtOnce compares all that is said about a file in
// which nearly everything is wrong.
func TestParseReportsEveryFaultAtOnce(t *testing.T) {
	data, err := os.ReadFile("testdata/faults.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = config.Parse("gapless.yaml", data)
	if err == nil {
		t.Fatal("no fault was found")
	}
	got := err.Error() + "\n"
	if strings.Contains(got, "secret@") {
		t.Errorf("a password is told on:\n%s", got)
	}
	const golden = "testdata/faults.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Error(diff)
	}
}

func TestLoadRefusesWhatIsNotThere(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "gapless.yaml"))
	if !errors.Is(err, fs.ErrNotExist) || document.FaultsOf(err) != nil {
		t.Errorf("want a missing file, got %v", err)
	}
	huge := filepath.Join(t.TempDir(), "gapless.yaml")
	if err := os.WriteFile(huge, make([]byte, 3*document.MaxSize), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(huge); err == nil || !strings.Contains(err.Error(), "at most 262144 are read") {
		t.Errorf("want a file too large, got %v", err)
	}
}

func TestIntent(t *testing.T) {
	base := config.Intent([]byte("a"), []rollout.File{{Name: "x", Data: []byte("1")}, {Name: "y", Data: []byte("2")}}, "local")
	if base != config.Intent([]byte("a"), []rollout.File{{Name: "y", Data: []byte("2")}, {Name: "x", Data: []byte("1")}}, "local") {
		t.Error("the same intent has two digests")
	}
	if want := 64; len(base) != want {
		t.Errorf("digest of %d characters, want %d", len(base), want)
	}
	seen := map[string]string{base: "base"}
	for name, digest := range map[string]string{
		"config":         config.Intent([]byte("b"), []rollout.File{{Name: "x", Data: []byte("1")}, {Name: "y", Data: []byte("2")}}, "local"),
		"change":         config.Intent([]byte("a"), []rollout.File{{Name: "x", Data: []byte("1")}, {Name: "y", Data: []byte("3")}}, "local"),
		"change's name":  config.Intent([]byte("a"), []rollout.File{{Name: "x", Data: []byte("1")}, {Name: "z", Data: []byte("2")}}, "local"),
		"swapped":        config.Intent([]byte("a"), []rollout.File{{Name: "x", Data: []byte("2")}, {Name: "y", Data: []byte("1")}}, "local"),
		"one less":       config.Intent([]byte("a"), []rollout.File{{Name: "x", Data: []byte("1")}}, "local"),
		"target":         config.Intent([]byte("a"), []rollout.File{{Name: "x", Data: []byte("1")}, {Name: "y", Data: []byte("2")}}, "other"),
		"forged in name": config.Intent([]byte("a"), []rollout.File{{Name: "x\" 1\nchange \"y", Data: []byte("2")}}, "local"),
	} {
		if other, ok := seen[digest]; ok {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[digest] = name
	}
}
