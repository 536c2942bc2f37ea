package agent_test

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
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

func pids(s api.State) map[string]int {
	all := map[string]int{}
	for _, side := range s.Sides {
		for _, in := range side.Instances {
			all[in.Name] = in.PID
		}
	}
	return all
}

func TestUpgradesUnderLoadLoseNoRequestAndKeepEverything(t *testing.T) {
	t.Parallel()
	l := ancestor(t, fixed(t))
	l.launch(api.Blue, "v1", spec("v1", 2))
	l.launch(api.Green, "v2", spec("v2", 1))
	l.shift(900, 100)
	if _, err := l.client.SetMark(t.Context(), api.SetMark{IfToken: l.now().Token, Mark: []byte(`{"epoch":3}`)}); err != nil {
		t.Fatal(err)
	}
	before := l.now()
	stop := l.strictly(4)
	for range 4 {
		old := l.upgrade()
		after := l.now()
		if after.Token != before.Token || string(after.Mark) != `{"epoch":3}` || !after.Split.Weights.Equal(before.Split.Weights) || !after.Split.InForceAt.Equal(before.Split.InForceAt) {
			t.Errorf("after: %+v\nbefore: %+v", after, before)
		}
		if was, is := fmt.Sprint(pids(before)), fmt.Sprint(pids(after)); was != is {
			t.Errorf("instances are %s, were %s", is, was)
		}
		if old == l.first.Process.Pid {
			if err := l.first.Wait(); err != nil {
				t.Errorf("the agent that handed over: %v", err)
			}
		}
		eventually(t, "the agent that handed over has ended", func() bool { return !alive(old) })
		for name, pid := range pids(after) {
			if !alive(pid) {
				t.Errorf("%s ended with the agent that handed over", name)
			}
		}
	}
	l.shift(500, 500)
	answered, faults := stop()
	if len(faults) > 0 || answered < 400 {
		t.Errorf("%d requests, %d lost: %v", answered, len(faults), errors.Join(faults...))
	}
	t.Logf("%d requests", answered)
}

func TestStreamsLiveAcrossAnUpgradeUntilTheDrainEnds(t *testing.T) {
	t.Parallel()
	opts := fixed(t)
	opts.Drain = 2 * time.Second
	l := ancestor(t, opts)
	l.launch(api.Blue, "v1", spec("v1", 1))
	address := l.shiftTo(api.Blue)
	socket, _, err := websocket.Dial(t.Context(), "ws://"+l.public+"/socket", nil) //nolint:bodyclose // the connection owns it
	if err != nil {
		t.Fatal(err)
	}
	events, err := http.Get("http://" + l.public + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close() //nolint:errcheck // only read
	read := bufio.NewScanner(events.Body)
	echo := func() error {
		if err := socket.Write(t.Context(), websocket.MessageText, []byte("ping")); err != nil {
			return err
		}
		_, said, err := socket.Read(t.Context())
		if err == nil && string(said) != "ping" {
			err = fmt.Errorf("echoed %q", said)
		}
		return err
	}
	if err := echo(); err != nil || !read.Scan() || read.Text() != "data: one" {
		t.Fatal(err, read.Text())
	}
	old := l.upgrade()
	if err := echo(); err != nil {
		t.Errorf("WebSocket after the upgrade: %v", err)
	}
	get(t, address, "/release")
	for read.Scan() && read.Text() == "" { // the end of the first event
		continue
	}
	if read.Text() != "data: two" {
		t.Errorf("event after the upgrade: %q, %v", read.Text(), read.Err())
	}
	if err := echo(); err != nil {
		t.Errorf("WebSocket while the old agent drains: %v", err)
	}
	if _, _, err := socket.Read(t.Context()); err == nil {
		t.Error("the WebSocket outlived the drain")
	}
	if err := l.first.Wait(); err != nil {
		t.Errorf("the agent that cut it: %v", err)
	}
	l.awaitLog(fmt.Sprintf("msg=left successor=%d", l.pid))
	if !strings.Contains(l.told(), "cut=1") {
		t.Error("the log does not tell that one connection was cut")
	}
	if alive(old) {
		t.Error("the old agent still runs")
	}
	get(t, l.public, "/who")
}

// shiftTo gives a side all traffic and tells where its first instance answers.
func (l *line) shiftTo(side api.Side) string {
	l.t.Helper()
	weights := api.Weights{side: api.Whole}
	l.shift(weights[api.Blue], weights[api.Green])
	return l.now().Sides[side].Instances[0].Address
}

func TestFailedUpgradeLeavesTheAgentAtWork(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ script, told string }{
		"exits":        {"exit 3", "exit status 3"},
		"never ready":  {"exec sleep 60", "was not ready in time"},
		"not a binary": {"", "exec format error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := fixed(t)
			opts.Takeover = 5 * time.Second // the good one at the end has to be ready in it too
			l := ancestor(t, opts)
			l.launch(api.Blue, "v1", spec("v1", 2))
			l.shift(1000, 0)
			stop := l.strictly(2)
			if l.script(c.script); c.script == "" {
				path := filepath.Join(t.TempDir(), "broken")
				if err := os.WriteFile(path, []byte("\x7fELF and nothing more"), 0o700); err != nil {
					t.Fatal(err)
				}
				l.install(path)
			}
			l.signal(syscall.SIGHUP)
			l.awaitLog("this agent goes on")
			if !strings.Contains(l.told(), c.told) {
				t.Errorf("the log does not say %q", c.told)
			}
			if _, faults := stop(); len(faults) > 0 {
				t.Errorf("lost: %v", errors.Join(faults...))
			}
			l.launch(api.Green, "v2", spec("v2", 1))
			l.shift(0, 1000)
			victim := l.now().Sides[api.Blue].Instances[0].PID
			if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			l.await("started again", func(s api.State) bool {
				in := s.Sides[api.Blue].Instances[0]
				return in.PID != victim && in.Phase == api.Ready
			})
			l.install(os.Args[0])
			before := pids(l.now())
			l.upgrade()
			if after := pids(l.now()); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("instances are %v, were %v", after, before)
			}
		})
	}
}

func TestChangeDuringAHandOverIsACleanConflict(t *testing.T) {
	t.Parallel()
	opts := fixed(t)
	opts.Takeover = 4 * time.Second
	l := ancestor(t, opts)
	l.launch(api.Blue, "v1", spec("v1", 1))
	l.shift(1000, 0)
	before := l.now()
	began := filepath.Join(t.TempDir(), "began")
	l.script("touch " + began + "; exec sleep 60")
	l.signal(syscall.SIGHUP)
	eventually(t, "the successor starts", func() bool { _, err := os.Stat(began); return err == nil })

	var all sync.WaitGroup
	for name, change := range map[string]func() error{
		"mark": func() error {
			_, err := l.client.SetMark(t.Context(), api.SetMark{IfToken: before.Token, Mark: []byte(`1`)})
			return err
		},
		"launch": func() error {
			_, err := l.client.Launch(t.Context(), api.Green, api.Launch{IfToken: before.Token, Revision: api.Revision{ID: "v2"}, Spec: spec("v2", 1)})
			return err
		},
		"shift": func() error {
			_, err := l.client.Shift(t.Context(), api.Shift{IfToken: before.Token, Weights: api.Weights{api.Blue: 1000}})
			return err
		},
		"retire": func() error {
			_, err := l.client.Retire(t.Context(), api.Green, api.Retire{IfToken: before.Token})
			return err
		},
	} {
		all.Go(func() {
			if err := change(); !errors.Is(err, api.ErrConflict) || !strings.Contains(err.Error(), "look again") {
				t.Errorf("%s: %v, want ErrConflict", name, err)
			}
		})
	}
	all.Wait()
	if now := l.now(); now.Token != before.Token || len(now.Sides) != 1 || now.Mark != nil {
		t.Errorf("what was refused was done: %+v", now)
	}
	l.awaitLog("this agent goes on")
	if _, err := l.client.SetMark(t.Context(), api.SetMark{IfToken: before.Token, Mark: []byte(`1`)}); err != nil {
		t.Errorf("the same after the hand-over failed: %v", err)
	}
}

// lockedOut asserts that the state is locked: a further agent is refused.
func (l *line) lockedOut(when string) {
	l.t.Helper()
	opts := options(l.t)
	opts.State = l.state
	if err := agent.Run(l.t.Context(), opts); err == nil || !strings.Contains(err.Error(), "another agent works on it") {
		l.t.Errorf("a further agent %s: %v", when, err)
	}
}

func TestOneAgentHoldsTheStateThroughoutAnUpgrade(t *testing.T) {
	t.Parallel()
	opts := fixed(t)
	opts.Takeover = time.Second
	l := ancestor(t, opts)
	l.script("exec sleep 60")
	l.lockedOut("before")
	l.signal(syscall.SIGHUP)
	l.lockedOut("while a successor is awaited")
	l.awaitLog("this agent goes on")
	l.lockedOut("after a failed upgrade")
	l.install(os.Args[0])
	old := l.upgrade()
	l.lockedOut("after an upgrade")
	eventually(t, "the old agent has ended", func() bool { return !alive(old) })
	l.lockedOut("after the old agent has ended")
}

func TestAgentKilledDuringAnUpgradeIsStartedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		successor string // a script, or none for an agent
		kill      func(l *line) []int
	}{
		"old, before the successor is ready": {"exec sleep 60", func(l *line) []int { return []int{l.pid} }},
		"new, once in charge":                {"", func(l *line) []int { l.upgrade(); return []int{l.pid} }},
		"both":                               {"", func(l *line) []int { old := l.upgrade(); return []int{old, l.pid} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := fixed(t)
			l := ancestor(t, opts)
			l.launch(api.Blue, "v1", spec("v1", 2))
			l.launch(api.Green, "v2", spec("v2", 1))
			l.shift(700, 300)
			before := l.now()
			held := hold(t, l.public) // keeps the old agent from ending by itself
			if c.successor != "" {
				began := filepath.Join(t.TempDir(), "began")
				l.script("touch " + began + "; " + c.successor)
				l.signal(syscall.SIGHUP)
				eventually(t, "the successor starts", func() bool { _, err := os.Stat(began); return err == nil })
			}
			for _, pid := range c.kill(l) {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "it is dead", func() bool { return !alive(l.pid) })
			next := ancestor(t, opts)
			after := next.await("all ready", func(s api.State) bool { return s.Sides[api.Blue].Ready == 2 && s.Sides[api.Green].Ready == 1 })
			if after.Token != before.Token || !after.Split.Weights.Equal(before.Split.Weights) {
				t.Errorf("after: %+v\nbefore: %+v", after, before)
			}
			if was, is := fmt.Sprint(pids(before)), fmt.Sprint(pids(after)); was != is {
				t.Errorf("instances are %s, were %s", is, was)
			}
			get(t, next.public, "/who")
			get(t, after.Sides[api.Blue].Instances[0].Address, "/release")
			get(t, after.Sides[api.Blue].Instances[1].Address, "/release")
			_ = held
		})
	}
}
