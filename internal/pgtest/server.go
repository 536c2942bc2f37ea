package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Options say what server is wanted. The zero value is a server for tests, in
// a temporary directory.
type Options struct {
	// Log receives one line that says which PostgreSQL was chosen, and what
	// was downloaded for it. Nil discards it.
	Log io.Writer
	// Dir is where the data, the log and the socket go; it is created if
	// absent, given to the server's user, and kept. Empty means a temporary
	// directory that is removed when the server ends. It must not hold data
	// of an earlier server.
	Dir string
	// Settings are added to postgresql.conf and win over the defaults.
	Settings map[string]string
	// Durable leaves fsync and the like as PostgreSQL has them. Otherwise
	// they are off, for speed.
	Durable bool
	// Major is the major version wanted; 0 takes any.
	Major int
}

// Server is a PostgreSQL server that accepts connections.
type Server struct {
	base    url.URL
	process *process // nil: somebody else's server
}

// Start returns a server that accepts connections, once it does. The server
// outlives ctx, which bounds the start only, and ends by Stop or with this
// process.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	found, err := choose(ctx, machine(o.Log), o.Major, o.Log)
	if err != nil {
		return nil, err
	}
	if found.url != "" {
		return external(ctx, found.url)
	}
	who, err := serverUser()
	if err != nil {
		return nil, err
	}
	return launch(ctx, o, &found.binaries, who)
}

func external(ctx context.Context, address string) (*Server, error) {
	base, err := url.Parse(address)
	if err != nil || (base.Scheme != "postgres" && base.Scheme != "postgresql") {
		// The value may hold a password: it is not repeated.
		return nil, fmt.Errorf("%s is not a URL such as postgres://user@host/postgres", EnvURL)
	}
	s := &Server{base: *base}
	if err := s.exec(ctx, "select 1"); err != nil {
		return nil, fmt.Errorf("server of %s: %w", EnvURL, err)
	}
	return s, nil
}

func launch(ctx context.Context, o Options, found *binaries, who user) (*Server, error) {
	dir, err := serverDir(o.Dir, who)
	if err != nil {
		return nil, err
	}
	p := &process{dir: dir, remove: o.Dir == "", binaries: *found, user: who}
	if err := p.initialise(ctx, config(o, found)); err != nil {
		return nil, errors.Join(err, p.discard())
	}
	if err := p.start(); err != nil {
		return nil, errors.Join(err, p.discard())
	}
	s := &Server{process: p, base: url.URL{
		Scheme: "postgres", User: url.User("postgres"), Path: "/postgres",
		RawQuery: url.Values{"host": {dir}, "sslmode": {"disable"}}.Encode(),
	}}
	if err := s.ready(ctx); err != nil {
		err = fmt.Errorf("start PostgreSQL in %s: %w%s", dir, err, p.logTail())
		return nil, errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// config returns the lines added to postgresql.conf.
func config(o Options, found *binaries) string {
	settings := map[string]string{
		"listen_addresses":        "",
		"unix_socket_permissions": "0777", // the directory is private
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"max_connections":         "200",
		"log_line_prefix":         "%m [%p] %q%a ",
	}
	if !o.Durable {
		settings["fsync"] = "off"
		settings["synchronous_commit"] = "off"
		settings["full_page_writes"] = "off"
	}
	if found.hasLibrary("pg_stat_statements") {
		settings["shared_preload_libraries"] = "pg_stat_statements"
	}
	maps.Copy(settings, o.Settings)
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		lines.WriteString(name + " = '" + strings.ReplaceAll(settings[name], "'", "''") + "'\n")
	}
	return lines.String()
}

// ready waits until the server accepts connections.
func (s *Server) ready(ctx context.Context) error {
	const limit, interval = time.Minute, 20 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		err := s.exec(ctx, "select 1")
		if err == nil {
			return nil
		}
		select {
		case <-s.process.ended:
			return fmt.Errorf("it ended: %w", errors.Join(s.process.exit, err))
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-ticker.C:
		}
	}
}

// URL returns the connection URL of a database of this server, for a role that
// may do everything (or the one of GAPLESS_TEST_DATABASE_URL).
func (s *Server) URL(database string) string {
	u := s.base
	u.Path = "/" + database
	return u.String()
}

// CreateDatabase creates an empty database.
func (s *Server) CreateDatabase(ctx context.Context, name string) error {
	if err := s.exec(ctx, "create database "+pgx.Identifier{name}.Sanitize()+" template template0"); err != nil {
		return fmt.Errorf("create database %q: %w", name, err)
	}
	return nil
}

// DropDatabase drops a database and ends the connections to it; an absent one
// is no error.
func (s *Server) DropDatabase(ctx context.Context, name string) error {
	if err := s.exec(ctx, "drop database if exists "+pgx.Identifier{name}.Sanitize()+" with (force)"); err != nil {
		return fmt.Errorf("drop database %q: %w", name, err)
	}
	return nil
}

// Stop ends the server and returns once no process of it is left; open
// connections are cut. It does nothing to the server of
// GAPLESS_TEST_DATABASE_URL and to one already stopped. When ctx ends first,
// the server is killed.
func (s *Server) Stop(ctx context.Context) error {
	if s.process == nil {
		return nil
	}
	return s.process.stop(ctx)
}

// Log returns the path of the server's log, empty when the server is not ours.
func (s *Server) Log() string {
	if s.process == nil {
		return ""
	}
	return s.process.logFile()
}

func (s *Server) exec(ctx context.Context, sql string) (err error) {
	conn, err := pgx.Connect(ctx, s.base.String())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	return nil
}

// serverDir returns the absolute directory of a server, owned by its user.
func serverDir(wanted string, who user) (string, error) {
	dir := wanted
	var err error
	if dir == "" {
		if dir, err = os.MkdirTemp("", "gapless-pg-"); err != nil {
			return "", fmt.Errorf("server directory: %w", err)
		}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", fmt.Errorf("server directory: %w", err)
	}
	if err := prepareDir(dir, who); err != nil {
		if wanted == "" {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		return "", fmt.Errorf("server directory: %w", err)
	}
	return dir, nil
}

func prepareDir(dir string, who user) error {
	// The kernel's limit for a socket's path is 107 bytes.
	if socket := filepath.Join(dir, ".s.PGSQL.5432"); len(socket) > 107 {
		return fmt.Errorf("%s: socket path of %d bytes, at most 107 are possible", dir, len(socket))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	return who.own(dir)
}
