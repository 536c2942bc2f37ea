package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent"
	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/config"
	meter "github.com/gapless-deploy/gapless/internal/meter/agent"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/platform/local"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

const token = "a-token-that-is-long-enough"

var (
	_ phase.Sides = (*local.Platform)(nil)
	_ phase.Meter = (*meter.Meter)(nil)
)

// TestMain lets the test binary stand in for an instance of a service, and for
// an agent where it has to be killed.
func TestMain(m *testing.M) {
	told, fault := os.Getenv("LOCAL_TEST_AGENT"), os.Getenv("LOCAL_TEST_FAULT")
	switch {
	case os.Getenv("LOCAL_TEST_VERSION") == "" && told == "":
		os.Exit(m.Run())
	case os.Getenv("LOCAL_TEST_VERSION") == "":
		if err := runAgent(told); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	case os.Getenv("LOCAL_TEST_VERSION") == "broken" || fault == "crashing":
		fmt.Fprintln(os.Stderr, "cannot open config")
		os.Exit(1)
	}
	answer := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/error" || r.URL.Path == "/healthz" && fault == "unready" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprint(w, os.Getenv("LOCAL_TEST_VERSION")) //nolint:errcheck // the test sees what is missing
	}
	fmt.Fprintln(os.Stderr, http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(answer)))
	os.Exit(1)
}

// host is a running agent, and the client that the adapters use.
func host(t *testing.T) (client *api.Client, public string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	state := filepath.Join(t.TempDir(), "state.json")
	serving, ended := make(chan net.Addr, 2), make(chan error, 1)
	go func() {
		ended <- agent.Run(ctx, agent.Options{
			Service: "shop", Public: "127.0.0.1:0", Admin: "127.0.0.1:0", Token: token,
			State: state, Drain: time.Second,
			Log:     slog.New(slog.NewTextHandler(t.Output(), nil)),
			Serving: func(public, admin net.Addr) { serving <- public; serving <- admin },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	case address := <-serving:
		public = address.String()
	}
	client, err := api.NewClient((<-serving).String(), token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client, public
}

func spec(t *testing.T, version string, instances int) rollout.Spec {
	t.Helper()
	s, err := rollout.NewSpec(version, instances, config.LocalSpec{
		Command: []string{os.Args[0]}, PortEnv: "PORT", Health: "/healthz",
		Env: map[string]string{"LOCAL_TEST_VERSION": version},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type stage struct {
	*local.Platform
	t *testing.T
}

func (s stage) observe() rollout.Observation {
	s.t.Helper()
	seen, err := s.Observe(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return seen
}

func (s stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func get(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // everything was read
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestAReleaseIsObservedAsItWasDone(t *testing.T) {
	t.Parallel()
	client, public := host(t)
	p := stage{local.New(client, local.Options{Service: "shop", Drain: time.Second, SlowOver: 300 * time.Millisecond}), t}
	ctx := t.Context()
	if seen := p.observe(); seen.Mark != nil || !seen.Split.Zero() || len(seen.Sides) != 0 || seen.Token == "" {
		t.Errorf("an empty platform is observed as %+v", seen)
	}
	one, two := spec(t, "1.0", 2), spec(t, "1.1", 1)
	p.must(p.Launch(ctx, p.observe().Token, rollout.Blue, one))
	p.must(p.Shift(ctx, p.observe().Token, rollout.SplitTo(rollout.Blue, rollout.Full)))
	p.must(p.Launch(ctx, p.observe().Token, rollout.Green, two))
	mark := rollout.Mark{Service: "shop", Stable: one.Revision, StableSide: rollout.Blue, Epoch: 3}
	p.must(p.Claim(ctx, p.observe().Token, mark))
	p.must(p.Shift(ctx, p.observe().Token, rollout.SplitTo(rollout.Green, 5)))

	seen := p.observe()
	if seen.Mark == nil || seen.Mark.Stable != one.Revision || seen.Mark.Epoch != 3 {
		t.Errorf("mark %+v, want %+v", seen.Mark, mark)
	}
	if seen.Split != (rollout.Split{Blue: 995, Green: 5}) || seen.SplitSince.IsZero() || seen.SplitSince.After(seen.At) {
		t.Errorf("split %+v since %s at %s", seen.Split, seen.SplitSince, seen.At)
	}
	blue, green := seen.Sides[rollout.Blue], seen.Sides[rollout.Green]
	if blue.Revision != one.Revision || blue.Ready != 2 || blue.Desired != 2 || green.Revision != two.Revision || green.Ready != 1 {
		t.Errorf("sides %+v", seen.Sides)
	}
	via, err := p.Reach(ctx, green.Instances[0])
	p.must(err)
	if got := get(t, &http.Client{Transport: via}, "http://whatever/smoke"); got != "1.1" {
		t.Errorf("the candidate past the routing answers %q", got)
	}
	if got := get(t, http.DefaultClient, "http://"+public+"/"); got != "1.0" {
		t.Errorf("the first of a thousand requests was answered by %q", got)
	}

	p.must(p.Shift(ctx, p.observe().Token, rollout.SplitTo(rollout.Blue, rollout.Full)))
	_, err = p.Retire(ctx, p.observe().Token, rollout.Green)
	p.must(err)
	if after := p.observe(); len(after.Sides) != 1 {
		t.Errorf("after retirement: %+v", after.Sides)
	}
}

func TestSessionsReachTheAgent(t *testing.T) {
	t.Parallel()
	client, public := host(t)
	p := stage{local.New(client, local.Options{
		Service: "shop", Sessions: &config.Sessions{Cookie: "sid", Keep: time.Hour},
	}), t}
	ctx := t.Context()
	p.must(p.Launch(ctx, p.observe().Token, rollout.Blue, spec(t, "1.0", 1)))
	p.must(p.Shift(ctx, p.observe().Token, rollout.SplitTo(rollout.Blue, rollout.Full)))
	response, err := http.Get("http://" + public + "/")
	p.must(err)
	p.must(response.Body.Close())
	if set := response.Cookies(); len(set) != 1 || set[0].Name != "sid" || set[0].MaxAge != 3600 {
		t.Errorf("a new client was given %v, want sid for an hour", set)
	}
}

func TestStaleTokensAreConflictsInRolloutsWords(t *testing.T) {
	t.Parallel()
	client, _ := host(t)
	p := stage{local.New(client, local.Options{Service: "shop"}), t}
	ctx, stale := t.Context(), p.observe().Token
	p.must(p.Claim(ctx, stale, rollout.Mark{Service: "shop"}))
	_, retired := p.Retire(ctx, stale, rollout.Blue)
	for name, err := range map[string]error{
		"claim":  p.Claim(ctx, stale, rollout.Mark{Service: "shop"}),
		"launch": p.Launch(ctx, stale, rollout.Blue, spec(t, "1.0", 1)),
		"shift":  p.Shift(ctx, stale, rollout.SplitTo(rollout.Blue, rollout.Full)),
		"retire": retired,
	} {
		if !errors.Is(err, rollout.ErrConflict) {
			t.Errorf("%s: %v, want ErrConflict", name, err)
		}
	}
}

func TestACandidateThatDoesNotComeUpIsToldWithItsLastWords(t *testing.T) {
	t.Parallel()
	client, _ := host(t)
	p := stage{local.New(client, local.Options{Service: "shop"}), t}
	cause := errors.New("not ready within 1s")
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
	defer cancel()
	err := p.Launch(ctx, p.observe().Token, rollout.Blue, spec(t, "broken", 1))
	if err == nil {
		t.Fatal("a process that exits at once became ready")
	}
	side := p.observe().Sides[rollout.Blue]
	if side.Ready != 0 || len(side.Instances) != 1 {
		t.Fatalf("observed %+v", side)
	}
	problem := side.Instances[0].Problem
	if !strings.Contains(problem, "exit status 1") || !strings.Contains(problem, "cannot open config") || strings.Contains(problem, "\n") {
		t.Errorf("problem is told as %q", problem)
	}
}

func TestAnotherServicesAgentIsRefused(t *testing.T) {
	t.Parallel()
	client, _ := host(t)
	_, err := local.New(client, local.Options{Service: "billing"}).Observe(t.Context())
	if err == nil || !strings.Contains(err.Error(), `service "shop", not "billing"`) {
		t.Errorf("observed with %v", err)
	}
}

func TestTheMeterTellsSecondsByRevisionAndTheCandidatesWeight(t *testing.T) {
	t.Parallel()
	client, public := host(t)
	p := stage{local.New(client, local.Options{Service: "shop", SlowOver: time.Second}), t}
	ctx := t.Context()
	one, two := spec(t, "1.0", 1), spec(t, "1.1", 1)
	p.must(p.Launch(ctx, p.observe().Token, rollout.Blue, one))
	p.must(p.Launch(ctx, p.observe().Token, rollout.Green, two))
	p.must(p.Shift(ctx, p.observe().Token, rollout.SplitTo(rollout.Green, 500)))
	since := p.observe().SplitSince
	for range 10 {
		get(t, http.DefaultClient, "http://"+public+"/error")
	}
	deadline := time.After(10 * time.Second)
	for {
		samples, err := meter.New(client).Counts(ctx, rollout.Window{Since: since}, one.Revision, two.Revision)
		p.must(err)
		requests := map[string]int64{}
		for _, s := range samples {
			requests[s.Revision] += s.Requests
			if s.Weight != 500 || s.Errors != s.Requests || s.From.Before(since) || s.Instances != 1 || !s.HasCPU || s.Memory == 0 {
				t.Fatalf("sample %+v", s)
			}
		}
		if requests[one.Revision.Key()] == 5 && requests[two.Revision.Key()] == 5 {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("requests %v, want 5 each", requests)
		case <-time.After(20 * time.Millisecond):
		}
	}
	alone, err := meter.New(client).Counts(ctx, rollout.Window{Since: since}, one.Revision)
	p.must(err)
	for _, s := range alone {
		if s.Revision != one.Revision.Key() || s.Weight != 500 {
			t.Errorf("asked for stable alone: %+v", s)
		}
	}
}

// Rollbacks must say so when the agent is gone.
func TestAnAgentThatIsDownIsNamed(t *testing.T) {
	t.Parallel()
	client, err := api.NewClient("http://127.0.0.1:1", token)
	if err != nil {
		t.Fatal(err)
	}
	_, err = local.New(client, local.Options{Service: "shop"}).Observe(t.Context())
	if !errors.Is(err, api.ErrUnreachable) || !strings.Contains(err.Error(), "http://127.0.0.1:1") {
		t.Errorf("observed with %v", err)
	}
}
