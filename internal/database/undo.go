package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// The way back of expand's own steps: what the new columns hold is archived
// first, and goes on being captured until they are dropped.

// keepNew archives the columns that expand added, as far as they are there, and
// what sync set aside.
func (w work) keepNew(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	t, there, err := tableOf(ctx, w.s, w.change)
	if err != nil {
		return e, err
	}
	added := t.added(w.change)
	if !there || len(added) == 0 || w.change.Creates() {
		return w.done(ctx, e)
	}
	a, err := w.archiver(ctx, ofRevert, t, added)
	if err != nil {
		return e, err
	}
	if len(t.key) == 0 {
		return a.copyKeyless(ctx)
	}
	return a.archive(ctx)
}

// added are the columns that a change adds and that are there.
func (t table) added(c change.Change) (there []column) {
	for _, a := range c.Added() {
		if column, ok := t.column(a.Name); ok && !column.generated {
			there = append(there, column)
		}
	}
	return there
}

// copyKeyless archives, of a table without a key, whole rows that have a value
// in a new column; it cannot tell which of them change meanwhile.
func (a *archiver) copyKeyless(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: a.w.step.ID}
	if a.name != "" {
		e.ArchiveTable = a.name
		return a.w.done(ctx, e)
	}
	return e, a.w.db.inTransaction(ctx, a.w.s, "table "+a.t.ident(), func(tx pgx.Tx) error {
		var n int64
		err := tx.QueryRow(ctx, `insert into gapless.archive (change, kind, archive_table) values ($1, $2, '') returning n`, a.w.change.ID, string(a.kind)).Scan(&n)
		if err != nil {
			return fmt.Errorf("begin the archive: %w", err)
		}
		e.ArchiveTable = own(fmt.Sprintf("archive_%s_%d", base(a.w.change.ID), n))
		if _, err := tx.Exec(ctx, `set local statement_timeout = 0`); err != nil {
			return fmt.Errorf("begin the archive: %w", err)
		}
		for _, statement := range []string{
			fmt.Sprintf(`create table %s as select row_number() over () as "~n", t.* from %s t where %s`, e.ArchiveTable, a.t.ident(), anyNotNull(a.values, "t.")),
			fmt.Sprintf(`alter table %s add primary key ("~n")`, e.ArchiveTable),
			fmt.Sprintf("comment on table %s is %s", e.ArchiveTable, literal("What the way back of change "+a.w.change.ID+" dropped: whole rows that had a value in a new column.")),
		} {
			if err := a.w.run(ctx, tx, statement); err != nil {
				return err
			}
		}
		if err := a.w.ownerOnly(ctx, tx, e.ArchiveTable); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update gapless.archive set archive_table = $2 where n = $1`, n, e.ArchiveTable); err != nil {
			return fmt.Errorf("begin the archive: %w", err)
		}
		return finish(ctx, tx, a.w.change.ID, e)
	})
}

// undoTriggers drops what keeps both forms in step and watches writers: it takes
// back both the steps sync and watch.
func (w work) undoTriggers(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	t, there, err := tableOf(ctx, w.s, w.change)
	if err != nil {
		return e, err
	}
	if !there {
		return w.done(ctx, e)
	}
	r := relation{change: w.change, table: t, mapping: w.standing.mapping}
	return e, w.db.inTransaction(ctx, w.s, "table "+t.ident(), func(tx pgx.Tx) error {
		statements, err := r.dropAll(ctx, tx)
		if err != nil {
			return err
		}
		if len(statements) > 0 {
			err = w.s.seize(ctx, tx, nobody, []table{t})
		}
		if err == nil {
			err = w.runAll(ctx, tx, statements...)
		}
		if err != nil {
			return err
		}
		return finish(ctx, tx, w.change.ID, e)
	})
}

// dropAll are the statements that drop all triggers and functions of a change
// that are there, whatever it had come to.
func (r relation) dropAll(ctx context.Context, tx pgx.Tx) ([]string, error) {
	names := append(syncTriggers(r.change.ID), watchTriggers(r.change.ID)...)
	functions := []string{"sync_" + r.base(), "log_" + r.base(), "forward_" + r.base(), "backward_" + r.base()}
	rows, err := tx.Query(ctx, `
		select format('drop trigger %I on %s', tgname, $3::text) from pg_trigger where tgrelid = $1 and tgname = any($2)
		union all select 'drop function ' || oid::regprocedure from pg_proc where pronamespace = 'gapless'::regnamespace and proname = any($4)`,
		r.table.oid, names, r.table.ident(), functions)
	if err != nil {
		return nil, fmt.Errorf("look for the triggers of %s: %w", r.table.ident(), err)
	}
	statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for the triggers of %s: %w", r.table.ident(), err)
	}
	return statements, nil
}

// undoColumns drops the columns that expand added. What was written to them
// since they were archived is archived in the same transaction.
func (w work) undoColumns(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	t, there, err := tableOf(ctx, w.s, w.change)
	if err != nil {
		return e, err
	}
	var drops []string
	for _, a := range w.change.Added() {
		if _, ok := t.column(a.Name); ok {
			drops = append(drops, "drop column "+ident(a.Name)+" restrict")
			e.Dropped = append(e.Dropped, "column "+a.Name)
		}
	}
	if there && len(drops) > 0 && !w.change.Creates() {
		if err := w.dropAdded(ctx, t, drops, e); err != nil {
			return e, err
		}
	}
	if err := w.moveKept(ctx); err != nil {
		return e, err
	}
	if err := w.db.seals(ctx, w.s, w.change, ofRevert, &e); err != nil {
		return e, err
	}
	return w.done(ctx, e)
}

func (w work) dropAdded(ctx context.Context, t table, drops []string, e change.Evidence) error {
	a, err := w.archiver(ctx, ofRevert, t, t.added(w.change))
	if err != nil {
		return err
	}
	drop := fmt.Sprintf("alter table %s %s", t.ident(), comma(drops))
	end := func(tx pgx.Tx) error {
		statements := []string{drop}
		if len(t.key) > 0 {
			statements = append(a.stopCapturing(), drop)
		}
		for _, statement := range statements {
			if err := w.run(ctx, tx, statement); err != nil {
				return err
			}
		}
		return finish(ctx, tx, w.change.ID, e)
	}
	if a.name == "" || len(t.key) == 0 {
		return w.onTable(ctx, nobody, []table{t}, end)
	}
	return w.last(ctx, a, []table{t}, end)
}

// moveKept puts what sync set aside beside the archive, some at a time, so that
// a change that is made anew under the same name begins with none.
func (w work) moveKept(ctx context.Context) error {
	const some = 10_000
	for {
		tag, err := w.s.Exec(ctx, `
			with archive as (select n from gapless.archive where change = $1 and kind = $2 and done_at is null),
			gone as (delete from gapless.kept where change = $1 and exists (select from archive)
			  and n in (select n from gapless.kept where change = $1 limit $3) returning *)
			insert into gapless.archived_kept (n, archive, tbl, key, side, value, why, role, xid, at)
			select g.n, a.n, g.tbl, g.key, g.side, g.value, g.why, g.role, g.xid, g.at from gone g, archive a`, w.change.ID, string(ofRevert), some)
		if err != nil {
			return fmt.Errorf("keep what sync set aside: %w", err)
		}
		if tag.RowsAffected() < some {
			return nil
		}
	}
}
