package agent

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/gapless-deploy/gapless/internal/agent/tally"
)

// handoverEnv tells a successor which descriptor is the connection to its
// predecessor. It gets the others over it, with the charge, so that a program
// that never comes up holds neither the lock nor an address.
const handoverEnv = "GAPLESS_AGENT_HANDOVER"

// hidden names variables that are meant for the agent alone: an instance must
// not take the agent's sockets for its own, nor speak to the service manager.
func hidden() []string {
	return []string{handoverEnv, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}
}

// Inherited is what a process was started with besides its arguments.
type Inherited struct {
	public, admin net.Listener
	predecessor   *predecessor
}

// predecessor is the agent that hands over to this one.
type predecessor struct {
	conn *net.UnixConn
	out  *gob.Encoder
	in   *gob.Decoder
	gone chan struct{} // closed when it has ended
}

// The words of a hand-over, each a message of its own. The authority to change
// anything passes with the second: who has not read it may do nothing, who has
// said the third is the agent.
const (
	wordReady   = "ready"   // successor: I have everything in place
	wordCharge  = "charge"  // predecessor: take charge; with lock, listeners and counts
	wordServing = "serving" // successor: I took charge
	wordGained  = "gained"  // predecessor: what I answered since
)

type message struct {
	Word   string
	Counts tally.Carried
	// OwnAdmin goes with the charge: the admin address is the agent's, not
	// systemd's.
	OwnAdmin bool
	Gained   []tally.Gain
}

// Inherit takes what an agent that hands over, or systemd, passed to this
// process; the zero value when nobody did. To be called once, before anything
// is opened or started.
func Inherit() (Inherited, error) {
	if text := os.Getenv(handoverEnv); text != "" {
		fd, err := strconv.Atoi(text)
		if err != nil {
			return Inherited{}, fmt.Errorf("%s=%q: must be a descriptor", handoverEnv, text)
		}
		return inheritFrom(fd)
	}
	return activated()
}

// inheritFrom takes the connection to an agent that hands over.
func inheritFrom(fd int) (Inherited, error) {
	if err := os.Unsetenv(handoverEnv); err != nil {
		return Inherited{}, err
	}
	syscall.CloseOnExec(fd)
	file := os.NewFile(uintptr(fd), "predecessor")
	conn, err := net.FileConn(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return Inherited{}, fmt.Errorf("take over from another agent: %w", err)
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return Inherited{}, errors.Join(fmt.Errorf("take over from another agent: descriptor %d is no unix socket", fd), conn.Close())
	}
	return Inherited{predecessor: &predecessor{
		conn: socket, out: gob.NewEncoder(socket), in: gob.NewDecoder(socket), gone: make(chan struct{}),
	}}, nil
}

// activated takes the sockets that systemd listens on: one named admin, and one
// named public or the only other.
func activated() (Inherited, error) {
	var in Inherited
	named, err := activation.ListenersWithNames()
	if err != nil {
		return in, fmt.Errorf("sockets from systemd: %w", err)
	}
	for name, given := range named {
		for _, listener := range given {
			switch {
			case name == "admin" && in.admin == nil:
				in.admin = listener
			case name != "admin" && in.public == nil:
				in.public = listener
			default:
				return in, fmt.Errorf("sockets from systemd: a second socket %q at %s; at most one named admin and one other", name, listener.Addr())
			}
		}
	}
	return in, nil
}

// listen opens both addresses, as far as they were not inherited.
func (o Options) listen(ctx context.Context) (public, admin net.Listener, err error) {
	admin = o.Inherited.admin
	if admin == nil {
		admin, err = o.listenAdmin(ctx)
	} else {
		err = onlyLoopback(admin)
	}
	if err != nil {
		return nil, nil, err
	}
	if public = o.Inherited.public; public == nil {
		if public, err = o.listenPublic(); err != nil {
			return nil, nil, errors.Join(err, admin.Close())
		}
	}
	return public, admin, nil
}
