package database

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// borrow gives a scratch database that somebody else has made, once it is sure
// that nobody misses what is in it.
func (db *DB) borrow(ctx context.Context, scratch string) (_ *pgx.ConnConfig, err error) {
	other, err := Open(ctx, scratch, db.options)
	if err != nil {
		return nil, &UnrehearsedError{Err: fmt.Errorf("the scratch database: %w", err), What: "name a database that takes connections from here"}
	}
	s, err := db.connect(ctx, "rehearse")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	t, err := other.connect(ctx, "rehearse")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close(ctx)) }()
	const fresh = "run the migrations on a new, empty database, and name that"
	ours, err := identityOf(ctx, s)
	if err != nil {
		return nil, err
	}
	theirs, err := identityOf(ctx, t)
	if err != nil {
		return nil, err
	}
	switch {
	case ours.database == theirs.database:
		return nil, unrehearsed(fresh, "the scratch database is the one that the release changes")
	case ours.major != theirs.major:
		return nil, unrehearsed("name a database of the same version", "the scratch database's server is of version %d, the one that is changed of version %d", theirs.major, ours.major)
	}
	var used bool
	if err := t.QueryRow(ctx, `select to_regnamespace('gapless') is not null`).Scan(&used); err != nil {
		return nil, fmt.Errorf("look for a rehearsal before this one: %w", err)
	}
	if used {
		return nil, unrehearsed(fresh, "the scratch database has the schema gapless: something was rehearsed or done there before, and would not be done again")
	}
	table, err := t.filled(ctx)
	if err != nil {
		return nil, err
	}
	if table != "" {
		return nil, unrehearsed(fresh, "table %s of the scratch database holds rows", table)
	}
	config := other.config.Copy()
	config.RuntimeParams["search_path"] = s.searchPath
	return config, nil
}

type identity struct {
	database string // no other one anywhere has it
	major    int
}

func identityOf(ctx context.Context, s *session) (i identity, err error) {
	err = s.QueryRow(ctx, `
		select format('%s/%s', pg_postmaster_start_time(), oid) from pg_database where datname = current_database()`).Scan(&i.database)
	if err != nil {
		return i, fmt.Errorf("ask for the database's identity: %w", err)
	}
	i.major, err = serverMajor(ctx, s)
	return i, err
}

// filled gives a table that holds rows, empty if there is none. What tools for
// migrations keep there themselves does not count.
func (s *session) filled(ctx context.Context) (string, error) {
	rows, err := s.Query(ctx, `
		select format('%I.%I', n.nspname, c.relname), c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind in ('r', 'm') and c.relispopulated and `+applications+` order by 1`)
	if err != nil {
		return "", fmt.Errorf("look for rows: %w", err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Ident, Name string }])
	if err != nil {
		return "", fmt.Errorf("look for rows: %w", err)
	}
	for _, t := range tables {
		if bookkeeping(t.Name) {
			continue
		}
		var holds bool
		if err := s.QueryRow(ctx, "select exists (select from "+t.Ident+")").Scan(&holds); err != nil {
			return "", fmt.Errorf("look for rows in %s: %w", t.Ident, err)
		}
		if holds {
			return t.Ident, nil
		}
	}
	return "", nil
}

// bookkeeping tells of tables in which tools note the migrations that they ran.
func bookkeeping(name string) bool {
	name = strings.ToLower(name)
	for _, part := range []string{"migration", "schema_version", "schema_history", "schema_revision", "db_version", "alembic", "changelog", "ar_internal_metadata", "django_content_type", "auth_permission"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}
