package database

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// Options are how the work is done. The zero value of each stands for its
// default.
type Options struct {
	// Service is the one that works here, Run the job and Actor the person: they
	// stand in gapless's own tables beside what is done.
	Service, Run, Actor string
	// LockTimeout is the longest that a statement of ours waits for a lock,
	// and so the longest that others queue behind it. Default 1s.
	LockTimeout time.Duration
	// Attempts is how often a statement that met a lock is tried. Default 10.
	Attempts int
	// StatementTimeout bounds a statement that should be short. Default 30s.
	StatementTimeout time.Duration
	// CheckTimeout bounds each of a change's own checks. Default 5m.
	CheckTimeout time.Duration
	// IndexTimeout bounds the building or dropping of one index, which wait
	// for other people's transactions. Default 6h.
	IndexTimeout time.Duration
	// BatchTarget is how long a batch of rows should take, and so how long a
	// writer of one of them may wait. Default 250ms.
	BatchTarget time.Duration
	// Workers is how many parts of the key range are backfilled at a time.
	// Default 1.
	Workers int
	// MaxRate is the most rows a second that a backfill writes, over all
	// workers; 0 is no bound. gapless.control may say otherwise.
	MaxRate float64
	// Health is what slows a backfill down or stops it.
	Health Health
	// Hold tells between batches whether the backfill must wait, besides, and
	// for what; empty to go on. It is asked by several goroutines. Default: not.
	Hold func(ctx context.Context) (reason string, err error)
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	fill(&o.LockTimeout, time.Second)
	fill(&o.Attempts, 10)
	fill(&o.StatementTimeout, 30*time.Second)
	fill(&o.CheckTimeout, 5*time.Minute)
	fill(&o.IndexTimeout, 6*time.Hour)
	fill(&o.BatchTarget, 250*time.Millisecond)
	fill(&o.Workers, 1)
	o.Health = o.Health.withDefaults()
	if o.Hold == nil {
		o.Hold = func(context.Context) (string, error) { return "", nil }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func fill[T int | time.Duration](value *T, otherwise T) {
	if *value <= 0 {
		*value = otherwise
	}
}

// DB carries out changes on one database. It is safe for concurrent use.
type DB struct {
	config  *pgx.ConnConfig
	options Options
}

// oldestMajor is the oldest PostgreSQL there is a promise for.
const oldestMajor = 14

// Open checks that the database at url can be reached directly and is new
// enough. The url is as libpq takes it; environment variables such as
// PGPASSWORD apply.
func Open(ctx context.Context, url string, options Options) (*DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		// pgx's message holds the url without its password.
		return nil, fmt.Errorf("database url: %w", err)
	}
	db := &DB{config: config, options: options.withDefaults()}
	s, err := db.connect(ctx, "open")
	if err != nil {
		return nil, err
	}
	return db, s.close(ctx)
}

// Close ends nothing at present: each verb closes its own connections.
func (db *DB) Close() error { return nil }

// session is a connection that one verb uses, with its settings in force.
type session struct {
	*pgx.Conn
	options Options
	// searchPath is the application's, under which a change file's own SQL is
	// read. Gapless's own runs under pg_catalog alone.
	searchPath string
}

const (
	maxApplication = 63
	connectTimeout = 10 * time.Second
)

// connect opens a session called gapless/<name>.
func (db *DB) connect(ctx context.Context, name string) (_ *session, err error) {
	config := db.config.Copy()
	application := "gapless/" + name
	for len(application) > maxApplication {
		_, size := utf8.DecodeLastRuneInString(application)
		application = application[:len(application)-size]
	}
	// A pooler would leave the name to another client: it is given once there is
	// none.
	delete(config.RuntimeParams, "application_name")
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, &UnreachableError{Err: err}
	}
	s := &session{Conn: conn, options: db.options}
	if err := s.settle(ctx, application); err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	return s, nil
}

// settle refuses what is not a direct connection, before anything is set that
// a pooler would leave to another client, and then makes the settings.
func (s *session) settle(ctx context.Context, application string) error {
	var pid uint32
	var version int
	row := s.QueryRow(ctx, `select pg_backend_pid(), current_setting('server_version_num')::int, current_setting('search_path')`,
		pgx.QueryExecModeSimpleProtocol)
	if err := row.Scan(&pid, &version, &s.searchPath); err != nil {
		return fmt.Errorf("ask the server who it is: %w", err)
	}
	if pid != s.PgConn().PID() {
		return &PooledError{}
	}
	if version/10000 < oldestMajor {
		return fmt.Errorf("PostgreSQL %d is older than %d, the oldest supported", version/10000, oldestMajor)
	}
	settings := []struct{ name, value string }{
		{"application_name", application},
		{"lock_timeout", milliseconds(s.options.LockTimeout)},
		{"statement_timeout", milliseconds(s.options.StatementTimeout)},
		{"idle_in_transaction_session_timeout", "60s"},
		{"idle_session_timeout", "0"},              // the lock's session only waits
		{"client_connection_check_interval", "5s"}, // what a killed runner began ends soon
		{"search_path", "pg_catalog, pg_temp"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"plan_cache_mode", "force_custom_plan"},
		{"jit", "off"}, // compiling takes longer than any batch
		{"client_min_messages", "warning"},
		{"gapless.service", s.options.Service}, {"gapless.run", s.options.Run}, {"gapless.actor", s.options.Actor},
		// Keys travel as text and must come back as the same values.
		{"DateStyle", "ISO, YMD"}, {"IntervalStyle", "postgres"}, {"TimeZone", "UTC"},
		{"extra_float_digits", "1"}, {"bytea_output", "hex"}, {"standard_conforming_strings", "on"},
	}
	batch := &pgx.Batch{}
	for _, setting := range settings {
		batch.Queue(`select set_config($1, $2, false)`, setting.name, setting.value)
	}
	if err := s.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("make the session's settings: %w", err)
	}
	return nil
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

// goodbye is how long a connection may take to close. It closes even when the
// verb was cancelled, so that no lock outlives it.
const goodbye = 2 * time.Second

func (s *session) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	return s.Close(ctx)
}

// with runs work on a session of its own.
func (db *DB) with(ctx context.Context, name string, work func(*session) error) (err error) {
	s, err := db.connect(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	return work(s)
}
