package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"os/user"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/phase"
)

// backfillFlags say how fast rows are filled, over what the config says.
type backfillFlags struct {
	MaxRate *int `placeholder:"ROWS" help:"The most rows a second that the backfill writes, over what the config says; 0 is no bound."`
	Workers *int `placeholder:"N" help:"How many ranges of the key are filled at a time, over what the config says."`
}

func (f backfillFlags) check() error {
	const most = 32
	switch {
	case f.MaxRate != nil && *f.MaxRate < 0:
		return &inputError{fmt.Errorf("--max-rate: expected 0 or more, observed %d", *f.MaxRate), "0 is no bound"}
	case f.Workers != nil && (*f.Workers < 1 || *f.Workers > most):
		return &inputError{fmt.Errorf("--workers: expected 1 to %d, observed %d", most, *f.Workers), "1 is enough for most tables"}
	}
	return nil
}

// databaseOptions are what config and command line say of backfills.
func (env *environment) databaseOptions(b config.Backfill) database.Options {
	workers, rate := b.Workers, b.MaxRate
	if env.backfill.Workers != nil {
		workers = *env.backfill.Workers
	}
	if env.backfill.MaxRate != nil {
		rate = *env.backfill.MaxRate
	}
	const mebi, percent = 1 << 20, 100
	return database.Options{
		Workers: workers, MaxRate: float64(rate), BatchTarget: b.BatchTarget,
		Hold: func(context.Context) (string, error) { return env.lever.paused(), nil },
		Health: database.Health{
			MaxLag: watched(b.MaxLag), MaxWAL: watched(int64(b.MaxWAL) * mebi), MaxLockWaiters: watched(b.MaxLockWaiters),
			MaxProbe: watched(b.MaxProbe), MaxConnections: watched(float64(b.MaxConnections) / percent), IgnoreVacuum: b.IgnoreVacuum,
		},
	}
}

// watched is a bound as the database takes it: 0 in a config does not look.
func watched[T time.Duration | int64 | int | float64](most T) T {
	if most == 0 {
		return -1
	}
	return most
}

// lever pauses the backfill of this process: SIGUSR1 pulls it, SIGUSR2 lets it
// go. Unlike what gapless pause writes down, it ends with the process.
type lever struct{ why atomic.Pointer[string] }

// listen follows the signals until stop is called.
func (l *lever) listen() (stop func()) {
	const pulls = 4
	signals := make(chan os.Signal, pulls)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for s := range signals {
			if s == syscall.SIGUSR2 {
				l.why.Store(nil)
				continue
			}
			why := fmt.Sprintf("paused by SIGUSR1 since %s: resume with kill -USR2 %d", phase.SystemClock{}.Now().UTC().Format("2006-01-02 15:04 UTC"), os.Getpid())
			l.why.Store(&why)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-ended
	}
}

// paused says why the backfill waits; empty where it does not.
func (l *lever) paused() string {
	if why := l.why.Load(); why != nil {
		return *why
	}
	return ""
}

// whichFlags name the change whose backfill is meant.
type whichFlags struct {
	Change string `arg:"" optional:"" help:"The change: its file's name without the ending."`
	All    bool   `help:"Every change of this database."`
}

func (w whichFlags) id() (string, error) {
	switch {
	case w.All && w.Change != "":
		return "", &inputError{errors.New("a change and --all are given"), "give one of them"}
	case w.All:
		return database.EveryChange, nil
	case w.Change == "":
		return "", &inputError{errors.New("no change is named"), "name it, or give --all"}
	}
	return w.Change, nil
}

// with does something with the database of the config, and says what was done.
func (w whichFlags) with(ctx context.Context, env *environment, said string, work func(db *database.DB, id, by string) error) error {
	id, err := w.id()
	if err != nil {
		return err
	}
	cfg, err := config.Load(env.commands.Config)
	if err != nil {
		return err
	}
	if cfg.Schema == nil {
		return &inputError{errors.New("the config has no schema, and so no database"), "name the database in schema.url_env"}
	}
	env.out.hideURL(env.Getenv(cfg.Schema.URLEnv))
	db, err := env.openDatabase(ctx, cfg.Schema.URLEnv, env.databaseOptions(cfg.Schema.Backfill))
	if err != nil {
		return err
	}
	if err := errors.Join(work(db, id, env.person()), db.Close()); err != nil {
		return err
	}
	if id == database.EveryChange {
		id = "every change"
	}
	env.out.say(fmt.Sprintf("the backfill of %s %s\n", id, said))
	return nil
}

// person is who gives a command.
func (env *environment) person() string {
	if actor := env.Getenv("GITHUB_ACTOR"); actor != "" {
		return actor
	}
	u, err := user.Current()
	if err != nil {
		return "unknown"
	}
	return cmp.Or(u.Username, u.Uid)
}

type pauseCmd struct {
	whichFlags
	Reason string `placeholder:"TEXT" help:"Why; shown to who watches the backfill."`
}

// Run pauses a backfill.
func (c *pauseCmd) Run(ctx context.Context, env *environment) error {
	return c.with(ctx, env, "waits", func(db *database.DB, id, by string) error { return db.Pause(ctx, id, by, c.Reason) })
}

type resumeCmd struct {
	whichFlags
	MaxRate *int64 `placeholder:"ROWS" help:"The most rows a second from now on, over what its runner was told; 0 takes that back."`
}

// Run lets a backfill go on.
func (c *resumeCmd) Run(ctx context.Context, env *environment) error {
	if c.MaxRate != nil && *c.MaxRate < 0 {
		return &inputError{fmt.Errorf("--max-rate: expected 0 or more, observed %d", *c.MaxRate), "0 takes the bound back"}
	}
	return c.with(ctx, env, "goes on", func(db *database.DB, id, by string) error { return db.Resume(ctx, id, by, c.MaxRate) })
}
