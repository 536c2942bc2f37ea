package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// supervisor runs the server as its child and ends it when descriptor 3, a pipe
// from the starting process, closes: by stop, or because that process ended,
// even by SIGKILL. $1 is the signal to end it with, $2 the directory to remove
// afterwards or nothing, the rest the server's command. A server that ends by
// itself leaves its directory, so that its log can be shown.
const supervisor = `
signal=$1 remove=$2; shift 2
"$@" 3<&- & server=$!
trap '
	kill -s "$signal" "$server"
	wait "$server"
	if [ -n "$remove" ]; then rm -rf -- "$remove"; fi
	exit
' HUP INT TERM
{ read -r _ <&3; kill $$; } & watch=$!
wait "$server"; status=$?
kill "$watch"
exit "$status"
`

// process is a PostgreSQL server of our own.
type process struct {
	binaries
	user

	dir    string
	remove bool // the directory goes when the server ends

	cmd   *exec.Cmd
	alive *os.File // its closing ends the server
	close sync.Once
	ended chan struct{} // closed when no process is left
	exit  error         // why, valid once ended is closed
}

func (p *process) dataDir() string { return filepath.Join(p.dir, "data") }
func (p *process) logFile() string { return filepath.Join(p.dir, "postgresql.log") }

// initialise creates the data directory.
func (p *process) initialise(ctx context.Context, settings string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, "initdb"), "--pgdata", p.dataDir(),
		"--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")
	p.prepare(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb in %s: %w\n%s", p.dir, err, bytes.TrimSpace(out))
	}
	file, err := os.OpenFile(filepath.Join(p.dataDir(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("server settings: %w", err)
	}
	_, err = file.WriteString("\n" + settings)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("server settings: %w", err)
	}
	return nil
}

// start starts the supervisor; the server may not accept connections yet.
func (p *process) start() (err error) {
	// Immediate when the data goes anyway, else fast: with a checkpoint.
	signal, remove := "QUIT", p.dir
	if !p.remove {
		signal, remove = "INT", ""
	}
	watched, alive, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("supervise PostgreSQL: %w", err)
	}
	log, err := os.OpenFile(p.logFile(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return errors.Join(fmt.Errorf("server log: %w", err), watched.Close(), alive.Close())
	}
	// The server has its own copies of these two.
	defer func() { err = errors.Join(err, watched.Close(), log.Close()) }()

	p.cmd = exec.Command("/bin/sh", "-c", supervisor, "pgtest", signal, remove, //nolint:noctx // it outlives the start
		filepath.Join(p.bin, "postgres"), "-D", p.dataDir(), "-k", p.dir)
	p.prepare(p.cmd)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.ExtraFiles = []*os.File{watched}
	// Ctrl-C at a terminal reaches the starting process first, and through it
	// the server, so that a test or the demo can still tidy up.
	p.cmd.SysProcAttr.Setpgid = true
	if err := p.cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("start PostgreSQL: %w", err), alive.Close())
	}
	p.alive, p.ended = alive, make(chan struct{})
	go func() {
		p.exit = p.cmd.Wait()
		close(p.ended)
	}()
	return nil
}

// prepare makes a command run as the server's user, with its libraries.
func (p *process) prepare(cmd *exec.Cmd) {
	cmd.Dir = p.dir // the caller's may be closed to that user
	cmd.Env = append(os.Environ(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.credential}
}

func (p *process) stop(ctx context.Context) error {
	var err error
	p.close.Do(func() { err = p.alive.Close() })
	select {
	case <-p.ended:
		return errors.Join(err, p.discard())
	case <-ctx.Done():
	}
	// The server's children see that the postmaster is gone and end.
	kill := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
	return errors.Join(fmt.Errorf("stop PostgreSQL in %s: %w", p.dir, ctx.Err()), err, kill, p.discard())
}

// discard removes the directory unless it is to be kept.
func (p *process) discard() error {
	if !p.remove {
		return nil
	}
	if err := os.RemoveAll(p.dir); err != nil {
		return fmt.Errorf("remove server directory: %w", err)
	}
	return nil
}

// logTail returns the end of the server's log, for an error message.
func (p *process) logTail() string {
	const most = 20
	content, err := os.ReadFile(p.logFile())
	if err != nil {
		return "\n" + err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return "\n" + strings.Join(lines[max(0, len(lines)-most):], "\n")
}
