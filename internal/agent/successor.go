package agent

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// firstExtra is the descriptor that os/exec gives the first of ExtraFiles.
const firstExtra = 3

// successor is the process that this agent hands over to.
type successor struct {
	cmd   *exec.Cmd
	conn  *net.UnixConn
	out   *gob.Encoder
	in    *gob.Decoder
	ended chan struct{} // closed when the process was waited for
}

// succeed starts the program anew.
//
// Libraries for this (tableflip, overseer) hand over sockets. What has to pass
// here is the authority to change the state, which exactly one of the two must
// have at any time, whenever either is killed: it takes an answer to the
// successor's "ready", which they do not have.
func (a *agent) succeed() (*successor, error) {
	program, err := exec.LookPath(a.opts.Command[0])
	if err != nil {
		return nil, err
	}
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: program, Args: a.opts.Command, Env: append(os.Environ(), fmt.Sprintf("%s=%d", handoverEnv, firstExtra)),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, ExtraFiles: []*os.File{theirs},
	}
	if err := errors.Join(cmd.Start(), theirs.Close()); err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	s := &successor{cmd: cmd, conn: ours, out: gob.NewEncoder(ours), in: gob.NewDecoder(ours), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		if err := cmd.Wait(); err != nil {
			return // the state of the process tells the same
		}
	}()
	return s, nil
}

// pair makes two connected sockets, which no process inherits by accident.
func pair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("connection to a successor: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "predecessor")
	file := os.NewFile(uintptr(fds[0]), "successor")
	conn, err := net.FileConn(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("connection to a successor: %w", err), theirs.Close())
	}
	ours, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, nil, errors.Join(errors.New("connection to a successor: is no unix socket"), conn.Close(), theirs.Close())
	}
	return ours, theirs, nil
}

// give sends descriptors of files and listeners over the connection.
func (s *successor) give(held ...syscall.Conn) (err error) {
	fds := make([]int, 0, len(held))
	defer func() {
		for _, fd := range fds {
			err = errors.Join(err, unix.Close(fd))
		}
	}()
	for _, one := range held {
		fd, err := duplicate(one)
		if err != nil {
			return err
		}
		fds = append(fds, fd)
	}
	_, _, err = s.conn.WriteMsgUnix([]byte{byte(len(fds))}, unix.UnixRights(fds...), nil)
	return err
}

// duplicate copies a descriptor. The File method of listeners would not do: to
// use such a file turns the socket, which both processes share, to blocking mode.
func duplicate(held syscall.Conn) (fd int, err error) {
	raw, err := held.SyscallConn()
	if err != nil {
		return 0, err
	}
	var dup error
	err = raw.Control(func(own uintptr) { fd, dup = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(err, dup)
}

// expect waits for the successor to say word.
func (s *successor) expect(word string) error {
	var said message
	switch err := s.in.Decode(&said); {
	case errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("it ended before it was %s", word)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("it was not %s in time", word)
	case err != nil:
		return err
	case said.Word != word:
		return fmt.Errorf("it said %q in place of %q", said.Word, word)
	}
	return nil
}

// install leads the successor into office within the deadline. When it fails,
// the successor has ended and never had the authority to change anything.
func (s *successor) install(ctx context.Context, within time.Duration, charge func() error) error {
	err := s.conn.SetDeadline(time.Now().Add(within))
	stop := context.AfterFunc(ctx, func() { s.cmd.Process.Kill() }) //nolint:errcheck // it has ended then
	defer stop()
	if err == nil {
		err = s.expect(wordReady)
	}
	if err == nil {
		err = charge()
	}
	if err == nil {
		err = s.expect(wordServing)
	}
	if err == nil {
		return s.conn.SetDeadline(time.Time{})
	}
	return s.abandon(err)
}

// abandon ends the successor, unless it took charge at the last moment.
func (s *successor) abandon(cause error) error {
	killed := s.cmd.Process.Kill()
	if errors.Is(killed, os.ErrProcessDone) {
		killed = nil
	}
	<-s.ended
	if s.conn.SetDeadline(time.Now().Add(time.Second)) == nil && s.expect(wordServing) == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("the new process %d did not take over (%s): %w", s.cmd.Process.Pid, s.cmd.ProcessState, cause), killed, s.conn.Close())
}
