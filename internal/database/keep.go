package database

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// keepFirst archives a definition in the transaction that removes or replaces it.
// The first one stays: a repeat would keep what the change made itself.
func (w work) keepFirst(ctx context.Context, tx pgx.Tx, kind, name, definition string) error {
	_, err := tx.Exec(ctx, `insert into gapless.archived_definition (change, kind, name, definition) values ($1, $2, $3, $4)
		on conflict (change, kind, name) do nothing`, w.change.ID, kind, name, definition)
	if err != nil {
		return fmt.Errorf("archive the definition of %s %s: %w", kind, name, err)
	}
	return nil
}

// kept is a definition that the change archived; is tells whether it did.
func (w work) kept(ctx context.Context, q querier, kind, name string) (definition string, is bool, err error) {
	err = q.QueryRow(ctx, `select definition from gapless.archived_definition where change = $1 and kind = $2 and name = $3`, w.change.ID, kind, name).Scan(&definition)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read the definition of %s %s: %w", kind, name, err)
	}
	return definition, true, nil
}

// forgetKept ends an undo that has put back what was kept under these kinds.
func (w work) forgetKept(ctx context.Context, e change.Evidence, name string, kinds ...string) (change.Evidence, error) {
	e.Step = w.step.ID
	return e, pgx.BeginFunc(ctx, w.s.Conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `delete from gapless.archived_definition where change = $1 and name = $2 and kind = any($3)`, w.change.ID, name, kinds)
		if err != nil {
			return fmt.Errorf("forget the definition of %s: %w", name, err)
		}
		return finish(ctx, tx, w.change.ID, e)
	})
}
