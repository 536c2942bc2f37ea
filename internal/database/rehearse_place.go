package database

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	program "os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/grammar"
)

const (
	rehearsalPrefix = "gapless_rehearsal_"
	// rehearsalStamp is in a copy's name, so that one that a killed run has left
	// can be told from one in use.
	rehearsalStamp = "20060102t150405"
	rehearsalStale = 24 * time.Hour
	elsewhere      = "name a scratch database that has the schema and no rows with --rehearse-on ENV"
)

func unrehearsed(hint, format string, args ...any) error {
	return &UnrehearsedError{Err: fmt.Errorf(format, args...), What: hint}
}

// clone makes an empty copy of the schema in a new database of the same server,
// and gives what drops it; where it fails it has dropped it.
func (db *DB) clone(ctx context.Context) (_ *pgx.ConnConfig, drop func() error, err error) {
	s, err := db.connect(ctx, "rehearse")
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err = errors.Join(err, s.close(ctx)); err != nil && drop != nil {
			err = errors.Join(err, drop())
		}
	}()
	dump, err := db.dump(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	if err := db.sweepRehearsals(ctx, s); err != nil {
		return nil, nil, err
	}
	random := make([]byte, 4)
	if _, err := rand.Read(random); err != nil {
		return nil, nil, fmt.Errorf("name the copy: %w", err)
	}
	name := rehearsalPrefix + db.options.Now().UTC().Format(rehearsalStamp) + "_" + hex.EncodeToString(random)
	drop = func() error { return db.dropRehearsal(context.WithoutCancel(ctx), name) }
	if _, err := s.Exec(ctx, "create database "+ident(name)+" template template0"); err != nil {
		return nil, drop, unrehearsed("grant the role CREATEDB, or "+elsewhere, "make an empty database beside this one: %w", err)
	}
	config := db.config.Copy()
	config.Database = name
	if err := fillSchema(ctx, config, dump); err != nil {
		return nil, drop, err
	}
	config.RuntimeParams["search_path"] = s.searchPath
	return config, drop, nil
}

// dropRehearsal drops a copy with the connections that are still open to it.
func (db *DB) dropRehearsal(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, db.options.StatementTimeout)
	defer cancel()
	return db.with(ctx, "rehearse", func(s *session) error {
		if _, err := s.Exec(ctx, "drop database if exists "+ident(name)+" with (force)"); err != nil {
			return fmt.Errorf("drop the copy %s, which a later rehearsal does after a day: %w", name, err)
		}
		return nil
	})
}

// sweepRehearsals drops what killed rehearsals have left.
func (db *DB) sweepRehearsals(ctx context.Context, s *session) error {
	rows, err := s.Query(ctx, `select datname from pg_database where starts_with(datname, $1) and pg_has_role(datdba, 'USAGE')`, rehearsalPrefix)
	if err != nil {
		return fmt.Errorf("look for copies of rehearsals: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for copies of rehearsals: %w", err)
	}
	for _, name := range names {
		stamp, _, _ := strings.Cut(strings.TrimPrefix(name, rehearsalPrefix), "_")
		made, err := time.Parse(rehearsalStamp, stamp)
		if err != nil || db.options.Now().Sub(made) < rehearsalStale {
			continue
		}
		if err := db.dropRehearsal(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// dump gives the schema as SQL, by pg_dump, which must be as new as the server.
func (db *DB) dump(ctx context.Context, s *session) (string, error) {
	const install = "install the server's version of pg_dump (postgresql-client), or " + elsewhere
	path, err := program.LookPath("pg_dump")
	if err != nil {
		return "", unrehearsed(install, "pg_dump is not on PATH")
	}
	out, err := program.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", unrehearsed(install, "ask pg_dump for its version: %w", err)
	}
	version := regexp.MustCompile(`\) (\d+)`).FindStringSubmatch(string(out))
	if version == nil {
		return "", unrehearsed(install, "pg_dump tells no version: %q", out)
	}
	major, err := serverMajor(ctx, s)
	if err != nil {
		return "", err
	}
	if has, err := strconv.Atoi(version[1]); err != nil || has < major {
		return "", unrehearsed(install, "pg_dump on PATH is of version %s, the server is of version %d", version[1], major)
	}
	cmd := program.CommandContext(ctx, path, "--schema-only", "--no-owner", "--no-privileges", "--no-tablespaces", "--no-publications",
		"--no-subscriptions", "--no-security-labels", "--lock-wait-timeout="+strconv.FormatInt(db.options.LockTimeout.Milliseconds(), 10),
		"--dbname="+withoutPassword(db.config.ConnString()))
	cmd.Env = append(os.Environ(), "PGPASSWORD="+db.config.Password)
	var text, trouble bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &trouble
	if err := cmd.Run(); err != nil {
		return "", unrehearsed("let the role read the whole schema, or "+elsewhere, "pg_dump: %w: %s", err, strings.TrimSpace(trouble.String()))
	}
	return text.String(), nil
}

func serverMajor(ctx context.Context, q querier) (int, error) {
	var version int
	if err := q.QueryRow(ctx, `select current_setting('server_version_num')::int`).Scan(&version); err != nil {
		return 0, fmt.Errorf("ask for the server's version: %w", err)
	}
	return version / 10000, nil
}

// withoutPassword is a connection string that others on the machine may see in
// the list of processes.
func withoutPassword(text string) string {
	if u, err := url.Parse(text); err == nil && u.Scheme != "" {
		if u.User != nil {
			u.User = url.User(u.User.Username())
		}
		query := u.Query()
		query.Del("password")
		u.RawQuery = query.Encode()
		return u.String()
	}
	return regexp.MustCompile(`(^|\s)password\s*=\s*('(\\.|[^'\\])*'|\S*)`).ReplaceAllString(text, "$1")
}

// fillSchema runs a dump, each statement by itself: as one they would need a
// lock for each object at once.
func fillSchema(ctx context.Context, config *pgx.ConnConfig, dump string) (err error) {
	lines := strings.Split(dump, "\n")
	for i, line := range lines { // orders to psql
		if strings.HasPrefix(line, `\restrict `) || strings.HasPrefix(line, `\unrestrict `) {
			lines[i] = ""
		}
	}
	statements, err := grammar.Split(strings.Join(lines, "\n"))
	if err != nil {
		return unrehearsed(elsewhere, "read the dump: %w", err)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("reach the copy: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
		defer cancel()
		err = errors.Join(err, conn.Close(ctx))
	}()
	for _, statement := range statements {
		if brief(statement) == "CREATE SCHEMA public" { // template0 has it
			continue
		}
		if _, err := conn.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			return unrehearsed(elsewhere, "make the copy: %s: %w", brief(statement), err)
		}
	}
	return nil
}
