package local_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent"
	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/platform/local"
	"github.com/gapless-deploy/gapless/internal/platform/platformtest"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

func TestSides(t *testing.T) {
	t.Parallel()
	platformtest.Sides(t, func(t *testing.T) *platformtest.Stage { return contract(t, config.TrafficHTTP) })
}

func TestRoller(t *testing.T) {
	t.Parallel()
	platformtest.Roller(t, func(t *testing.T) *platformtest.Stage { return contract(t, config.TrafficHTTP) })
}

func TestRollerOfWorkers(t *testing.T) {
	t.Parallel()
	platformtest.Roller(t, func(t *testing.T) *platformtest.Stage { return contract(t, config.TrafficNone) })
}

// contract is an agent in a process of its own, with instances that are
// processes.
func contract(t *testing.T, traffic config.Traffic) *platformtest.Stage {
	t.Helper()
	a := &separate{Public: free(t), Admin: free(t), State: filepath.Join(t.TempDir(), "state.json")}
	a.start(t)
	t.Cleanup(func() { a.end(t, syscall.SIGTERM) })
	opts := local.Options{Service: "shop", Drain: 5 * time.Second, SlowOver: time.Second}
	open := func(address string) *local.Platform {
		client, err := api.NewClient(address, token)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return local.New(client, opts)
	}
	describe := func(fault string) func(string, int) rollout.Spec {
		return func(id string, instances int) rollout.Spec { return contractSpec(t, id, instances, fault, traffic) }
	}
	stage := &platformtest.Stage{
		Platform: open(a.Admin),
		Hooked: func(before, after func()) phase.Platform {
			return open(hooked(t, a.Admin, before, after))
		},
		Good: describe(""), Unready: describe("unready"), Crashing: describe("crashing"),
		Path: "/",
		Restart: func() {
			a.end(t, syscall.SIGKILL)
			a.start(t)
		},
	}
	if traffic == config.TrafficHTTP {
		stage.Ask = asking(t, "http://"+a.Public+"/")
	}
	return stage
}

func contractSpec(t *testing.T, id string, instances int, fault string, traffic config.Traffic) rollout.Spec {
	t.Helper()
	s, err := rollout.NewSpec(id, instances, config.LocalSpec{
		Command: []string{os.Args[0]}, PortEnv: "PORT", Health: "/healthz", NoTraffic: traffic == config.TrafficNone,
		Env: map[string]string{"LOCAL_TEST_VERSION": id, "LOCAL_TEST_FAULT": fault},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asking gives a client that opens a connection for each request, so that it
// has nothing to try again on.
func asking(t *testing.T, address string) func(context.Context) (string, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	return func(ctx context.Context) (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return "", err
		}
		response, err := client.Do(request)
		if err != nil {
			return "", err
		}
		body, err := io.ReadAll(response.Body)
		if err = errors.Join(err, response.Body.Close()); err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d: %q", response.StatusCode, body)
		}
		return string(body), err
	}
}

// hooked gives the address of the agent behind one that calls before and after
// around each request.
func hooked(t *testing.T, admin string, before, after func()) string {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: admin})
	proxy.ModifyResponse = func(*http.Response) error { after(); return nil }
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// separate is an agent in a process of its own, so that it can be killed.
type separate struct {
	Public, Admin, State string
	cmd                  *exec.Cmd
}

// free gives an address that an agent started again can have again.
func free(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}

func (a *separate) start(t *testing.T) {
	t.Helper()
	told, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	a.cmd = exec.Command(os.Args[0])
	a.cmd.Env = append(os.Environ(), "LOCAL_TEST_AGENT="+string(told))
	a.cmd.Stderr = t.Output()
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "serving\n" {
		t.Fatalf("agent said %q, %v", line, err)
	}
}

func (a *separate) end(t *testing.T, how os.Signal) {
	t.Helper()
	if err := a.cmd.Process.Signal(how); err != nil {
		t.Error(err)
	}
	if err := a.cmd.Wait(); err != nil && how == syscall.SIGTERM {
		t.Errorf("agent: %v", err)
	}
}

// runAgent runs an agent as told until SIGTERM.
func runAgent(told string) error {
	var a separate
	if err := json.Unmarshal([]byte(told), &a); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return agent.Run(ctx, agent.Options{
		Service: "shop", Public: a.Public, Admin: a.Admin, Token: token, State: a.State, Drain: time.Second,
		Log:     slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Serving: func(net.Addr, net.Addr) { fmt.Println("serving") },
	})
}
