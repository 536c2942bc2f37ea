package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gapless-deploy/gapless/internal/agent"
	"github.com/gapless-deploy/gapless/internal/config"
)

type agentCmd struct {
	Service  string        `required:"" help:"Name of the service that runs here."`
	Listen   string        `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Address for public traffic (default 127.0.0.1:8080)."`
	Admin    string        `default:"127.0.0.1:7070" placeholder:"ADDRESS" help:"Address of the admin API: a loopback HOST:PORT or unix:///PATH (default 127.0.0.1:7070)."`
	TokenEnv string        `default:"GAPLESS_AGENT_TOKEN" placeholder:"NAME" help:"Environment variable with the token of the admin API (default GAPLESS_AGENT_TOKEN)."`
	StateDir string        `default:".gapless-agent" placeholder:"DIR" help:"Directory for the agent's state and the instances' output (default .gapless-agent)."`
	Drain    time.Duration `default:"30s" help:"How long requests in flight go on when the agent itself ends (default 30s)."`
	Trust    bool          `name:"trust-forwarded" help:"Keep the X-Forwarded-* headers of clients; only behind another proxy."`
	TLSCert  string        `name:"tls-cert" placeholder:"FILE" help:"Certificate chain in PEM: the public address speaks TLS. Read again when it changes."`
	TLSKey   string        `name:"tls-key" placeholder:"FILE" help:"Private key of --tls-cert in PEM."`

	MaxHeader     int           `default:"65536" placeholder:"BYTES" help:"Largest head of a request (default 65536)."`
	HeaderTimeout time.Duration `default:"10s" help:"How long a client may take to send the head of a request (default 10s)."`
	Idle          time.Duration `default:"75s" help:"How long a connection stays open without a request (default 75s)."`
	SlowClient    time.Duration `default:"1m" help:"How long a client may make no progress in sending a body or taking an answer (default 1m)."`
}

// Run keeps the agent running until it is told to end.
func (c *agentCmd) Run(ctx context.Context, env *environment) error {
	name := c.TokenEnv
	if name == "" {
		name = config.DefaultTokenEnv
	}
	token := env.Getenv(name)
	if token == "" {
		return &inputError{
			err:  fmt.Errorf("%s is not set: it holds the token that callers of the admin API must know", name),
			hint: "set it to at least 16 random characters, for example from: openssl rand -hex 32",
		}
	}
	env.out.hide(token)
	inherited, err := agent.Inherit()
	if err != nil {
		return err
	}
	upgrade := make(chan os.Signal, 1)
	signal.Notify(upgrade, syscall.SIGHUP)
	defer signal.Stop(upgrade)
	log := slog.New(slog.NewTextHandler(env.out.errors(), nil))
	return agent.Run(ctx, agent.Options{
		Service: c.Service, Public: c.Listen, Admin: c.Admin, Token: token,
		State: filepath.Join(c.StateDir, "state.json"), Drain: c.Drain, TrustForwarded: c.Trust,
		Certificate: agent.CertificateFiles{Cert: c.TLSCert, Key: c.TLSKey},
		Limits: agent.Limits{
			Header: c.MaxHeader, HeaderTimeout: c.HeaderTimeout, Idle: c.Idle, SlowClient: c.SlowClient,
		},
		Inherited: inherited, Upgrade: upgrade, Command: os.Args,
		HideEnv: []string{name}, Log: log,
		Serving: func(public, admin net.Addr) {
			log.Info("serving", "service", c.Service, "public", public.String(), "admin", admin.String())
		},
	})
}
