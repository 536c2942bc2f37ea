package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/cmd/demo/load"
	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/pgtest"
)

const (
	oldRevision = "1.0"
	newRevision = "1.1"
	// service and instances are what testdata/demo/gapless.yaml gives.
	service   = "address-book"
	instances = 3
)

// stage is what the release is played on.
type stage struct {
	root     string // of the repository
	dir      string // of the user who releases: gapless.yaml, db, releases
	gapless  string // the program
	database string // its URL
	public   string // host:port
	adminAt  string // host:port
	token    string

	conn     *pgx.Conn
	agent    *program
	admin    *api.Client
	teardown []func(context.Context) error
}

// setStage brings everything up but the first revision. Close ends it, also
// after an error.
func setStage(ctx context.Context, o options, log io.Writer) (*stage, error) {
	s := &stage{token: rand.Text()}
	var err error
	if s.root, err = repository(); err != nil {
		return s, err
	}
	if s.dir, err = os.MkdirTemp("", "gapless-demo-"); err != nil {
		return s, fmt.Errorf("stage: %w", err)
	}
	s.later(func(context.Context) error { return os.RemoveAll(s.dir) })
	for _, do := range []func(context.Context) error{
		func(ctx context.Context) error { return s.build(ctx, o.Gapless) },
		s.choosePorts,
		func(ctx context.Context) error { return s.startDatabase(ctx, o.Rows, log) },
		func(ctx context.Context) error { return s.bringAgent(ctx, o.Fault) },
	} {
		if err := do(ctx); err != nil {
			return s, err
		}
	}
	return s, nil
}

// later puts off what ends the stage; the last comes first.
func (s *stage) later(f func(context.Context) error) { s.teardown = append(s.teardown, f) }

// close takes everything down again.
func (s *stage) close(ctx context.Context) error {
	const limit = 30 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	var errs error
	for _, end := range slices.Backward(s.teardown) {
		errs = errors.Join(errs, end(ctx))
	}
	s.teardown = nil
	return errs
}

// repository finds the directory of go.mod, from the working directory up.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "testdata", "demo", "gapless.yaml")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("run the demo inside gapless's repository: testdata/demo is not there")
		}
		dir = parent
	}
}

// build makes both revisions of the service, and the program unless one is
// given.
func (s *stage) build(ctx context.Context, given string) error {
	s.gapless = cmp.Or(given, filepath.Join(s.dir, "bin", "gapless"))
	builds := map[string]string{
		"./testdata/apps/addressbook/v1": s.revision(oldRevision),
		"./testdata/apps/addressbook/v2": s.revision(newRevision),
	}
	if given == "" {
		builds["./cmd/gapless"] = s.gapless
	}
	for from, to := range builds {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", to, from)
		cmd.Dir = s.root
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", from, err, out)
		}
	}
	return nil
}

func (s *stage) revision(id string) string { return filepath.Join(s.dir, "releases", id, service) }

// choosePorts takes two that are free, so that nothing on the machine is in
// the way.
func (s *stage) choosePorts(ctx context.Context) error {
	var config net.ListenConfig
	public, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("find a free port: %w", err)
	}
	admin, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(fmt.Errorf("find a free port: %w", err), public.Close())
	}
	s.public, s.adminAt = public.Addr().String(), admin.Addr().String()
	return errors.Join(public.Close(), admin.Close())
}

func (s *stage) startDatabase(ctx context.Context, rows int, log io.Writer) error {
	server, err := pgtest.Start(ctx, pgtest.Options{Log: log, Durable: true,
		Settings: map[string]string{"shared_buffers": "256MB", "max_wal_size": "4GB"}})
	if err != nil {
		return err
	}
	s.later(server.Stop)
	name := "gapless_demo_" + strings.ToLower(rand.Text()[:8])
	if err := server.CreateDatabase(ctx, name); err != nil {
		return err
	}
	s.later(func(ctx context.Context) error { return server.DropDatabase(ctx, name) })
	s.database = server.URL(name)
	if s.conn, err = pgx.Connect(ctx, s.database); err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	s.later(s.conn.Close)
	if err := s.watchStatements(ctx); err != nil {
		return err
	}
	return load.Seed(ctx, s.conn, rows)
}

// watchStatements has the server count statements, where it can: contract asks
// it who still reads the old form.
func (s *stage) watchStatements(ctx context.Context) error {
	var loaded bool
	err := s.conn.QueryRow(ctx, "select current_setting('shared_preload_libraries') like '%pg_stat_statements%'").Scan(&loaded)
	if err == nil && loaded {
		_, err = s.conn.Exec(ctx, "create extension if not exists pg_stat_statements")
	}
	if err != nil {
		return fmt.Errorf("watch statements: %w", err)
	}
	return nil
}

// environment is what gapless and the agent run in; the service inherits it.
func (s *stage) environment(more ...string) []string {
	return append(os.Environ(), append(more, "DATABASE_URL="+s.database, "GAPLESS_AGENT_TOKEN="+s.token)...)
}
