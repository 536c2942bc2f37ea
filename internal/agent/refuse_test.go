package agent_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent"
	"github.com/gapless-deploy/gapless/internal/agent/api"
)

func TestAgentRefusesToStart(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() }) //nolint:errcheck // only there to be in the way
	running := start(t, options(t))
	other := filepath.Join(t.TempDir(), "agent.json")
	if err := os.WriteFile(other, []byte(`{"version":1,"service":"billing","owner":"0123456789abcdef"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "agent.json")
	if err := os.WriteFile(broken, []byte(`{"version":1,`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*agent.Options)
		want   []string
	}{
		"public port in use":       {func(o *agent.Options) { o.Public = taken.Addr().String() }, []string{"public address", taken.Addr().String(), "another program"}},
		"admin port in use":        {func(o *agent.Options) { o.Admin = taken.Addr().String() }, []string{"admin address", taken.Addr().String(), "another program"}},
		"admin open to all":        {func(o *agent.Options) { o.Admin = "0.0.0.0:0" }, []string{"0.0.0.0 is open to the network"}},
		"admin without a host":     {func(o *agent.Options) { o.Admin = ":7070" }, []string{"names no host", "loopback"}},
		"admin on a public IP":     {func(o *agent.Options) { o.Admin = "192.0.2.1:7070" }, []string{"192.0.2.1 is open to the network"}},
		"admin with TLS":           {func(o *agent.Options) { o.Admin = "https://127.0.0.1:7070" }, []string{"have a proxy on it speak TLS"}},
		"admin with a path":        {func(o *agent.Options) { o.Admin = "http://127.0.0.1:7070/x" }, []string{"must be http://HOST:PORT"}},
		"short token":              {func(o *agent.Options) { o.Token = "secret" }, []string{"6 characters", "at least 16"}},
		"state of another service": {func(o *agent.Options) { o.State = other }, []string{`belongs to service "billing", not "shop"`}},
		"broken state":             {func(o *agent.Options) { o.State = broken }, []string{broken, "not an agent's state"}},
		"state in use":             {func(o *agent.Options) { o.State = running.state }, []string{"another agent works on it"}},
		"no service, no address":   {func(o *agent.Options) { o.Service, o.Public = "", "8080" }, []string{"service: must be named", `"8080"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := options(t)
			c.change(&opts)
			ctx, cancel := context.WithTimeout(t.Context(), patient)
			defer cancel()
			err := agent.Run(ctx, opts)
			if err == nil {
				t.Fatal("agent ran")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
}

func TestAdminIsClosedWithoutTheTokenAndOnThePublicPort(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	for _, c := range []*api.Client{mustClient(t, h.admin, "another-token-of-the-kind"), mustClient(t, h.admin, "")} {
		if _, err := c.State(t.Context()); !errors.Is(err, api.ErrUnauthorized) {
			t.Errorf("state with a wrong token: %v, want ErrUnauthorized", err)
		}
		_, err := c.SetMark(t.Context(), api.SetMark{IfToken: h.now().Token, Mark: []byte(`1`)})
		if !errors.Is(err, api.ErrUnauthorized) {
			t.Errorf("mark with a wrong token: %v, want ErrUnauthorized", err)
		}
	}
	if _, err := mustClient(t, h.public, token).State(t.Context()); !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("state on the public port: %v, want no agent there", err)
	}
	if status, _ := get(t, h.admin, "/healthz"); status != http.StatusOK {
		t.Errorf("health of the agent: status %d", status)
	}
}

func mustClient(t *testing.T, address, token string) *api.Client {
	t.Helper()
	c, err := api.NewClient(address, token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestAdminOnASocketOnlyItsOwnerMayUse(t *testing.T) {
	t.Parallel()
	opts := options(t)
	path := filepath.Join(t.TempDir(), "agent.sock")
	opts.Admin = "unix://" + path
	h := start(t, opts)
	if h.now().Service != "shop" {
		t.Error("no state over the socket")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket has mode %v, %v, want 0600", info.Mode(), err)
	}
	second := options(t)
	second.Admin = opts.Admin
	if err := agent.Run(t.Context(), second); err == nil || !strings.Contains(err.Error(), "another agent answers there") {
		t.Errorf("second agent on the socket: %v", err)
	}
}

func TestOfManyWritersOneWins(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	seen := h.now().Token
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			done, err := h.client.SetMark(t.Context(), api.SetMark{IfToken: seen, Mark: []byte{'0' + byte(i)}})
			switch {
			case err == nil && done.Token != seen:
				won.Add(1)
			case !errors.Is(err, api.ErrConflict):
				t.Errorf("writer %d: token %s, %v, want ErrConflict", i, done.Token, err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d writers won, want 1", won.Load())
	}
	if after := h.now(); len(after.Mark) != 1 || after.Token == seen {
		t.Errorf("mark %s under token %s", after.Mark, after.Token)
	}
}

func TestEveryChangeIsRefusedOnAStaleToken(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	h.launch(api.Blue, "v1", spec("v1", 1))
	stale := h.now().Token
	h.shift(1000, 0)
	before := h.now()
	_, launch := h.client.Launch(t.Context(), api.Green, api.Launch{IfToken: stale, Revision: api.Revision{ID: "v2"}, Spec: spec("v2", 1)})
	_, shift := h.client.Shift(t.Context(), api.Shift{IfToken: stale, Weights: api.Weights{api.Blue: 1000}})
	_, retire := h.client.Retire(t.Context(), api.Blue, api.Retire{IfToken: stale})
	for name, err := range map[string]error{"launch": launch, "shift": shift, "retire": retire} {
		if !errors.Is(err, api.ErrConflict) {
			t.Errorf("%s: %v, want ErrConflict", name, err)
		}
	}
	if after := h.now(); after.Token != before.Token || len(after.Sides) != 1 {
		t.Errorf("state went from %+v to %+v", before, after)
	}
}

func TestRepeatedChangesAreNoChange(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	first := h.launch(api.Blue, "v1", spec("v1", 1))
	h.launch(api.Blue, "v1", spec("v1", 1))
	in := h.shift(1000, 0)
	again := h.shift(1000, 0)
	if again.Token != in.Token || !again.InForceAt.Equal(in.InForceAt) {
		t.Errorf("same split again gave %+v, was %+v", again, in)
	}
	after := h.now().Sides[api.Blue]
	if after.Instances[0].PID != first.Sides[api.Blue].Instances[0].PID {
		t.Error("the same launch again replaced the instance")
	}
	h.launch(api.Green, "v2", spec("v2", 1))
	h.retire(api.Green, time.Second)
	if done := h.retire(api.Green, time.Second); done.Token != h.now().Token {
		t.Error("retiring again changed the token")
	}
}

func TestTrafficIsNeverGivenToNorTakenFromWhatServes(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	h.launch(api.Blue, "v1", spec("v1", 1))
	shift := func(weights api.Weights) error {
		_, err := h.client.Shift(t.Context(), api.Shift{IfToken: h.now().Token, Weights: weights})
		return err
	}
	if err := shift(api.Weights{api.Green: 1000}); !errors.Is(err, api.ErrNotReady) || !strings.Contains(err.Error(), "nothing runs there") {
		t.Errorf("shift to an empty side: %v", err)
	}
	for _, w := range []api.Weights{{}, {api.Blue: 999}, {api.Blue: 1001, api.Green: -1}, {"red": 1000}} {
		if err := shift(w); !errors.Is(err, api.ErrInvalid) {
			t.Errorf("shift to %v: %v, want ErrInvalid", w, err)
		}
	}
	h.shift(1000, 0)
	_, err := h.client.Retire(t.Context(), api.Blue, api.Retire{IfToken: h.now().Token})
	if !errors.Is(err, api.ErrServing) || !strings.Contains(err.Error(), "100 %") {
		t.Errorf("retire of what serves: %v", err)
	}
	_, err = h.client.Launch(t.Context(), api.Blue, api.Launch{IfToken: h.now().Token, Revision: api.Revision{ID: "v2"}, Spec: spec("v2", 1)})
	if !errors.Is(err, api.ErrServing) || !strings.Contains(err.Error(), "v1 takes 100 %") {
		t.Errorf("launch over what serves: %v", err)
	}
}

func TestWhatCannotStartIsToldWithItsLastWords(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	launch := func(s *api.Spec) error {
		_, err := h.client.Launch(t.Context(), api.Green, api.Launch{IfToken: h.now().Token, Revision: api.Revision{ID: "v2"}, Spec: s})
		return err
	}
	missing := spec("v2", 1)
	missing.Command = []string{"./releases/v2/address-book"}
	missing.Dir = t.TempDir()
	if err := launch(missing); !errors.Is(err, api.ErrInvalid) || !strings.Contains(err.Error(), filepath.Join(missing.Dir, "releases/v2/address-book")) {
		t.Errorf("missing program: %v", err)
	}
	if err := launch(&api.Spec{Instances: 0, Health: "healthz"}); !errors.Is(err, api.ErrInvalid) ||
		!strings.Contains(err.Error(), "command") || !strings.Contains(err.Error(), "instances") || !strings.Contains(err.Error(), "health") {
		t.Errorf("faulty definition: %v, want all its faults", err)
	}
	if err := launch(spec("v2", 1, "FAULT=exits")); err != nil {
		t.Fatal(err)
	}
	ended := h.await("restarting", func(s api.State) bool {
		in := s.Sides[api.Green].Instances[0]
		return in.Restarts >= 2 && in.Phase == api.Waiting
	}).Sides[api.Green].Instances[0]
	if !strings.Contains(ended.LastError, "exit status 1") || !strings.Contains(ended.LogTail, "cannot find my config") {
		t.Errorf("told as %q with output %q", ended.LastError, ended.LogTail)
	}
	if err := launch(spec("v2", 1, "FAULT=unhealthy")); err != nil {
		t.Fatal(err)
	}
	h.await("asked for health", func(s api.State) bool {
		in := s.Sides[api.Green].Instances
		return len(in) == 1 && in[0].Phase == api.Starting && strings.Contains(in[0].LastHealth, "no database")
	})
	_, err := h.client.Shift(t.Context(), api.Shift{IfToken: h.now().Token, Weights: api.Weights{api.Green: 1000}})
	if !errors.Is(err, api.ErrNotReady) || !strings.Contains(err.Error(), "no database") {
		t.Errorf("shift to an unhealthy side: %v, want its last health answer", err)
	}
}

func TestInstancesDoNotSeeTheAgentsSecretsNorDoesTheStateTellTheirs(t *testing.T) {
	t.Setenv("GAPLESS_AGENT_TOKEN", token)
	opts := options(t)
	opts.HideEnv = []string{"GAPLESS_AGENT_TOKEN"}
	h := start(t, opts)
	state := h.launch(api.Blue, "v1", spec("v1", 1, "DATABASE_URL=postgres://secret"))
	blue := state.Sides[api.Blue]
	if _, seen := get(t, blue.Instances[0].Address, "/env?name=GAPLESS_AGENT_TOKEN"); seen != "" {
		t.Errorf("the instance sees the agent's token %q", seen)
	}
	if _, seen := get(t, blue.Instances[0].Address, "/env?name=DATABASE_URL"); seen != "postgres://secret" {
		t.Errorf("the instance sees its own variable as %q", seen)
	}
	if blue.Spec.Env != nil || len(blue.EnvNames) != 3 || blue.EnvNames[0] != "DATABASE_URL" {
		t.Errorf("state tells %v, names %v: names only", blue.Spec.Env, blue.EnvNames)
	}
}

func TestStubbornInstanceIsKilledAfterItsGrace(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	s := spec("v1", 1, "FAULT=stubborn")
	s.Grace = api.Duration(100 * time.Millisecond)
	pid := h.launch(api.Blue, "v1", s).Sides[api.Blue].Instances[0].PID
	h.retire(api.Blue, time.Second)
	if alive(pid) {
		t.Errorf("pid %d still runs after it was retired", pid)
	}
}

func TestRetiredRevisionStartsAgainFromItsKeptDefinition(t *testing.T) {
	t.Parallel()
	h := start(t, options(t))
	h.launch(api.Blue, "v1", spec("v1", 1))
	h.retire(api.Blue, time.Second)
	relaunch := func(id string) error {
		_, err := h.client.Launch(t.Context(), api.Blue, api.Launch{IfToken: h.now().Token, Revision: api.Revision{ID: id}})
		return err
	}
	if err := relaunch("v0"); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("launch of another revision than the kept one: %v", err)
	}
	if err := relaunch("v1"); err != nil {
		t.Fatal(err)
	}
	h.await("ready", func(s api.State) bool { return s.Sides[api.Blue].Ready == 1 })
}
