package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gapless-deploy/gapless/internal/agent/supervisor"
)

// errNotHandedOver is when the agent that started this one is gone, or went on
// itself, before this one was in charge.
var errNotHandedOver = errors.New("the agent that started this one did not hand over")

// takeCharge tells the predecessor that all is in place and waits for its word.
// Before it nothing was changed, so that this process may end at any time.
func (a *agent) takeCharge(ctx context.Context, s *servers) error {
	from := a.opts.Inherited.predecessor
	stop := context.AfterFunc(ctx, func() { from.conn.Close() }) //nolint:errcheck // the reading tells
	defer stop()
	err := from.out.Encode(message{Word: wordReady})
	if err == nil {
		err = a.receive(s)
	}
	var said message
	if err == nil {
		err = from.in.Decode(&said)
	}
	if err == nil && said.Word != wordCharge {
		err = fmt.Errorf("it said %q in place of %q", said.Word, wordCharge)
	}
	if err == nil {
		s.ownAdmin = said.OwnAdmin
		a.book.Resume(said.Counts)
		err = from.out.Encode(message{Word: wordServing})
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNotHandedOver, err)
	}
	s.unlink(true)
	return nil
}

// receive takes the lock and both listeners.
func (a *agent) receive(s *servers) error {
	files, err := a.opts.Inherited.predecessor.take(3)
	if err != nil {
		return err
	}
	a.locked = files[0]
	var perr, aerr error
	s.public, perr = net.FileListener(files[1])
	s.admin, aerr = net.FileListener(files[2])
	if err := errors.Join(perr, aerr, files[1].Close(), files[2].Close()); err != nil {
		return err
	}
	a.opts.Public = s.public.Addr().String()
	return nil
}

// take receives so many descriptors.
func (p *predecessor) take(n int) ([]*os.File, error) {
	word, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(n*4))
	_, length, _, _, err := p.conn.ReadMsgUnix(word, rights)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:length])
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "handed over"))
		}
	}
	if len(files) != n {
		return nil, fmt.Errorf("%d descriptors came, must be %d", len(files), n)
	}
	return files, nil
}

// follow adds what the predecessor still answers to the counts, and ends what
// it leaves behind when it is gone.
func (a *agent) follow(ctx context.Context) {
	from := a.opts.Inherited.predecessor
	stop := context.AfterFunc(ctx, func() { from.conn.Close() }) //nolint:errcheck // the reading tells
	defer stop()
	for {
		var said message
		err := from.in.Decode(&said)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				a.opts.Log.Warn("the agent before this one ended without a word", "error", err)
			}
			break
		}
		a.book.Add(said.Gained)
	}
	close(from.gone)
	if err := from.conn.Close(); err != nil {
		a.opts.Log.Warn("connection to the agent before this one", "error", err)
	}
	ended, err := a.super.SweepBeside(ctx, a.processes)
	if err != nil {
		a.opts.Log.Error("instances that the agent before this one left behind may still run", "error", err)
	} else if ended > 0 {
		a.opts.Log.Warn("ended instances that an earlier agent left behind", "count", ended)
	}
}

// processes lists all that runs now.
func (a *agent) processes() []supervisor.Process {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []supervisor.Process
	for _, fleet := range a.running() {
		all = append(all, fleet.Processes()...)
	}
	return all
}

// awaitPredecessor waits for the one before to end: what it still answers goes
// on to the successor through this agent.
func (a *agent) awaitPredecessor(ctx context.Context) {
	if from := a.opts.Inherited.predecessor; from != nil {
		select {
		case <-from.gone:
		case <-ctx.Done():
		}
	}
}

// shared is an instance that the predecessor still has requests at.
type shared struct {
	supervisor.Target
	gone <-chan struct{}
}

// Drain implements supervisor.Target.
func (s shared) Drain(ctx context.Context) (cut int) {
	cut = s.Target.Drain(ctx)
	select {
	case <-s.gone:
	case <-ctx.Done():
	}
	return cut
}

// door makes the target of an instance, which has to outlast the predecessor's
// requests.
func (a *agent) door(own supervisor.Target) supervisor.Target {
	if from := a.opts.Inherited.predecessor; from != nil {
		return shared{own, from.gone}
	}
	return own
}
