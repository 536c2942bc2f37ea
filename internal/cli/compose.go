package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/user"
	"strconv"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/ledger"
	meter "github.com/gapless-deploy/gapless/internal/meter/agent"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/platform/local"
	"github.com/gapless-deploy/gapless/internal/probe"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// release is a config with the adapters that it asks for.
type release struct {
	cfg    *config.Config
	work   phase.Work
	runner *phase.Runner
}

// compose reads the files and wires the adapters.
func (env *environment) compose() (*release, error) {
	cfg, err := config.Load(env.commands.Config)
	if err != nil {
		return nil, err
	}
	env.service = cfg.Service
	r := &release{cfg: cfg}
	r.work.Config = cfg.Source()
	if r.work.ChangeFiles, err = cfg.ReadChanges(); err != nil {
		return nil, err
	}
	if env.job != nil {
		r.work.Commit = env.job.SHA
	}
	platform, counts, err := env.platform(cfg)
	if err != nil {
		return nil, err
	}
	r.runner = &phase.Runner{
		Platform: platform, Meter: counts,
		Clock:   phase.SystemClock{},
		Tell:    env.out.event,
		Hide:    env.out.mask.apply,
		Journal: env.journal(cfg.Service),
	}
	if r.runner.Store, err = env.store(); err != nil {
		return nil, err
	}
	if r.runner.Seal, err = env.seal(); err != nil {
		return nil, err
	}
	if r.runner.Gates, err = env.gates(); err != nil {
		return nil, err
	}
	if err := env.identify(r.runner); err != nil {
		return nil, err
	}
	if cfg.Probe != nil {
		r.runner.Probe = outside{*cfg.Probe}
	}
	if cfg.Schema != nil {
		env.out.hideURL(env.Getenv(cfg.Schema.URLEnv)) // also where no phase opens it: a candidate may name it
		r.runner.OpenDatabase = env.database(cfg, r.runner.Writer)
	}
	return r, nil
}

// platform gives the place that the service runs in, and what counts its
// requests.
func (env *environment) platform(cfg *config.Config) (phase.Platform, phase.Meter, error) {
	if cfg.Target.Kubernetes != nil {
		return env.kubernetes(cfg)
	}
	client, err := env.agentClient(cfg.Target.Local)
	if err != nil {
		return nil, nil, err
	}
	return local.New(client, local.Options{
		Service: cfg.Service, Drain: cfg.Drain, SlowOver: cfg.Judge.Slow.Over, Sessions: cfg.Sessions,
	}), meter.New(client), nil
}

func (env *environment) agentClient(target *config.Local) (*api.Client, error) {
	token := env.Getenv(target.TokenEnv)
	if token == "" {
		return nil, &inputError{
			err:  fmt.Errorf("%s is not set: it holds the token of agent %s", target.TokenEnv, target.Agent),
			hint: "set it to the token that the agent was started with",
		}
	}
	env.out.hide(token)
	return api.NewClientTrusting(target.Agent, token, []byte(env.Getenv(target.CAEnv)))
}

// database gives the way to the database of the schema changes. It is opened
// when a phase first asks, so that a phase which need not ask works without it,
// and one which must can say what is served where it does not answer.
func (env *environment) database(cfg *config.Config, writer rollout.Writer) func(context.Context) (phase.Database, error) {
	return func(ctx context.Context) (phase.Database, error) {
		options := env.databaseOptions(cfg.Schema.Backfill)
		options.Service, options.Run, options.Actor = cfg.Service, writer.Run, writer.Actor
		db, err := env.openDatabase(ctx, cfg.Schema.URLEnv, options)
		if err != nil {
			return nil, err
		}
		return db, nil
	}
}

func (env *environment) openDatabase(ctx context.Context, name string, options database.Options) (*database.DB, error) {
	url := env.Getenv(name)
	if url == "" {
		return nil, &inputError{
			err:  fmt.Errorf("%s is not set: it holds the URL of the database with the schema changes", name),
			hint: "set it in the environment of this command; it never stands in the config",
		}
	}
	db, err := database.Open(ctx, url, options)
	if err != nil {
		return nil, fmt.Errorf("database of %s: %w", name, err)
	}
	return db, nil
}

// identify says in whose name the phase runs. GitHub's variables are used
// where a workflow sets them.
func (env *environment) identify(r *phase.Runner) error {
	nonce := make([]byte, 4)
	if _, err := rand.Read(nonce); err != nil {
		return fmt.Errorf("make a name for this run: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unnamed-host"
	}
	r.Holder = fmt.Sprintf("%s/%d-%s", host, os.Getpid(), hex.EncodeToString(nonce))
	r.Writer = rollout.Writer{Run: r.Holder, Attempt: 1, Actor: env.Getenv("GITHUB_ACTOR")}
	if run := env.Getenv("GITHUB_RUN_ID"); run != "" { // a plain step of a workflow
		r.Writer.Run = run
	}
	if j := env.job; j != nil {
		r.Holder = fmt.Sprintf("run %d/%s/%s", j.RunID, j.Job, hex.EncodeToString(nonce))
		r.Writer = rollout.Writer{Run: strconv.FormatInt(j.RunID, 10), Attempt: max(j.Attempt, 1), Actor: cmp.Or(j.TriggeringActor, j.Actor)}
	}
	if r.Writer.Actor == "" {
		if u, err := user.Current(); err == nil {
			r.Writer.Actor = u.Username
		}
	}
	return nil
}

// outside is the config's probe.
type outside struct{ cfg config.Probe }

// Start implements phase.Probe.
func (o outside) Start(ctx context.Context) func() rollout.Probed {
	book := ledger.New(ledger.Options{})
	p, err := probe.Start(ctx, probe.Options{URL: o.cfg.URL, Every: o.cfg.Every}, book)
	if err != nil { // the config was checked, so nothing is lost but the probe
		return func() rollout.Probed { return rollout.Probed{} }
	}
	return func() rollout.Probed {
		p.Stop()
		sum := book.Summary()
		return rollout.Probed{Requests: sum.Requests, Dropped: sum.Dropped}
	}
}
