package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// watchEvery is how often a process that is not our child is looked at.
const watchEvery = 100 * time.Millisecond

// process is a running instance, our child or one taken over.
type process struct {
	Process
	adopted bool
	ended   chan struct{} // closed when the process has ended
	how     func() string // how it ended; valid once ended is closed
}

func (p *process) address() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port))
}

// start runs the command on a free port. Output goes straight to a file, not
// through the agent, so that the process does not depend on it.
func (s *Supervisor) start(name string, spec api.Spec) (*process, error) {
	program, err := FindProgram(spec)
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	output, err := os.OpenFile(s.logPath(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", name, err)
	}
	args := make([]string, len(spec.Command))
	for i, part := range spec.Command {
		args[i] = strings.ReplaceAll(part, "{port}", strconv.Itoa(port))
	}
	cmd := &exec.Cmd{
		Path: program, Args: args, Dir: spec.Dir, Env: s.environment(spec, port),
		Stdout: output, Stderr: output,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	err = errors.Join(cmd.Start(), output.Close())
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	return s.watchChild(name, port, cmd)
}

func (s *Supervisor) watchChild(name string, port int, cmd *exec.Cmd) (*process, error) {
	ended := make(chan struct{})
	p := &process{Process: Process{Name: name, PID: cmd.Process.Pid, Port: port, Began: s.opts.Now()}, ended: ended}
	if stat, err := statOf(p.PID); err == nil {
		p.Start = stat.Starttime
	} // else it has ended already, which the wait tells
	var how string
	p.how = func() string { return how }
	go func() {
		defer close(ended)
		err := cmd.Wait()
		if how = cmd.ProcessState.String(); err != nil && cmd.ProcessState == nil {
			how = err.Error()
		}
		s.endGroup(p.PID)
	}()
	return p, nil
}

// adopt takes over a process of an earlier agent, if it still runs and is
// proved ours by its start time and its environment.
func (s *Supervisor) adopt(known Process) (*process, bool) {
	if !s.isOurs(known) {
		return nil, false
	}
	ended := make(chan struct{})
	p := &process{Process: known, adopted: true, ended: ended, how: func() string { return "ended (it was started by an earlier agent, so its exit status is not known)" }}
	go func() {
		defer close(ended)
		ticker := time.NewTicker(watchEvery)
		defer ticker.Stop()
		for range ticker.C {
			if !runs(known) {
				s.endGroup(known.PID)
				return
			}
		}
	}()
	return p, true
}

func (s *Supervisor) isOurs(known Process) bool {
	return runs(known) && s.ownedBy(known.PID)
}

// runs tells whether that very process still runs: a pid alone may be another's by now.
func runs(known Process) bool {
	stat, err := statOf(known.PID)
	return err == nil && stat.Starttime == known.Start && stat.State != "Z" && stat.State != "X"
}

func (s *Supervisor) ownedBy(pid int) bool {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false // gone, or another user's
	}
	for pair := range bytes.SplitSeq(environ, []byte{0}) {
		if string(pair) == ownerEnv+"="+s.opts.Owner {
			return true
		}
	}
	return false
}

// terminate asks the process and its children to end, and makes them after grace.
func (s *Supervisor) terminate(p *process, grace time.Duration) error {
	select {
	case <-p.ended:
		return nil // its number may be another's by now
	default:
	}
	if err := signal(p.PID, syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.ended:
		return nil
	case <-timer.C:
	}
	s.opts.Log.Warn("instance did not end in time and is killed", "instance", p.Name, "pid", p.PID, "grace", grace)
	if err := signal(p.PID, syscall.SIGKILL); err != nil {
		return err
	}
	<-p.ended
	return nil
}

// endGroup kills what an ended process left behind in its group.
func (s *Supervisor) endGroup(pid int) {
	if err := signal(pid, syscall.SIGKILL); err != nil {
		s.opts.Log.Warn("children of an ended instance may still run", "pid", pid, "error", err)
	}
}

// signal reaches the whole process group; one that is gone is no error.
func signal(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(-pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal process group %d: %w", pid, err)
	}
	return nil
}

func statOf(pid int) (procfs.ProcStat, error) {
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return procfs.ProcStat{}, err
	}
	return proc.Stat()
}

// freePort asks the kernel for a port. Another program may take it before the
// instance does; then the instance ends and is started again on another port.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if err := listener.Close(); err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	if !ok {
		return 0, fmt.Errorf("find a free port: unexpected address %s", listener.Addr())
	}
	return address.Port, nil
}
