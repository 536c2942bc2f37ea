package agent_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

func TestCountsSurviveAnUpgrade(t *testing.T) {
	t.Parallel()
	l := ancestor(t, fixed(t))
	l.launch(api.Blue, "v1", spec("v1", 1))
	l.launch(api.Green, "v2", spec("v2", 1))
	address := l.shiftTo(api.Blue)
	for range 20 {
		get(t, l.public, "/who")
	}
	l.counted(t, 1)
	from, err := l.client.Counts(t.Context(), time.Time{}, api.PerSplit)
	if err != nil {
		t.Fatal(err)
	}
	get(t, l.public, "/error") // not yet in a row when the hand-over comes
	held := hold(t, l.public)  // answered by the agent that leaves
	l.upgrade()
	for range 5 {
		get(t, l.public, "/who")
	}
	get(t, address, "/release")
	if held() != "released" {
		t.Error("the request in flight was lost")
	}
	blue := func() (sum api.Sample, samples int) {
		for _, s := range l.counted(t, 1) {
			if s.Side == api.Blue && len(s.Weights) > 0 {
				sum.Requests, sum.Errors = sum.Requests+s.Requests, sum.Errors+s.Errors
				samples++
			}
		}
		return sum, samples
	}
	eventually(t, "the last answer of the agent that left is counted", func() bool { sum, _ := blue(); return sum.Requests >= 27 })
	if sum, samples := blue(); sum.Requests != 27 || sum.Errors != 1 || samples != 1 {
		t.Errorf("%d requests, %d errors in %d samples, want 27 and 1 in one: the split did not change", sum.Requests, sum.Errors, samples)
	}
	after, err := l.client.Counts(t.Context(), time.Time{}, api.PerSplit)
	if err != nil || !after.From.Equal(from.From) {
		t.Errorf("known from %s, %v, was from %s", after.From, err, from.From)
	}
}

func TestWhatIsBeingRetiredIsEndedByTheAgentThatBeganIt(t *testing.T) {
	t.Parallel()
	l := ancestor(t, fixed(t))
	l.launch(api.Blue, "v1", spec("v1", 1))
	l.launch(api.Green, "v2", spec("v2", 1))
	address := l.shiftTo(api.Blue)
	held := hold(t, l.public)
	l.shift(0, 1000)
	retired := make(chan api.Done, 1)
	go func() { retired <- l.retire(api.Blue, time.Minute) }()
	pid := l.await("draining", func(s api.State) bool { return len(s.Draining) == 1 }).Draining[0].PID
	old := l.upgrade()
	if !alive(pid) {
		t.Fatal("the successor ended what still had a request")
	}
	get(t, address, "/release")
	if held() != "released" {
		t.Error("the request in flight was cut")
	}
	if done := <-retired; done.Cut != 0 {
		t.Errorf("cut %d", done.Cut)
	}
	eventually(t, "old agent and instance have ended", func() bool { return !alive(old) && !alive(pid) })
}

func TestInstanceOutlivesTheRequestsOfTheAgentThatLeft(t *testing.T) {
	t.Parallel()
	l := ancestor(t, fixed(t))
	l.launch(api.Blue, "v1", spec("v1", 1))
	l.launch(api.Green, "v2", spec("v2", 1))
	address := l.shiftTo(api.Blue)
	held := hold(t, l.public)
	l.upgrade()
	l.shift(0, 1000)
	retired := make(chan api.Done, 1)
	go func() { retired <- l.retire(api.Blue, time.Minute) }()
	l.await("draining", func(s api.State) bool { return len(s.Draining) == 1 })
	get(t, address, "/release")
	if held() != "released" {
		t.Error("a retirement by the successor cut a request of the agent that left")
	}
	<-retired
}

func TestAdminSocketPassesToTheSuccessorAndGoesWithTheLast(t *testing.T) {
	t.Parallel()
	opts := fixed(t)
	path := filepath.Join(t.TempDir(), "agent.sock")
	opts.Admin = "unix://" + path
	l := ancestor(t, opts)
	for range 2 {
		old := l.upgrade()
		eventually(t, "the old agent has ended", func() bool { return !alive(old) })
		if _, err := mustClient(t, opts.Admin, token).State(t.Context()); err != nil {
			t.Fatalf("over the socket after an upgrade: %v", err)
		}
	}
	l.signal(syscall.SIGTERM)
	eventually(t, "the socket is gone", func() bool { _, err := os.Stat(path); return os.IsNotExist(err) })
}

func TestSuccessorOfAKilledAgentDoesNothing(t *testing.T) {
	t.Parallel()
	opts := fixed(t)
	l := ancestor(t, opts)
	l.launch(api.Blue, "v1", spec("v1", 2))
	l.shift(1000, 0)
	before := l.now()
	l.script(fmt.Sprintf("echo $$ >%s/pid; kill -9 $PPID; exec %s", filepath.Dir(l.log), os.Args[0]))
	l.signal(syscall.SIGHUP)
	l.awaitLog("did not hand over")
	next := ancestor(t, opts)
	after := next.await("ready", func(s api.State) bool { return s.Sides[api.Blue].Ready == 2 })
	if was, is := fmt.Sprint(pids(before)), fmt.Sprint(pids(after)); was != is || after.Token != before.Token {
		t.Errorf("instances are %s, were %s", is, was)
	}
}

// systemd's own stand-in for itself passes the socket; between two agents it is
// what keeps it, as systemd is.
func TestSocketActivationKeepsThePublicAddressBetweenTwoAgents(t *testing.T) {
	t.Parallel()
	activate, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("systemd-socket-activate is not installed (apt-get install systemd)")
	}
	opts := fixed(t)
	public := opts.Public
	opts.Public = "127.0.0.1:1" // not what it is given
	l := ancestorBy(t, opts, nil, activate, "--listen="+public, "--fdname=public", "-E", "TEST_ROLE", "-E", "TEST_AGENT", "-E", "PATH")
	eventually(t, "the address is open", func() bool {
		conn, err := net.Dial("tcp", public)
		return err == nil && conn.Close() == nil
	})
	l.pid, l.public = l.awaitServing(), public
	state := l.launch(api.Blue, "v1", spec("v1", 1))
	if state.Public != public {
		t.Errorf("public address is told as %s, is %s", state.Public, public)
	}
	l.shift(1000, 0)
	stop := l.strictly(4)
	l.upgrade()
	if answered, faults := stop(); len(faults) > 0 {
		t.Errorf("%d of %d requests lost over an upgrade: %v", len(faults), answered, faults[0])
	}
}

// The test keeps the socket, as systemd does, and starts the agents with it.
func TestKilledAgentsClientsWaitAtTheSocketThatSystemdKeeps(t *testing.T) {
	t.Parallel()
	opts := fixed(t)
	listener, err := net.Listen("tcp", opts.Public)
	if err != nil {
		t.Fatal(err)
	}
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		t.Fatalf("listener is %T", listener)
	}
	file, err := tcp.File()
	if err != nil {
		t.Fatal(err)
	}
	// LISTEN_PID must be the agent's own, which the shell in its place knows.
	activated := []string{"/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=public exec "$0"`}
	l := ancestorBy(t, opts, []*os.File{file}, activated...)
	l.awaitServing()
	l.launch(api.Blue, "v1", spec("v1", 1))
	l.shift(1000, 0)
	kill(t, l.first)
	answered := make(chan error, 20)
	for range cap(answered) {
		go func() { answered <- (&strict{address: l.public}).ask("/who") }()
	}
	select {
	case err := <-answered:
		t.Fatalf("without an agent a client got %v, must wait", err)
	case <-time.After(50 * time.Millisecond):
	}
	ancestorBy(t, opts, []*os.File{file}, activated...).awaitServing()
	for range cap(answered) {
		if err := <-answered; err != nil {
			t.Errorf("a client that came while no agent ran: %v", err)
		}
	}
}

// manager stands in for systemd's notification socket.
func manager(t *testing.T) (path string, told func() string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() }) //nolint:errcheck // only read
	return path, func() string {
		if err := conn.SetReadDeadline(time.Now().Add(patient)); err != nil {
			t.Fatal(err)
		}
		said := make([]byte, 4096)
		n, err := conn.Read(said)
		if err != nil {
			t.Fatal(err)
		}
		return string(said[:n])
	}
}

func TestServiceManagerIsToldOfEveryStep(t *testing.T) {
	path, told := manager(t)
	t.Setenv("NOTIFY_SOCKET", path)
	l := ancestor(t, fixed(t))
	if said := told(); said != "READY=1" {
		t.Errorf("at the start %q", said)
	}
	seen := l.launch(api.Blue, "v1", spec("v1", 1)).Sides[api.Blue].Instances[0].Address
	if _, value := get(t, seen, "/env?name=NOTIFY_SOCKET"); value != "" {
		t.Error("an instance can speak to the service manager")
	}
	l.script("exit 1")
	l.signal(syscall.SIGHUP)
	if first, second := told(), told(); !strings.HasPrefix(first, "RELOADING=1") || second != "READY=1" {
		t.Errorf("over a failed upgrade %q, %q", first, second)
	}
	l.install(os.Args[0])
	l.upgrade()
	if first, second := told(), told(); !strings.HasPrefix(first, "RELOADING=1") || second != fmt.Sprintf("MAINPID=%d\nREADY=1", l.pid) {
		t.Errorf("over an upgrade to %d: %q, %q", l.pid, first, second)
	}
	l.signal(syscall.SIGTERM)
	if said := told(); said != "STOPPING=1" {
		t.Errorf("at the end %q", said)
	}
}
