package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
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
	log := slog.New(slog.NewTextHandler(env.out.errors(), nil))
	return agent.Run(ctx, agent.Options{
		Service: c.Service, Public: c.Listen, Admin: c.Admin, Token: token,
		State: filepath.Join(c.StateDir, "state.json"), Drain: c.Drain, TrustForwarded: c.Trust,
		HideEnv: []string{name}, Log: log,
		Serving: func(public, admin net.Addr) {
			log.Info("serving", "service", c.Service, "public", public.String(), "admin", admin.String())
		},
	})
}
