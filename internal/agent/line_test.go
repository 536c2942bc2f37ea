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

	"github.com/gapless-deploy/gapless/internal/agent"
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
