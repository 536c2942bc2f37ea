package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

func TestConfigureMovesThePortsAndAddsTheChange(t *testing.T) {
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{root: root, dir: t.TempDir(), adminAt: "127.0.0.1:1", public: "127.0.0.1:2"}
	for _, o := range combinations() {
		for _, withChange := range []bool{false, true} {
			if err := s.configure(o, withChange); err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(filepath.Join(s.dir, "gapless.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			text := string(raw)
			if strings.Contains(text, ":7070") || strings.Contains(text, ":8080") ||
				!strings.Contains(text, "127.0.0.1:1\"") || !strings.Contains(text, "127.0.0.1:2/") {
				t.Errorf("the ports were not moved:\n%s", text)
			}
			cfg, err := config.Load(filepath.Join(s.dir, "gapless.yaml"))
			if err != nil {
				t.Fatalf("gapless would not take it: %v", err)
			}
			if got := len(cfg.Schema.Changes) == 1; got != withChange {
				t.Errorf("changes are %v, want one: %t", cfg.Schema.Changes, withChange)
			}
			if cfg.Strategy.Kind().String() != string(o.Strategy) || cfg.Service != service || cfg.Target.Local.Instances != instances {
				t.Errorf("%s of %d instances of %s was configured, want %s", cfg.Strategy.Kind(), cfg.Target.Local.Instances, cfg.Service, o.Strategy)
			}
			if want := o.Fault.trouble().bake; want != 0 && cfg.Strategy.Watching().Bake != want {
				t.Errorf("%s: a weight is watched for %s, want %s", o.Fault, cfg.Strategy.Watching().Bake, want)
			}
			if watch := cfg.Strategy.Watching(); watch.Bake == 0 || watch.BakeLimit <= watch.Bake || watch.BakeLimit > 3*time.Minute {
				t.Errorf("%s, %s: watched for %s, at most %s", o.Strategy, o.Fault, watch.Bake, watch.BakeLimit)
			}
		}
	}
}

// What the demo promotes to are the steps of its config, and it strikes at one
// of them.
func TestStepsAreThoseOfTheConfig(t *testing.T) {
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{root: root, dir: t.TempDir(), adminAt: "127.0.0.1:1", public: "127.0.0.1:2"}
	for _, strategy := range strategies() {
		if err := s.configure(options{Strategy: strategy, Fault: noFault}, true); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(filepath.Join(s.dir, "gapless.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		weights := cfg.Strategy.Weights(instances)
		struck, promoted := 0, 0
		for _, step := range strategy.steps() {
			if step.midway > 0 {
				struck++
				if !slices.Contains(weights, step.midway) {
					t.Errorf("%s is struck at %s, its weights are %v", strategy, step.midway, weights)
				}
			}
			if step.args[0] == "promote" && len(step.args) == 3 {
				if w, err := rollout.ParseWeight(step.args[2]); err != nil || w != weights[promoted] {
					t.Errorf("%s promotes to %v, want %v", strategy, w, weights[promoted])
				}
				promoted++
			}
		}
		if struck != 1 {
			t.Errorf("%d phases of %s can be struck, want 1", struck, strategy)
		}
	}
}
