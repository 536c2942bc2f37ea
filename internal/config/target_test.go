package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/config"
)

func TestForFillsInTheRevision(t *testing.T) {
	local := config.Local{
		Command: []string{"./releases/{revision}/app", "--version={revision}", `{"a": 1}`},
		Dir:     "/srv/{revision}", Env: map[string]string{"V": "{revision}-{revision}", "W": "x"},
	}
	got, err := local.For("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	want := config.Program{
		Command: []string{"./releases/1.2.3/app", "--version=1.2.3", `{"a": 1}`},
		Dir:     "/srv/1.2.3", Env: map[string]string{"V": "1.2.3-1.2.3", "W": "x"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if local.Command[0] != "./releases/{revision}/app" || local.Env["V"] != "{revision}-{revision}" {
		t.Error("the config itself was changed")
	}
}

func TestForRefusesAnUnsafeRevision(t *testing.T) {
	local := config.Local{Command: []string{"./{revision}"}}
	for _, id := range []string{"", "..", "../../etc", "a/b", "a b", "-rf", "a\x00", "$(id)", "a;b", "{revision}"} {
		if got, err := local.For(id); err == nil {
			t.Errorf("%q became %v", id, got.Command)
		}
	}
}

// TestSpecNamesWhatRuns: a release of settings alone is a new revision, that of
// another number of instances too; what only the agent is told is none.
func TestSpecNamesWhatRuns(t *testing.T) {
	spec := func(alter func(*config.Config)) string {
		t.Helper()
		c := example()
		alter(c)
		s, err := c.Spec("1.0")
		if err != nil {
			t.Fatal(err)
		}
		return s.Revision.Spec
	}
	base := spec(func(*config.Config) {})
	for name, alter := range map[string]func(*config.Config){
		"command":             func(c *config.Config) { c.Target.Local.Command = append(c.Target.Local.Command, "-v") },
		"env":                 func(c *config.Config) { c.Target.Local.Env = map[string]string{"A": "1"} },
		"dir":                 func(c *config.Config) { c.Target.Local.Dir = "/srv" },
		"port_env":            func(c *config.Config) { c.Target.Local.PortEnv = "APP_PORT" },
		"health":              func(c *config.Config) { c.Target.Local.Health = "/ready" },
		"number of instances": func(c *config.Config) { c.Target.Local.Instances++ },
		"kind of traffic":     func(c *config.Config) { c.Traffic = config.TrafficNone },
	} {
		if spec(alter) == base {
			t.Errorf("another %s is the same revision", name)
		}
	}
	if spec(func(c *config.Config) { c.Drain = 0 }) != base {
		t.Error("another drain is another revision")
	}
	if _, err := (&config.Config{Target: config.Target{Lambda: &config.Lambda{}}}).Spec("1.0"); err == nil {
		t.Error("a target without a platform has a spec")
	}
}

func TestTargetString(t *testing.T) {
	for want, target := range map[string]config.Target{
		"local http://127.0.0.1:1": {Local: &config.Local{Agent: "http://127.0.0.1:1"}},
		"kubernetes shop/web":      {Kubernetes: &config.Kubernetes{Namespace: "shop", Deployment: "web"}},
		"ecs prod/web":             {ECS: &config.ECS{Cluster: "prod", Service: "web"}},
		"lambda web:live":          {Lambda: &config.Lambda{Function: "web", Alias: "live"}},
		"none":                     {},
	} {
		if got := target.String(); got != want {
			t.Errorf("want %s, got %s", want, got)
		}
	}
}
