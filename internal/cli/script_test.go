package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gapless-deploy/gapless/internal/ledger"
	"github.com/gapless-deploy/gapless/internal/pgtest"
	"github.com/gapless-deploy/gapless/internal/probe"
)

func TestMain(m *testing.M) {
	// Scripts wait more than they work: for bakes, starts, and leases to lapse.
	must(flag.Set("test.parallel", "4"))
	testscript.Main(m, map[string]func(){
		"service":        service,
		"gapless-killed": killed,
	})
}

// leaked is a secret that a service says.
const leaked = `a "key" of <32> bytes & more, at least`

// service is what the scripts release. Its argument is the revision, which
// says how it behaves.
func service() {
	revision := os.Args[1]
	if strings.HasPrefix(revision, "broken") {
		fmt.Fprintln(os.Stderr, "cannot open /etc/service.conf: no such file")
		os.Exit(1)
	}
	if strings.HasPrefix(revision, "leaky") {
		fmt.Fprintln(os.Stderr, `cannot log in with `+leaked)
		os.Exit(1)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if strings.HasPrefix(revision, "crash") {
			time.AfterFunc(300*time.Millisecond, func() { os.Exit(7) })
		}
		if strings.HasPrefix(revision, "unhealthy") {
			http.Error(w, "database schema is too old", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		if strings.HasPrefix(revision, "bad") {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		_, err := fmt.Fprintln(w, revision)
		must(err)
	})
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: mux, ReadHeaderTimeout: time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		ended <- server.Shutdown(context.WithoutCancel(ctx))
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := <-ended; err != nil {
		os.Exit(1)
	}
}

// programs builds what the scripts run as it is shipped: without the race
// detector, under which PostgreSQL's grammar takes half a minute to load.
func programs(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, args := range [][]string{
		{"build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(dir, "gapless"), "../../cmd/gapless"},
		{"test", "-c", "-trimpath", "-buildvcs=false", "-o", filepath.Join(dir, "gapless-killed"), "."},
	} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", args[0], err, out)
		}
	}
	if err := os.Symlink("gapless", filepath.Join(dir, postName)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestScripts(t *testing.T) { play(t, "script", scriptCommands()) }

type scriptCommand = func(*testscript.TestScript, bool, []string)

func scriptCommands() map[string]scriptCommand {
	return map[string]scriptCommand{
		"fill": fill, "agent": startAgent, "database": useDatabase, "traffic": traffic, "sql": query, "awaits": awaits, "exits": exits,
		"until": until, "survive": survive, "asks": asks, "sticks": sticks,
	}
}

// play runs the scripts in a directory of testdata.
func play(t *testing.T, dir string, commands map[string]scriptCommand) {
	built := programs(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("..", "..", "testdata", dir),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", built+string(filepath.ListSeparator)+e.Getenv("PATH"))
			e.Setenv("GAPLESS_AGENT_TOKEN", "a-token-of-the-test-scripts")
			tb, ok := e.T().(testing.TB)
			if !ok {
				return errors.New("scripts need a test to belong to")
			}
			e.Values["stage"] = &stage{tb: tb}
			for _, name := range []string{"PUBLIC", "ADMIN", "PUBLIC_2", "ADMIN_2"} {
				address, err := freeAddress(t.Context())
				if err != nil {
					return err
				}
				e.Setenv(name, address)
			}
			return nil
		},
		Cmds: commands,
	})
}

// stage is what one script has started.
type stage struct {
	tb      testing.TB
	agent   *exec.Cmd
	traffic func() ledger.Summary
	hub     *hub
}

func stageOf(ts *testscript.TestScript) *stage {
	s, ok := ts.Value("stage").(*stage)
	if !ok {
		ts.Fatalf("the script has no stage")
	}
	return s
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// fill replaces $PUBLIC and $ADMIN in files.
func fill(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// startAgent starts "gapless agent" and waits until it answers. "agent kill"
// ends the one that runs with SIGKILL; "agent beside NAME" starts another, of
// service NAME, at PUBLIC_2 and ADMIN_2.
func startAgent(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 1 && args[0] == "kill" {
		cmd := stageOf(ts).agent
		ts.Check(cmd.Process.Kill())
		if err := cmd.Wait(); err == nil {
			ts.Fatalf("the agent ended well before it was killed")
		}
		return
	}
	service, suffix := "shop", ""
	if len(args) == 2 && args[0] == "beside" {
		service, suffix = args[1], "_2"
	}
	log, err := os.OpenFile(ts.MkAbs("agent"+suffix+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	path, err := lookPath(ts.Getenv("PATH"), "gapless")
	ts.Check(err)
	cmd := exec.Command(path, "agent", "--service", service, "--listen", ts.Getenv("PUBLIC"+suffix), "--admin", ts.Getenv("ADMIN"+suffix))
	if suffix != "" {
		cmd.Args = append(cmd.Args, "--state-dir", ts.MkAbs("agent"+suffix))
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), log, log
	cmd.Env = append(os.Environ(), "PATH="+ts.Getenv("PATH"), "GAPLESS_AGENT_TOKEN="+ts.Getenv("GAPLESS_AGENT_TOKEN"))
	ts.Check(cmd.Start())
	if suffix == "" {
		stageOf(ts).agent = cmd
	}
	ts.Defer(func() {
		if cmd.ProcessState == nil {
			ts.Check(cmd.Process.Signal(syscall.SIGTERM))
			ts.Check(cmd.Wait())
		}
		ts.Check(log.Close())
	})
	eventually(ts, "the agent answers", func() bool {
		conn, err := net.Dial("tcp", ts.Getenv("ADMIN"+suffix))
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}

func lookPath(path, name string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		if full := filepath.Join(dir, name); isFile(full) {
			return full, nil
		}
	}
	return "", fmt.Errorf("%s is not on PATH", name)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// useDatabase makes an empty database, and its URL DATABASE_URL.
func useDatabase(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Setenv("DATABASE_URL", pgtest.New(stageOf(ts).tb))
}

// awaits runs SQL until its first column, row by row, holds a text.
func awaits(ts *testscript.TestScript, _ bool, args []string) {
	eventually(ts, fmt.Sprintf("%q holds %q", args[1], args[0]), func() bool { return strings.Contains(asked(ts, false, args[1]), args[0]) })
}

// query runs SQL and prints each row's first column.
func query(ts *testscript.TestScript, neg bool, args []string) {
	_, err := fmt.Fprintln(ts.Stdout(), asked(ts, neg, args[0]))
	ts.Check(err)
}

// asked is the first column of what SQL gives, row by row.
func asked(ts *testscript.TestScript, neg bool, sql string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, ts.Getenv("DATABASE_URL"))
	ts.Check(err)
	defer func() { ts.Check(conn.Close(ctx)) }()
	// The error of the query, too, comes out of reading its rows.
	rows, _ := conn.Query(ctx, sql, pgx.QueryExecModeSimpleProtocol) //nolint:errcheck // see above
	values, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		v, err := row.Values()
		return fmt.Sprint(v...), err
	})
	if neg != (err != nil) {
		ts.Fatalf("%s: %v", sql, err)
	}
	return strings.Join(values, "\n")
}

// traffic start asks the public port all the time, without retries; traffic
// stop ends it and fails if a request was dropped.
func traffic(ts *testscript.TestScript, _ bool, args []string) {
	switch args[0] {
	case "start":
		book := ledger.New(ledger.Options{Candidate: args[1]})
		p, err := probe.Start(context.Background(), probe.Options{URL: "http://" + ts.Getenv("PUBLIC") + "/", Every: 4 * time.Millisecond}, book)
		ts.Check(err)
		stageOf(ts).traffic = func() ledger.Summary { p.Stop(); return book.Summary() }
		ts.Defer(p.Stop)
	case "stop":
		sum := stageOf(ts).traffic()
		if sum.Requests == 0 || sum.Dropped > 0 {
			ts.Fatalf("%d of %d requests were dropped: %+v", sum.Dropped, sum.Requests, sum.Causes)
		}
		ts.Logf("%d requests, none dropped", sum.Requests)
	}
}

// asks sends one request to the public address and wants this status.
func asks(ts *testscript.TestScript, _ bool, args []string) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+ts.Getenv("PUBLIC")+"/", nil)
	ts.Check(err)
	response, err := http.DefaultClient.Do(request)
	ts.Check(err)
	ts.Check(response.Body.Close())
	if got := strconv.Itoa(response.StatusCode); got != args[0] {
		ts.Fatalf("answered %s, want %s", got, args[0])
	}
}

// exits runs a program and wants this exit status.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := exitStatus(ts, ts.Exec(args[1], args[2:]...)); got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func exitStatus(ts *testscript.TestScript, err error) int {
	exit := (*exec.ExitError)(nil)
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	if err == nil {
		return 0
	}
	return exit.ExitCode()
}

// until runs a program again and again until its output holds a text.
func until(ts *testscript.TestScript, _ bool, args []string) {
	eventually(ts, fmt.Sprintf("%q holds %q", args[1:], args[0]), func() bool {
		exitStatus(ts, ts.Exec(args[1], args[2:]...))
		return strings.Contains(ts.ReadFile("stdout"), args[0])
	})
}

func eventually(ts *testscript.TestScript, what string, holds func() bool) {
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			ts.Fatalf("waited 20s until %s", what)
		case <-tick.C:
		}
	}
}
