package agent_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent"
	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// alive tells whether a process runs and is not a zombie.
func alive(pid int) bool {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// separate runs an agent in a process of its own, so that it can be killed.
func separate(t *testing.T, opts agent.Options) (*host, *exec.Cmd) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asAgent(t, opts)...)
	cmd.Stderr = t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Error(err)
			}
			cmd.Wait() //nolint:errcheck // how it ends is not this test's subject
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); !strings.HasPrefix(line, "serving ") {
		t.Fatalf("agent said %q, %v", line, err)
	}
	h := &host{t: t, public: opts.Public, admin: opts.Admin, state: opts.State}
	h.client = client(t, opts.Admin)
	return h, cmd
}

// asAgent is the environment that makes this program an agent.
func asAgent(t *testing.T, opts agent.Options) []string {
	t.Helper()
	told, err := json.Marshal(map[string]any{
		"Service": opts.Service, "Public": opts.Public, "Admin": opts.Admin, "Token": opts.Token, "State": opts.State,
		"Drain": opts.Drain, "Takeover": opts.Takeover,
	})
	if err != nil {
		t.Fatal(err)
	}
	return []string{"TEST_ROLE=agent", "TEST_AGENT=" + string(told)}
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() //nolint:errcheck // it was killed
}

// fixed gives an agent that is started again the addresses it had.
func fixed(t *testing.T) agent.Options {
	t.Helper()
	opts := options(t)
	for _, address := range []*string{&opts.Public, &opts.Admin} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*address = listener.Addr().String()
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return opts
}

func TestKilledAgentCarriesOnWithItsInstancesSplitAndMark(t *testing.T) {
	t.Parallel()
	opts := fixed(t)
	h, cmd := separate(t, opts)
	h.launch(api.Blue, "v1", spec("v1", 2))
	h.launch(api.Green, "v2", spec("v2", 1))
	h.shift(995, 5)
	if _, err := h.client.SetMark(t.Context(), api.SetMark{IfToken: h.now().Token, Mark: []byte(`{"rollout":"r7"}`)}); err != nil {
		t.Fatal(err)
	}
	before := h.await("written down", func(api.State) bool { return written(t, opts.State) == 3 })
	kill(t, cmd)
	for _, in := range append(before.Sides[api.Blue].Instances, before.Sides[api.Green].Instances...) {
		if !alive(in.PID) {
			t.Errorf("%s died with the agent", in.Name)
		}
	}

	h, _ = separate(t, opts)
	if status, body := get(t, h.public, "/who"); status != 200 || !strings.HasPrefix(body, "v1") {
		t.Errorf("first request after the restart: %d %q", status, body)
	}
	after := h.await("all ready", func(s api.State) bool { return s.Sides[api.Blue].Ready == 2 && s.Sides[api.Green].Ready == 1 })
	if after.Token != before.Token || string(after.Mark) != `{"rollout":"r7"}` ||
		!after.Split.Weights.Equal(before.Split.Weights) || !after.Split.InForceAt.Equal(before.Split.InForceAt) {
		t.Errorf("after the restart: %+v\nbefore: %+v", after, before)
	}
	for side, state := range after.Sides {
		for i, in := range state.Instances {
			if was := before.Sides[side].Instances[i]; in.PID != was.PID || in.Address != was.Address || in.Restarts != 0 {
				t.Errorf("%s is %+v, was %+v: a running instance must be taken over", in.Name, in, was)
			}
		}
	}
	h.retire2(t, after)
}

// retire2 shows that instances that were taken over end like any other.
func (h *host) retire2(t *testing.T, state api.State) {
	t.Helper()
	h.shift(1000, 0)
	h.retire(api.Green, time.Second)
	if pid := state.Sides[api.Green].Instances[0].PID; alive(pid) {
		t.Errorf("pid %d, taken over, still runs after it was retired", pid)
	}
}

// written is how many processes the state file names.
func written(t *testing.T, path string) int {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(raw), `"pid"`)
}

func TestRestartedAgentReplacesWhatDiedAndEndsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	opts := fixed(t)
	h, cmd := separate(t, opts)
	h.launch(api.Blue, "v1", spec("v1", 2))
	h.shift(1000, 0)
	before := h.await("written down", func(api.State) bool { return written(t, opts.State) == 2 })
	kill(t, cmd)
	dead, unknown := before.Sides[api.Blue].Instances[0], before.Sides[api.Blue].Instances[1]
	if err := syscall.Kill(dead.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	forget(t, opts.State, unknown.PID)

	h, _ = separate(t, opts)
	after := h.await("ready", func(s api.State) bool { return s.Sides[api.Blue].Ready == 2 })
	for _, in := range after.Sides[api.Blue].Instances {
		if in.PID == dead.PID || in.PID == unknown.PID {
			t.Errorf("%s is pid %d, which was dead or unknown", in.Name, in.PID)
		}
	}
	if alive(unknown.PID) {
		t.Errorf("pid %d, which the state file does not know, still runs", unknown.PID)
	}
}

// forget takes a process out of the state file, as if the agent had been
// killed before it wrote it down.
func forget(t *testing.T, path string, pid int) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	without := strings.Replace(string(raw), fmt.Sprintf(`"pid": %d`, pid), `"pid": 4194305`, 1)
	if without == string(raw) {
		t.Fatalf("pid %d is not in %s", pid, raw)
	}
	if err := os.WriteFile(path, []byte(without), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAgentThatIsToldToEndTakesItsInstancesAlongAndStartsThemAgain(t *testing.T) {
	t.Parallel()
	opts := fixed(t)
	first := start(t, opts)
	pid := first.launch(api.Blue, "v1", spec("v1", 1)).Sides[api.Blue].Instances[0].PID
	first.shift(1000, 0)
	held := hold(t, first.public)
	address := first.now().Sides[api.Blue].Instances[0].Address
	first.end()
	get(t, address, "/release")
	if line := held(); line != "released" {
		t.Errorf("request in flight at the end got %q", line)
	}
	if err := <-first.ended; err != nil {
		t.Fatal(err)
	}
	if alive(pid) {
		t.Errorf("pid %d outlives an agent that was told to end", pid)
	}
	if info, err := os.Stat(opts.State); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("state file has mode %v, %v, want 0600: it may hold secrets", info.Mode(), err)
	}
	second := start(t, opts)
	if status, body := get(t, second.public, "/who"); status != 200 || !strings.HasPrefix(body, "v1") {
		t.Errorf("after the restart: %d %q", status, body)
	}
}

func TestShiftIsInForceEvenIfItCannotBeWrittenDown(t *testing.T) {
	t.Parallel()
	opts := options(t)
	opts.State = filepath.Join(t.TempDir(), "state", "agent.json")
	opts.Logs = t.TempDir()
	h := start(t, opts)
	h.launch(api.Blue, "v1", spec("v1", 1))
	h.launch(api.Green, "v2", spec("v2", 1))
	h.shift(0, 1000)
	if err := os.RemoveAll(filepath.Dir(opts.State)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.client.SetMark(t.Context(), api.SetMark{IfToken: h.now().Token, Mark: []byte(`1`)}); !errors.Is(err, api.ErrFailed) {
		t.Errorf("mark without a disk: %v, want ErrFailed", err)
	}
	done := h.shift(1000, 0)
	if !strings.Contains(done.Unsaved, fs.ErrNotExist.Error()) && !strings.Contains(done.Unsaved, "no such file") {
		t.Errorf("shift did not tell that it is not saved: %+v", done)
	}
	if _, body := get(t, h.public, "/who"); !strings.HasPrefix(body, "v1") {
		t.Errorf("answered by %q, the way back must work without a disk", body)
	}
	h.end()
	if err := <-h.ended; err == nil {
		t.Error("the agent ended as if its state had been written")
	}
}
