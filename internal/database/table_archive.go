package database

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// A shelf takes a whole table away into the schema gapless: no row is copied.
// What the table does to others, and others may do with it, is taken from it,
// and what would put it back is archived as statements.
type shelf struct {
	w    work
	t    named
	name string   // in the schema gapless
	back []string // the statements that put it back
}

// referencesQuery gives the foreign keys that a table has.
const referencesQuery = `select conname::text, format('alter table %s add constraint %I %s', $2::text, conname, pg_get_constraintdef(oid))
	from pg_constraint where conrelid = $1 and contype = 'f' and conparentid = 0 order by 1`

func (a *shelf) references(ctx context.Context, q querier) (names, definitions []string, err error) {
	rows, err := q.Query(ctx, referencesQuery, a.t.oid, a.t.ident())
	if err != nil {
		return nil, nil, fmt.Errorf("read the foreign keys of %s: %w", a.t.ident(), err)
	}
	var name, definition string
	_, err = pgx.ForEachRow(rows, []any{&name, &definition}, func() error {
		names, definitions = append(names, name), append(definitions, definition)
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read the foreign keys of %s: %w", a.t.ident(), err)
	}
	return names, definitions, nil
}

// dropReferences drops the table's foreign keys, which would go on holding up
// those who delete from other tables. Each locks both tables.
func (a *shelf) dropReferences(ctx context.Context) error {
	names, definitions, err := a.references(ctx, a.w.s)
	if err != nil {
		return err
	}
	for n, name := range names {
		err := a.w.db.inTransaction(ctx, a.w.s, fmt.Sprintf("foreign key %s of %s", ident(name), a.t.ident()), func(tx pgx.Tx) error {
			if err := a.w.keep(ctx, tx, "foreign key", ident(name)+" of "+a.t.ident(), definitions[n]); err != nil {
				return err
			}
			tables, err := a.w.s.lockedBy(ctx, tx, a.t.table(), definitions[n])
			if err != nil {
				return err
			}
			if err := a.w.s.seize(ctx, tx, nobody, tables); err != nil {
				return err
			}
			return a.w.run(ctx, tx, fmt.Sprintf("alter table %s drop constraint %s", a.t.ident(), ident(name)))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// unpublish takes the table out of the publications that name it.
func (a *shelf) unpublish(ctx context.Context) error {
	published, err := publishedByName(ctx, a.w.s, a.t.oid)
	if err != nil {
		return err
	}
	for _, p := range published {
		err := a.w.db.inTransaction(ctx, a.w.s, "publication "+p, func(tx pgx.Tx) error {
			definition := fmt.Sprintf("alter publication %s add table %s", p, a.t.ident())
			if err := a.w.keep(ctx, tx, "publication", p+" of "+a.t.ident(), definition); err != nil {
				return err
			}
			return a.w.run(ctx, tx, fmt.Sprintf("alter publication %s drop table %s", p, a.t.ident()))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// publishedByName are the publications that name a table, quoted.
func publishedByName(ctx context.Context, q querier, oid uint32) ([]string, error) {
	return lines(ctx, q, "look for publications", `select quote_ident(p.pubname) from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
		where r.prrelid = $1 order by 1`, oid)
}

// lock keeps everybody out until the end of tx, and lets no policy hide rows.
func (a *shelf) lock(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `set local row_security = off`); err != nil {
		return fmt.Errorf("look at all rows: %w", err)
	}
	if err := a.w.s.calm(ctx, tx, a.t); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf(`lock table %s in access exclusive mode`, a.t.ident())); err != nil {
		return fmt.Errorf("lock %s: %w", a.t.ident(), err)
	}
	return nil
}

// partsQuery gives what is named beside the table and would meet its namesakes
// in the schema gapless: how it is renamed, and how it is named back.
const partsQuery = `
select format('alter %s %I.%I rename to %I', kind, schema, name, $2 || '_' || n), format('alter %s %I.%I rename to %I', kind, schema, $2 || '_' || n, name),
  case kind when 'statistics' then format('alter statistics %I.%I set schema gapless', schema, $2 || '_' || n) else '' end,
  case kind when 'statistics' then format('alter statistics gapless.%I set schema %I', $2 || '_' || n, schema) else '' end
from (
  select kind, schema, name, row_number() over (order by kind, name) as n from (
    select 'index' as kind, s.nspname as schema, c.relname as name from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace s on s.oid = c.relnamespace
    where i.indrelid = $1
    union all
    select 'sequence', s.nspname, c.relname from pg_depend d join pg_class c on c.oid = d.objid and c.relkind = 'S' join pg_namespace s on s.oid = c.relnamespace
    where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = $1 and d.deptype in ('a', 'i')
    union all
    select 'statistics', s.nspname, e.stxname from pg_statistic_ext e join pg_namespace s on s.oid = e.stxnamespace where e.stxrelid = $1
  ) as parts) as numbered order by n`

// triggersQuery gives how the application's triggers on a table fire now.
const triggersQuery = `
select format('alter table %s %s trigger %I', $2::text, case tgenabled when 'A' then 'enable always' when 'R' then 'enable replica' when 'O' then 'enable' end, tgname)
from pg_trigger where tgrelid = $1 and not tgisinternal and tgenabled <> 'D' and tgname not like '~gapless\_%' order by tgname`

// take moves the table, which is locked, into the schema gapless, and notes it.
func (a *shelf) take(ctx context.Context, tx pgx.Tx, e *change.Evidence) error {
	rows, err := a.w.s.estimateRows(ctx, table{oid: a.t.oid, schema: a.t.schema, name: a.t.name})
	if err != nil {
		return err
	}
	var n int64
	err = tx.QueryRow(ctx, `insert into gapless.archive (change, kind, archive_table, rows, done_at, expires_at)
		select $1, 'table', '', $2, t.now, t.now + nullif($3, 0) * interval '1 second' from (select clock_timestamp() as now offset 0) as t returning n`,
		a.w.change.ID, rows, a.w.change.Archive.Keep.Seconds()).Scan(&n)
	if err != nil {
		return fmt.Errorf("note the archive: %w", err)
	}
	a.name = fmt.Sprintf("archive_%s_%d", base(a.w.change.ID), n)
	if _, err := tx.Exec(ctx, `update gapless.archive set archive_table = $2 where n = $1`, n, own(a.name)); err != nil {
		return fmt.Errorf("note the archive: %w", err)
	}
	out, err := a.statements(ctx, tx)
	if err != nil {
		return err
	}
	if err := a.w.runAll(ctx, tx, out...); err != nil {
		return err
	}
	e.ArchiveTable, e.ArchiveRows = own(a.name), rows
	e.Detail = "the number of rows is an estimate: none was copied"
	return a.w.keep(ctx, tx, "table", a.t.ident(), script(a.back))
}

// statements are those that take the table away. They fill in the way back.
func (a *shelf) statements(ctx context.Context, tx pgx.Tx) ([]string, error) {
	t := a.t.ident()
	parts, err := tx.Query(ctx, partsQuery, a.t.oid, a.name)
	if err != nil {
		return nil, fmt.Errorf("read what %s consists of: %w", t, err)
	}
	var out, back []string
	var rename, undo, move, unmove string
	_, err = pgx.ForEachRow(parts, []any{&rename, &undo, &move, &unmove}, func() error {
		out = append(out, rename)
		if move != "" {
			out, back = append(out, move), append(back, unmove)
		}
		back = append(back, undo)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what %s consists of: %w", t, err)
	}
	owner, err := ownerOf(ctx, tx, a.t.oid)
	if err != nil {
		return nil, err
	}
	given, err := grants(ctx, tx, a.t.oid, t, owner)
	if err != nil {
		return nil, err
	}
	revoke, err := revocations(ctx, tx, a.t.oid, t)
	if err != nil {
		return nil, err
	}
	firing, err := lines(ctx, tx, "read the triggers of "+t, triggersQuery, a.t.oid, t)
	if err != nil {
		return nil, err
	}
	comment, err := lines(ctx, tx, "read the comment on "+t, `select format('comment on table %s is %L', $2::text, obj_description($1, 'pg_class'))`, a.t.oid, t)
	if err != nil {
		return nil, err
	}
	if len(firing) > 0 {
		out = append(out, fmt.Sprintf("alter table %s disable trigger user", t))
	}
	out = append(out, revoke...)
	out = append(out, fmt.Sprintf("alter table %s rename to %s", t, ident(a.name)),
		fmt.Sprintf("alter table %s set schema gapless", pgx.Identifier{a.t.schema, a.name}.Sanitize()),
		fmt.Sprintf("comment on table %s is %s", own(a.name), literal(fmt.Sprintf("Table %s as change %s took it away, with all its rows.", t, a.w.change.ID))))
	a.back = []string{fmt.Sprintf("alter table %s set schema %s", own(a.name), ident(a.t.schema)),
		fmt.Sprintf("alter table %s rename to %s", pgx.Identifier{a.t.schema, a.name}.Sanitize(), ident(a.t.name))}
	a.back = append(a.back, back...)
	a.back = append(a.back, given...)
	a.back = append(a.back, slices.Concat(firing, comment)...)
	return out, nil
}
