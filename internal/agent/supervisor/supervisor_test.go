package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/agent/supervisor"
	"github.com/gapless-deploy/gapless/internal/agent/tally"
)

// TestMain lets the test binary stand in for an instance.
func TestMain(m *testing.M) {
	port := os.Getenv("PORT")
	if port == "" {
		os.Exit(m.Run())
	}
	fmt.Println("listening on", port)
	fmt.Fprintln(os.Stderr, http.ListenAndServe("127.0.0.1:"+port, http.NotFoundHandler()))
	os.Exit(1)
}

// door is a router that only notes what it is told.
type door struct {
	mu    sync.Mutex
	ready bool
	asked []string
}

func (d *door) target(address string) supervisor.Target {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, address)
	return d
}

func (d *door) Ready(ready bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ready = ready
}
func (d *door) Hold(bool)                 {}
func (d *door) Drain(context.Context) int { return 0 }
func (d *door) Gone()                     {}
func (d *door) InFlight() int             { return 0 }

func newSupervisor(t *testing.T) (*supervisor.Supervisor, string) {
	t.Helper()
	logs := filepath.Join(t.TempDir(), "logs")
	s, err := supervisor.New(supervisor.Options{
		Owner: "owner-of-" + t.Name(), Logs: logs, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, logs
}

func order(d *door, launch int, command ...string) supervisor.Order {
	return supervisor.Order{
		Side: api.Blue, Revision: api.Revision{ID: "v1"}, Launch: launch, Places: []int{1}, Serving: 1, Door: d.target, Changed: func() {},
		Spec: api.Spec{Command: command, PortEnv: "PORT", Instances: 1, Health: "/"},
	}
}

func stop(t *testing.T, fleet *supervisor.Fleet) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := fleet.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatal("still not: " + what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestUsageIncludesTheChildrenOfAnInstance(t *testing.T) {
	t.Parallel()
	s, _ := newSupervisor(t)
	// The parent sleeps; its child is what burns.
	fleet := s.Launch(t.Context(), order(&door{}, 1, "/bin/sh", "-c", "(while :; do :; done) & wait"))
	stop(t, fleet)
	spent := 0.0
	eventually(t, "CPU time of the child is counted", func() bool {
		used := s.Usage([]*supervisor.Fleet{fleet})[tally.Key{Side: api.Blue, Revision: api.Revision{ID: "v1"}}]
		spent += used.CPUSeconds
		return spent > 0.05
	})
}

func TestChildrenEndWithTheirInstance(t *testing.T) {
	t.Parallel()
	s, logs := newSupervisor(t)
	fleet := s.Launch(t.Context(), order(&door{}, 1, "/bin/sh", "-c", "sleep 1000 & echo child $!; wait"))
	var child int
	eventually(t, "the child is named", func() bool {
		said, err := os.ReadFile(filepath.Join(logs, "blue-1.1.log"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		n, err := fmt.Sscanf(string(said), "child %d\n", &child)
		return n == 1 && err == nil
	})
	if _, err := fleet.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child has ended", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

func TestALongLogIsMovedAside(t *testing.T) {
	t.Parallel()
	s, logs := newSupervisor(t)
	fleet := s.Launch(t.Context(), order(&door{}, 1, "/bin/sh", "-c", "yes filling the log | head -c 17000000; exec sleep 1000"))
	stop(t, fleet)
	file := filepath.Join(logs, "blue-1.1.log")
	eventually(t, "the log is full", func() bool {
		info, err := os.Stat(file)
		return err == nil && info.Size() == 17000000
	})
	if err := fleet.TrimLogs(); err != nil {
		t.Fatal(err)
	}
	now, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	older, err := os.Stat(file + ".1")
	if err != nil {
		t.Fatal(err)
	}
	if now.Size() != 0 || older.Size() != 17000000 {
		t.Errorf("log has %d bytes, the older one %d", now.Size(), older.Size())
	}
}

func TestLogsOfLaunchesLongGoneAreRemoved(t *testing.T) {
	t.Parallel()
	s, logs := newSupervisor(t)
	for _, name := range []string{"blue-1.1.log", "green-2.1.log.1", "blue-15.1.log", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(logs, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stop(t, s.Launch(t.Context(), order(&door{}, 20, "/bin/sleep", "1000")))
	left, err := filepath.Glob(filepath.Join(logs, "*[0-9].1.log*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range left {
		if base := filepath.Base(name); base != "blue-15.1.log" && base != "blue-20.1.log" {
			t.Errorf("%s is still there", base)
		}
	}
	if _, err := os.Stat(filepath.Join(logs, "notes.txt")); err != nil {
		t.Errorf("what is no log of an instance: %v", err)
	}
}

// Readiness comes from the health path alone, not from the open port.
func TestAnInstanceWithoutAHealthyAnswerIsNeverReady(t *testing.T) {
	t.Parallel()
	s, _ := newSupervisor(t)
	d := &door{}
	fleet := s.Launch(t.Context(), order(d, 1, os.Args[0])) // answers 404 to everything
	stop(t, fleet)
	eventually(t, "the answer is told", func() bool {
		return strings.Contains(fleet.Status()[0].LastHealth, "status 404")
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := fleet.AwaitReady(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("awaited: %v", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ready {
		t.Error("the router was told that it is ready")
	}
	if problem := supervisor.Problem(fleet.Status()[0]); !strings.Contains(problem, "blue-1.1 is starting: health: status 404") {
		t.Errorf("problem is told as %q", problem)
	}
}
