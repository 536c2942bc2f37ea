package database

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// rebuild lays on the old columns again what went with them.
func (w work) rebuild(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	t, err := w.table(ctx)
	if err != nil {
		return e, err
	}
	list, err := w.archivedOf(ctx, true, "index", "constraint", "not null", "statistics")
	if err != nil {
		return e, err
	}
	for _, d := range list {
		switch d.Kind {
		case "index":
			err = w.reindex(ctx, t, d.Name, d.Definition)
		case "constraint":
			err = w.reconstrain(ctx, t, d)
		case "not null":
			err = w.renotnull(ctx, t, strings.TrimPrefix(d.Name, "of column "))
		default:
			err = w.again(ctx, t, `select exists (select from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace
				where format('%I.%I', n.nspname, s.stxname) = $1)`, d.Name, d.Definition)
		}
		if err != nil {
			return e, fmt.Errorf("%s %s: %w", d.Kind, d.Name, err)
		}
	}
	return w.done(ctx, e)
}

// archivedOf are the definitions of some kinds that contract archived, of what
// went with a column or of what an operation dropped, in the order of the kinds.
func (w work) archivedOf(ctx context.Context, ofColumn bool, kinds ...string) ([]change.Dependent, error) {
	rows, err := w.s.Query(ctx, `select kind, name, definition from gapless.archived_definition
		where change = $1 and of_column = $2 and kind = any($3) order by array_position($3, kind), name`, w.change.ID, ofColumn, kinds)
	if err != nil {
		return nil, fmt.Errorf("read the archived definitions: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d change.Dependent, err error) {
		return d, row.Scan(&d.Kind, &d.Name, &d.Definition)
	})
	if err != nil {
		return nil, fmt.Errorf("read the archived definitions: %w", err)
	}
	return list, nil
}

// again runs a definition in one transaction, unless what it makes is there.
func (w work) again(ctx context.Context, t table, there, name, definition string) error {
	return w.db.inTransaction(ctx, w.s, "table "+t.ident(), func(tx pgx.Tx) error {
		var is bool
		if err := tx.QueryRow(ctx, there, name).Scan(&is); err != nil {
			return fmt.Errorf("look for it: %w", err)
		}
		if is {
			return nil
		}
		return w.run(ctx, tx, definition)
	})
}

// reindex builds an index as it was, without blocking writers. What an attempt
// before left invalid is dropped first. On a partitioned table it is built in
// one statement, which writers wait for.
func (w work) reindex(ctx context.Context, t table, name, definition string) error {
	const there = `select to_regclass($1) is not null`
	if t.partitioned() {
		return w.again(ctx, t, there, name, definition)
	}
	create, comment, _ := strings.Cut(definition, ";\ncomment on ")
	for _, prefix := range []string{"CREATE UNIQUE INDEX ", "CREATE INDEX "} {
		if rest, ok := strings.CutPrefix(create, prefix); ok {
			create = prefix + "CONCURRENTLY " + rest
		}
	}
	for n := 0; ; n++ {
		var is, valid bool
		err := w.s.QueryRow(ctx, `select to_regclass($1) is not null, coalesce((select indisvalid from pg_index where indexrelid = to_regclass($1)), false)`, name).Scan(&is, &valid)
		switch {
		case err != nil:
			return fmt.Errorf("look for it: %w", err)
		case valid && comment == "":
			return nil
		case valid:
			return w.db.inTransaction(ctx, w.s, "index "+name, func(tx pgx.Tx) error { return w.run(ctx, tx, "comment on "+comment) })
		case n > w.db.options.Attempts:
			return fmt.Errorf("it is still invalid after %d attempts", n)
		}
		statement := create
		if is {
			statement = "drop index concurrently " + name
		}
		if err := w.concurrently(ctx, name, statement); err != nil {
			return err
		}
	}
}

// reconstrain adds a constraint as it was, with the scan that proves it apart
// from the lock. A unique one's index is built first.
func (w work) reconstrain(ctx context.Context, t table, d change.Dependent) error {
	const there = `select exists (select from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
		where format('%I on %I.%I', k.conname, n.nspname, c.relname) = $1)`
	var is bool
	if err := w.s.QueryRow(ctx, there, d.Name).Scan(&is); err != nil {
		return fmt.Errorf("look for it: %w", err)
	}
	if index, add, unique := strings.Cut(d.Definition, ";\nalter table "); unique && !is {
		name, _, _ := strings.Cut(d.Name, " on ")
		if err := w.reindex(ctx, t, pgx.Identifier{t.schema}.Sanitize()+"."+name, index); err != nil {
			return err
		}
		return w.again(ctx, t, there, d.Name, "alter table "+add)
	}
	add, comment, commented := strings.Cut(d.Definition, ";\ncomment on ")
	proves := strings.Contains(add, " CHECK (") || strings.Contains(add, " FOREIGN KEY (")
	proves = proves && !strings.HasSuffix(add, " NOT VALID") && !(t.partitioned() && strings.Contains(add, " FOREIGN KEY ("))
	if !is {
		statement := add
		if proves {
			statement += " NOT VALID"
		}
		if err := w.again(ctx, t, there, d.Name, statement); err != nil {
			return err
		}
	}
	if proves {
		name, _, _ := strings.Cut(d.Name, " on ")
		if err := w.concurrently(ctx, t.ident(), fmt.Sprintf("alter table %s validate constraint %s", t.ident(), name)); err != nil {
			return err
		}
	}
	if !commented {
		return nil
	}
	return w.db.inTransaction(ctx, w.s, "table "+t.ident(), func(tx pgx.Tx) error { return w.run(ctx, tx, "comment on "+comment) })
}

// renotnull lets a column take NULL no longer; a check that is proved first
// spares the scan under the lock.
func (w work) renotnull(ctx context.Context, t table, column string) error {
	check := ident("~gapless_not_null_" + hash(column)[:12])
	in := func(statement string) error {
		return w.db.inTransaction(ctx, w.s, "table "+t.ident(), func(tx pgx.Tx) error { return w.run(ctx, tx, statement) })
	}
	if err := in(fmt.Sprintf("alter table %s drop constraint if exists %s", t.ident(), check)); err != nil {
		return err
	}
	if err := in(fmt.Sprintf("alter table %s add constraint %s check (%s is not null) not valid", t.ident(), check, column)); err != nil {
		return err
	}
	if err := w.concurrently(ctx, t.ident(), fmt.Sprintf("alter table %s validate constraint %s", t.ident(), check)); err != nil {
		return err
	}
	if err := in(fmt.Sprintf("alter table %s alter column %s set not null", t.ident(), column)); err != nil {
		return err
	}
	return in(fmt.Sprintf("alter table %s drop constraint %s", t.ident(), check))
}
