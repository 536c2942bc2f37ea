// Package agent is the single-host platform: it keeps the instances of two
// revisions running side by side, divides public traffic between them, counts
// what each answers, and keeps the mark of the rollout beside the traffic.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent/api"
)

// Options are what an agent needs to know.
type Options struct {
	// Service names what runs here; a state file of another service is refused.
	Service string
	// Public is the address that takes the traffic of the service: host:port.
	Public string
	// Admin is where the admin API answers: a loopback host:port, also as
	// http://host:port, or unix:///path.
	Admin string
	// Token is what callers of the admin API must know. See api.ReadToken.
	Token string
	// State is the file that everything is kept in.
	State string
	// Logs takes the output of instances; empty for a directory beside State.
	Logs string
	// Drain is how long requests in flight go on when the agent itself ends or
	// replaces a revision that takes no traffic (default 30s).
	Drain time.Duration
	// TrustForwarded keeps the X-Forwarded-* headers of clients; only right
	// behind another proxy.
	TrustForwarded bool
	// Certificate, if it is named, has the public address speak TLS.
	Certificate CertificateFiles
	Limits      Limits
	// Inherited is what an earlier agent or systemd passed to this process.
	Inherited Inherited
	// Upgrade asks, with each value, to start Command and hand over to it.
	Upgrade <-chan os.Signal
	// Command is how this program was started, its name first.
	Command []string
	// Takeover is how long a successor has to come up (default 30s).
	Takeover time.Duration
	// HideEnv names variables of the agent that instances must not see.
	HideEnv []string
	// Listen opens listeners; nil for net.Listen.
	Listen func(network, address string) (net.Listener, error)
	// Serving, if not nil, is called once with both addresses when they answer.
	Serving func(public, admin net.Addr)
	Now     func() time.Time
	Log     *slog.Logger
}

const defaultDrain = 30 * time.Second

func (o Options) withDefaults() Options {
	if o.Logs == "" {
		o.Logs = filepath.Join(filepath.Dir(o.State), "logs")
	}
	if o.Drain == 0 {
		o.Drain = defaultDrain
	}
	if o.Takeover == 0 {
		o.Takeover = defaultTakeover
	}
	o.Limits = o.Limits.withDefaults()
	if o.Listen == nil {
		o.Listen = net.Listen
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o Options) check() error {
	var faults []error
	if o.Service == "" {
		faults = append(faults, errors.New("service: must be named"))
	}
	if o.State == "" {
		faults = append(faults, errors.New("state: must name a file"))
	}
	if _, port, err := net.SplitHostPort(o.Public); err != nil || port == "" {
		faults = append(faults, fmt.Errorf("public address %q: must be HOST:PORT or :PORT", o.Public))
	}
	faults = append(faults, api.CheckToken(o.Token), o.Certificate.check(), o.Limits.check())
	return errors.Join(faults...)
}

// listenPublic opens the address for public traffic.
func (o Options) listenPublic() (net.Listener, error) {
	listener, err := o.Listen("tcp", o.Public)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("public address %s: another program listens there", o.Public)
	}
	if err != nil {
		return nil, fmt.Errorf("public address %s: %w", o.Public, err)
	}
	return listener, nil
}

// listenAdmin opens the address of the admin API. A TCP address must be
// loopback, by name and by what was opened: whoever reaches it and knows the
// token commands this host.
func (o Options) listenAdmin(ctx context.Context) (net.Listener, error) {
	network, target, err := api.Endpoint(o.Admin)
	if err != nil {
		return nil, err
	}
	switch network {
	case "unix":
		return o.listenSocket(ctx, target)
	case "tls":
		return nil, fmt.Errorf("admin address %s: the agent speaks plain HTTP there, to this host alone; have a proxy on it speak TLS", o.Admin)
	}
	if err := loopback(ctx, target); err != nil {
		return nil, fmt.Errorf("admin address %s: %w", o.Admin, err)
	}
	listener, err := o.Listen("tcp", target)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("admin address %s: another program listens there", o.Admin)
	}
	if err != nil {
		return nil, fmt.Errorf("admin address %s: %w", o.Admin, err)
	}
	if err := onlyLoopback(listener); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// onlyLoopback refuses a listener that is reachable from outside.
func onlyLoopback(admin net.Listener) error {
	if tcp, ok := admin.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		return fmt.Errorf("admin address: %s is not loopback", admin.Addr())
	}
	return nil
}

// loopback refuses a host any of whose addresses is reachable from outside.
func loopback(ctx context.Context, target string) error {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return err
	}
	if host == "" {
		return errors.New("names no host and would be open to the network; must be loopback, such as 127.0.0.1")
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return err
	}
	for _, ip := range found {
		if !ip.IsLoopback() {
			return fmt.Errorf("%s is open to the network; must be loopback, such as 127.0.0.1", ip.Unmap())
		}
	}
	return nil
}

// listenSocket opens a unix socket that only the owner may use, in place of
// one that an ended agent left behind.
func (o Options) listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path); err == nil {
		err := fmt.Errorf("admin socket %s: another agent answers there", path)
		return nil, errors.Join(err, conn.Close())
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("admin socket %s: %w", path, err)
		}
	}
	listener, err := o.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin socket %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin socket %s: %w", path, err), listener.Close())
	}
	return listener, nil
}
