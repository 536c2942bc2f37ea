package agent_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/gapless-deploy/gapless/internal/agent"
	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// line is an agent in processes of its own that hand over to one another.
type line struct {
	*host
	t       *testing.T
	program string // a link to what an upgrade starts
	first   *exec.Cmd
	pid     int // of the agent in charge
	serving chan int
	log     string
}

// ancestor starts the first agent of a line.
func ancestor(t *testing.T, opts agent.Options) *line {
	t.Helper()
	l := ancestorBy(t, opts, nil)
	l.pid = l.awaitServing()
	return l
}

// ancestorBy has another program start it, with files; that serves when it
// likes.
func ancestorBy(t *testing.T, opts agent.Options, files []*os.File, wrapper ...string) *line {
	t.Helper()
	dir := t.TempDir()
	l := &line{t: t, program: filepath.Join(dir, "gapless"), serving: make(chan int, 16), log: filepath.Join(dir, "log")}
	l.install(os.Args[0])
	log, err := os.Create(l.log)
	if err != nil {
		t.Fatal(err)
	}
	command := append(wrapper, l.program)
	l.first = exec.Command(command[0], command[1:]...)
	l.first.ExtraFiles = files
	l.first.Env = append(os.Environ(), asAgent(t, opts)...)
	l.first.Stderr = log
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	l.first.Stdout = w
	if err := errors.Join(l.first.Start(), w.Close(), log.Close()); err != nil {
		t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if text, ok := strings.CutPrefix(lines.Text(), "serving "); ok {
				if pid, err := strconv.Atoi(text); err == nil {
					l.serving <- pid
				}
			}
		}
	}()
	l.pid = l.first.Process.Pid
	t.Cleanup(l.finish)
	l.host = &host{t: t, public: opts.Public, admin: opts.Admin, state: opts.State}
	l.client = client(t, opts.Admin)
	return l
}

// install makes target what the next upgrade starts.
func (l *line) install(target string) {
	l.t.Helper()
	next := l.program + ".new"
	if err := errors.Join(os.Symlink(target, next), os.Rename(next, l.program)); err != nil {
		l.t.Fatal(err)
	}
}

// script installs a program that is no agent.
func (l *line) script(text string) {
	l.t.Helper()
	path := filepath.Join(l.t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		l.t.Fatal(err)
	}
	l.install(path)
}

func (l *line) finish() {
	if err := syscall.Kill(l.pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		l.t.Error(err)
	}
	eventually(l.t, "the agent has ended", func() bool { return !alive(l.pid) })
	l.first.Wait() //nolint:errcheck // the tests that care look themselves
	if strings.Contains(l.told(), "DATA RACE") {
		l.t.Error("data race in an agent")
	}
	if l.t.Failed() {
		l.t.Log(l.told())
	}
}

// told is all that the agents of the line have logged.
func (l *line) told() string {
	raw, err := os.ReadFile(l.log)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(raw)
}

func (l *line) awaitServing() int {
	l.t.Helper()
	select {
	case pid := <-l.serving:
		return pid
	case <-time.After(patient):
		l.t.Fatalf("no agent came up:\n%s", l.told())
		return 0
	}
}

func (l *line) signal(sig syscall.Signal) {
	l.t.Helper()
	if err := syscall.Kill(l.pid, sig); err != nil {
		l.t.Fatal(err)
	}
}

// upgrade has the agent hand over and returns the pid of the one that did.
func (l *line) upgrade() (old int) {
	l.t.Helper()
	l.signal(syscall.SIGHUP)
	old, l.pid = l.pid, l.awaitServing()
	if old == l.pid {
		l.t.Fatal("the same process serves")
	}
	return old
}

func (l *line) awaitLog(text string) {
	l.t.Helper()
	eventually(l.t, "log tells "+text, func() bool { return strings.Contains(l.told(), text) })
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patient); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patient, what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// strict is a client that sends nothing twice: it uses a connection until the
// agent says that it closes it.
type strict struct {
	address string
	conn    net.Conn
	in      *bufio.Reader
}

func (c *strict) ask(path string) error {
	if c.conn == nil {
		conn, err := net.Dial("tcp", c.address)
		if err != nil {
			return err
		}
		c.conn, c.in = conn, bufio.NewReader(conn)
	}
	if _, err := fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: shop\r\n\r\n", path); err != nil {
		return err
	}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	body := make([]byte, 256)
	n, _ := response.Body.Read(body) //nolint:errcheck // the status tells
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %s", response.StatusCode, body[:n])
	}
	if response.Close {
		err := c.conn.Close()
		c.conn = nil
		return err
	}
	return response.Body.Close()
}

// strictly asks from several clients until stop is called.
func (l *line) strictly(clients int) (stop func() (answered int, faults []error)) {
	done := make(chan struct{})
	var mu sync.Mutex
	var all sync.WaitGroup
	answered, faults := 0, []error(nil)
	for range clients {
		all.Go(func() {
			c := &strict{address: l.public}
			for {
				select {
				case <-done:
					return
				default:
				}
				err := c.ask("/who")
				mu.Lock()
				if answered++; err != nil {
					faults = append(faults, err)
					c.conn = nil
				}
				mu.Unlock()
			}
		})
	}
	return func() (int, []error) { close(done); all.Wait(); return answered, faults }
}

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
			opts.Takeover = 300 * time.Millisecond
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
