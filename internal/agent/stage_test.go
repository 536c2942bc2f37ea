package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/gapless-deploy/gapless/internal/agent"
	"github.com/gapless-deploy/gapless/internal/agent/api"
)

const (
	token   = "a-token-that-is-long-enough"
	patient = 20 * time.Second // bounds what must happen soon
)

// TestMain lets the test binary stand in for the programs that an agent
// meets: an instance of a service, and the agent itself where it has to be killed.
func TestMain(m *testing.M) {
	switch os.Getenv("TEST_ROLE") {
	case "instance":
		if err := runInstance(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "agent":
		if err := runAgent(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

// runInstance is a small service. What it does wrong comes from its environment.
func runInstance() error {
	fmt.Println("version", os.Getenv("VERSION"), "starts on", os.Getenv("PORT"))
	if os.Getenv("FAULT") == "exits" {
		return errors.New("cannot find my config")
	}
	stop := make(chan os.Signal, 1)
	if os.Getenv("FAULT") == "stubborn" {
		signal.Ignore(syscall.SIGTERM)
	} else {
		signal.Notify(stop, syscall.SIGTERM)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		return err
	}
	go func() {
		<-stop
		os.Exit(0)
	}()
	return http.Serve(listener, newService())
}

// say leaves it to the test to see what is missing.
func say(w io.Writer, word string) { io.WriteString(w, word) } //nolint:errcheck // see above

func newService() http.Handler {
	release := make(chan struct{})
	var once sync.Once
	var sick sync.Map
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if _, yes := sick.Load("sick"); yes || os.Getenv("FAULT") == "unhealthy" {
			http.Error(w, "no database", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/sick", func(http.ResponseWriter, *http.Request) { sick.Store("sick", true) })
	mux.HandleFunc("/well", func(http.ResponseWriter, *http.Request) { sick.Delete("sick") })
	mux.HandleFunc("/who", func(w http.ResponseWriter, _ *http.Request) {
		say(w, fmt.Sprint(os.Getenv("VERSION"), " ", os.Getpid()))
	})
	mux.HandleFunc("/env", func(w http.ResponseWriter, r *http.Request) { say(w, os.Getenv(r.FormValue("name"))) })
	mux.HandleFunc("/header", func(w http.ResponseWriter, r *http.Request) { say(w, r.Header.Get(r.FormValue("name"))) })
	mux.HandleFunc("/pause", func(w http.ResponseWriter, r *http.Request) {
		if kind := r.FormValue("type"); kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		say(w, "before\n")
		if r.FormValue("body") == "" && r.ContentLength <= 0 {
			http.NewResponseController(w).Flush() //nolint:errcheck // the test sees what is missing
		}
		<-time.After(900 * time.Millisecond)
		io.Copy(io.Discard, r.Body) //nolint:errcheck // the test sees what is missing
		say(w, "after\n")
	})
	mux.HandleFunc("/flood", func(w http.ResponseWriter, _ *http.Request) {
		for block := make([]byte, 64<<10); ; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(w, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	})
	mux.HandleFunc("/error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	mux.HandleFunc("/slow", func(http.ResponseWriter, *http.Request) { <-time.After(600 * time.Millisecond) })
	mux.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) {
		fmt.Println("index out of range [7]")
		os.Exit(3)
	})
	mux.HandleFunc("/release", func(http.ResponseWriter, *http.Request) { once.Do(func() { close(release) }) })
	mux.HandleFunc("/hold", func(w http.ResponseWriter, r *http.Request) {
		say(w, "held\n")
		http.NewResponseController(w).Flush() //nolint:errcheck // the test sees what is missing
		select {
		case <-release:
			say(w, "released\n")
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		say(w, "data: one\n\n")
		http.NewResponseController(w).Flush() //nolint:errcheck // the test sees what is missing
		select {
		case <-release:
			say(w, "data: two\n\n")
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		for {
			kind, said, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, said) != nil {
				return
			}
		}
	})
	return mux
}

// runAgent runs an agent as told by TEST_AGENT until SIGTERM.
func runAgent() error {
	var opts agent.Options
	if err := json.Unmarshal([]byte(os.Getenv("TEST_AGENT")), &plain{&opts}); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	opts.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	opts.Serving = func(net.Addr, net.Addr) { fmt.Println("serving", os.Getpid()) }
	var err error
	if opts.Inherited, err = agent.Inherit(); err != nil {
		return err
	}
	upgrade := make(chan os.Signal, 1)
	signal.Notify(upgrade, syscall.SIGHUP)
	opts.Upgrade, opts.Command = upgrade, os.Args
	return agent.Run(ctx, opts)
}

// plain reads the options that are text.
type plain struct{ *agent.Options }

func (p *plain) UnmarshalJSON(raw []byte) error {
	var o struct {
		Service, Public, Admin, Token, State string
		Drain, Takeover                      time.Duration
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return err
	}
	p.Service, p.Public, p.Admin, p.Token, p.State = o.Service, o.Public, o.Admin, o.Token, o.State
	p.Drain, p.Takeover = o.Drain, o.Takeover
	return nil
}

// host is an agent at work in this process, with a client for it.
type host struct {
	t      testing.TB
	client *api.Client
	public string
	admin  string
	state  string
	ended  chan error
	end    context.CancelFunc
}

func options(t testing.TB) agent.Options {
	t.Helper()
	return agent.Options{
		Service: "shop", Public: "127.0.0.1:0", Admin: "127.0.0.1:0", Token: token,
		State: filepath.Join(t.TempDir(), "agent.json"), Drain: 5 * time.Second,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func start(t testing.TB, opts agent.Options) *host {
	t.Helper()
	h := &host{t: t, ended: make(chan error, 1), state: opts.State}
	ctx, cancel := context.WithCancel(context.Background())
	h.end = cancel
	serving := make(chan struct{})
	opts.Serving = func(public, admin net.Addr) {
		h.public, h.admin = public.String(), admin.String()
		close(serving)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ended <- agent.Run(ctx, opts)
	}()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-serving:
	case err := <-h.ended:
		t.Fatalf("agent ended: %v", err)
	}
	if strings.HasPrefix(opts.Admin, "unix:") {
		h.admin = opts.Admin
	}
	h.client = client(t, h.admin)
	return h
}

func client(t testing.TB, admin string) *api.Client {
	t.Helper()
	c, err := api.NewClient(admin, token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// spec is an instance of this test's service in a version.
func spec(version string, instances int, env ...string) *api.Spec {
	s := &api.Spec{
		Command: []string{os.Args[0]}, PortEnv: "PORT", Health: "/healthz", Instances: instances,
		HealthEvery: api.Duration(100 * time.Millisecond), Grace: api.Duration(2 * time.Second),
		Env: map[string]string{"TEST_ROLE": "instance", "VERSION": version},
	}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		s.Env[name] = value
	}
	return s
}

func (h *host) now() api.State {
	h.t.Helper()
	state, err := h.client.State(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return state
}

// await looks at the state until it is as wanted.
func (h *host) await(what string, wanted func(api.State) bool) api.State {
	h.t.Helper()
	deadline := time.After(patient)
	for {
		state := h.now()
		if wanted(state) {
			return state
		}
		select {
		case <-deadline:
			shown, err := json.MarshalIndent(state, "", " ")
			h.t.Fatalf("still not %s: %s %v", what, shown, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (h *host) launch(side api.Side, version string, s *api.Spec) api.State {
	h.t.Helper()
	_, err := h.client.Launch(h.t.Context(), side, api.Launch{IfToken: h.now().Token, Revision: api.Revision{ID: version}, Spec: s})
	if err != nil {
		h.t.Fatal(err)
	}
	return h.await(version+" ready", func(state api.State) bool { return state.Sides[side].Ready == s.Instances })
}

func (h *host) shift(blue, green int) api.Done {
	h.t.Helper()
	return h.change(func(token string) (api.Done, error) {
		return h.client.Shift(h.t.Context(), api.Shift{IfToken: token, Weights: api.Weights{api.Blue: blue, api.Green: green}})
	})
}

// change looks and changes, and looks again where an agent hands over.
func (h *host) change(do func(token string) (api.Done, error)) api.Done {
	h.t.Helper()
	for again := 20; ; again-- {
		done, err := do(h.now().Token)
		if err == nil {
			return done
		}
		if again == 0 || !errors.Is(err, api.ErrConflict) {
			h.t.Fatal(err)
		}
	}
}

func (h *host) retire(side api.Side, drain time.Duration) api.Done {
	h.t.Helper()
	return h.change(func(token string) (api.Done, error) {
		return h.client.Retire(h.t.Context(), side, api.Retire{IfToken: token, Drain: api.Duration(drain)})
	})
}

// get asks an address (host:port) for a path.
func get(t testing.TB, address, path string) (status int, body string) {
	t.Helper()
	status, body, err := fetch(t.Context(), address, path)
	if err != nil {
		t.Fatal(err)
	}
	return status, body
}

func fetch(ctx context.Context, address, path string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	raw, err := io.ReadAll(response.Body)
	return response.StatusCode, string(raw), errors.Join(err, response.Body.Close())
}
