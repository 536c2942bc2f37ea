package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// hide verifies and then renames the columns that contract drops. Sync goes on
// against the hidden columns, and views follow by themselves: only what still
// names a column in SQL of its own finds it gone, and the way back is a rename.
func (w work) hide(ctx context.Context) (change.Evidence, error) {
	if w.standing.state != rollout.Expanded { // hidden already, or past it
		e, _, err := finished(ctx, w.s, w.change.ID, w.step.ID)
		return e, err
	}
	e, err := w.reverify(ctx)
	if err != nil {
		return e, err
	}
	r, err := w.s.relation(ctx, w.change, w.standing)
	if err != nil {
		return e, err
	}
	names := map[string]string{}
	for _, c := range r.dropped() {
		names[c.name] = hiddenName(w.change.ID, c.name)
	}
	// The definitions of what hangs on a column are kept while they still name it.
	return e, w.rename(ctx, r, names, e, func(tx pgx.Tx) error {
		if err := w.settle(ctx, tx, r); err != nil {
			return err
		}
		return move(ctx, tx, w.change.ID, rollout.Hidden, rollout.Expanded)
	})
}

// unhide gives hidden columns their names again.
func (w work) unhide(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	if w.standing.state == rollout.Expanded {
		return w.done(ctx, e)
	}
	r, err := w.s.relation(ctx, w.change, w.standing)
	if err != nil {
		return e, err
	}
	names := map[string]string{}
	for _, c := range r.dropped() {
		names[c.hidden] = c.name
	}
	return e, w.rename(ctx, r, names, e, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `delete from gapless.archived_definition where change = $1`, w.change.ID); err != nil {
			return fmt.Errorf("forget what contract named: %w", err)
		}
		return move(ctx, tx, w.change.ID, rollout.Expanded, rollout.Hidden)
	})
}

// rename renames columns and has the sync function know them by their new
// names, in one transaction, so that no write falls between. The triggers
// themselves and the other functions follow a rename.
func (w work) rename(ctx context.Context, r relation, names map[string]string, e change.Evidence, first func(pgx.Tx) error) error {
	t := r.table
	return w.onTable(ctx, nobody, []table{t}, func(tx pgx.Tx) error {
		if err := first(tx); err != nil {
			return err
		}
		for _, was := range sortedKeys(names) {
			if err := w.run(ctx, tx, fmt.Sprintf("alter table %s rename column %s to %s", t.ident(), ident(was), ident(names[was]))); err != nil {
				return err
			}
		}
		if err := w.s.describe(ctx, tx, &t); err != nil {
			return err
		}
		renamed, err := relationOf(w.change, t, w.standing.mapping)
		if err != nil {
			return err
		}
		if renamed.synced() {
			sync, err := renamed.syncFunction()
			if err != nil {
				return err
			}
			if err := w.run(ctx, tx, sync); err != nil {
				return err
			}
		}
		return finish(ctx, tx, w.change.ID, e)
	})
}
