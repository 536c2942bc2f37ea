package database

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// ClaimUses says what the service uses by a rollout, in place of what that
// rollout claimed before. What others claim, and the service by other rollouts,
// stays. Tables and columns must be there.
func (db *DB) ClaimUses(ctx context.Context, of string, uses []change.Use) error {
	return db.with(ctx, "claims", func(s *session) error {
		there, err := installed(ctx, s)
		if err != nil {
			return err
		}
		claimed := make([]uint32, 0, len(uses))
		columns := make([][]string, 0, len(uses))
		for _, use := range uses {
			t, err := s.used(ctx, use)
			if err != nil {
				return err
			}
			claimed, columns = append(claimed, t.oid), append(columns, append([]string{}, use.Columns...))
		}
		return db.inTransaction(ctx, s, "the schema gapless", func(tx pgx.Tx) error {
			if !there {
				if _, err := tx.Exec(ctx, ownSchema); err != nil {
					return owners(fmt.Errorf("make the schema gapless: %w", err))
				}
			}
			return db.claim(ctx, tx, of, claimed, columns)
		})
	})
}

func (db *DB) claim(ctx context.Context, tx pgx.Tx, of string, relations []uint32, columns [][]string) error {
	service := db.options.Service
	_, err := tx.Exec(ctx, `delete from gapless.claim where service = $1 and rollout = $2 and not relation::oid = any($3)`, service, of, relations)
	if err != nil {
		return owners(fmt.Errorf("claim: %w", err))
	}
	for i, relation := range relations {
		_, err := tx.Exec(ctx, `
			insert into gapless.claim as c (service, relation, columns, rollout, since)
			select $1, $2::oid, $3, $4, coalesce(min(b.since), clock_timestamp())
			from gapless.claim b where b.service = $1 and b.relation = $2::oid::regclass and b.columns = $3
			on conflict (service, relation, rollout) do update set columns = excluded.columns, since = excluded.since, run = excluded.run, actor = excluded.actor`,
			service, relation, columns[i], of)
		if err != nil {
			return owners(fmt.Errorf("claim: %w", err))
		}
	}
	return nil
}

// used finds a table that a service says it uses.
func (s *session) used(ctx context.Context, use change.Use) (table, error) {
	t, err := resolveTable(ctx, s, change.Change{ID: "schema.uses", Table: use.Table})
	if none, ok := errors.AsType[*NoTableError](err); ok {
		return t, &useError{fmt.Sprintf("schema.uses: there is no table %q", use.Table), none.Hint()}
	}
	if err != nil {
		return t, fmt.Errorf("schema.uses: %w", err)
	}
	if gone := missing(t, use.Columns); len(gone) > 0 {
		return t, &useError{fmt.Sprintf("schema.uses: table %s has no column %s", t.ident(), listed(gone)), "write the exact names; what a change of this release adds is there once it is expanded"}
	}
	return t, nil
}

// useError is a use of what is not there.
type useError struct{ what, hint string }

func (e *useError) Error() string { return e.what }

// Unwrap makes it bad input.
func (e *useError) Unwrap() error { return rollout.ErrInput }

// Hint says what a person can do.
func (e *useError) Hint() string { return e.hint }

// SettleUses leaves of the service's claims those of a rollout: it has settled,
// and nothing that used more runs.
func (db *DB) SettleUses(ctx context.Context, of string) error {
	return db.release(ctx, `delete from gapless.claim where service = $1 and rollout <> $2`, db.options.Service, of)
}

// DropUses takes back what the service claimed by a rollout: it went back.
func (db *DB) DropUses(ctx context.Context, of string) error {
	return db.release(ctx, `delete from gapless.claim where service = $1 and rollout = $2`, db.options.Service, of)
}

func (db *DB) release(ctx context.Context, sql string, args ...any) error {
	return db.with(ctx, "claims", func(s *session) error {
		if there, err := installed(ctx, s); err != nil || !there {
			return err
		}
		if _, err := s.Exec(ctx, sql, args...); err != nil {
			return owners(fmt.Errorf("release claims: %w", err))
		}
		return nil
	})
}
