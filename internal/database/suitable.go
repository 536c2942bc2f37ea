package database

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// What keeps a change from being made on a table of some kind. Everything here
// is told at plan, with the reason.

// kind refuses what is no table, or not one by itself.
func (i *inspector) kind(ctx context.Context) error {
	t := i.t
	switch t.kind {
	case "r", "p":
	case "v":
		i.refuse("%s is a view: name the table under it", t.ident())
	case "m":
		i.refuse("%s is a materialized view: its rows are another table's", t.ident())
	case "f":
		i.refuse("%s is a foreign table: make the change in the database where its rows are", t.ident())
	default:
		i.refuse("%s is no table", t.ident())
	}
	var persistence, parent string
	var typed bool
	var foreign []string
	err := i.s.QueryRow(ctx, `
		select c.relpersistence::text, c.reloftype <> 0, coalesce((select min(inhparent::regclass::text) from pg_inherits where inhrelid = c.oid), ''),
		  array(select p.relid::regclass::text from pg_partition_tree(c.oid) p join pg_class k on k.oid = p.relid where k.relkind not in ('r', 'p'))
		from pg_class c where c.oid = $1`, t.oid).Scan(&persistence, &typed, &parent, &foreign)
	if err != nil {
		return fmt.Errorf("look at table %s: %w", t.ident(), err)
	}
	switch {
	case persistence == "t":
		i.refuse("table %s is temporary: it is one session's own", t.ident())
	case typed:
		i.refuse("table %s has the columns of a type, which cannot be changed for it alone", t.ident())
	case t.partition:
		i.refuse("table %s is a partition of %s: name that one", t.ident(), parent)
	case t.inherits && !t.partitioned():
		i.refuse("table %s takes part in inheritance, where a key does not hold for the rows of children", t.ident())
	}
	for _, name := range foreign {
		i.refuse("partition %s of table %s is a foreign table", name, t.ident())
	}
	return nil
}

// security refuses where the role may not do what the change needs, or would
// not see every row.
func (i *inspector) security(ctx context.Context) error {
	t := i.t
	var owner, may, filtered bool
	err := i.s.QueryRow(ctx, `select pg_has_role(c.relowner, 'usage'), has_database_privilege(current_database(), 'create')
		or to_regnamespace('gapless') is not null, row_security_active(c.oid) from pg_class c where oid = $1`, t.oid).Scan(&owner, &may, &filtered)
	if err != nil {
		return fmt.Errorf("look up privileges: %w", err)
	}
	if !owner {
		i.refuse("the role is not an owner of table %s", t.ident())
	}
	if !may {
		i.refuse("the role may not create the schema gapless in this database")
	}
	if filtered {
		i.refuse("table %s has row-level security that holds for this role, so that it would not see every row; give it BYPASSRLS, or the table no FORCE ROW LEVEL SECURITY", t.ident())
	}
	return nil
}

// keys refuses a table without a key where one is needed, and changes of what
// tells or places its rows.
func (i *inspector) keys(ctx context.Context) error {
	t := i.t
	columns := slices.Concat(i.c.OldColumns(), i.c.NewColumns(), i.c.Abandoned())
	for _, k := range t.key {
		i.facts.Key = append(i.facts.Key, k.name)
		if slices.Contains(columns, k.name) {
			i.refuse("column %q is part of the key of %s, by which rows are found again: a key cannot be changed so", k.name, t.ident())
		}
	}
	if (t.kind == "r" || t.partitioned()) && len(t.key) == 0 && len(columns) > 0 {
		i.refuse("table %s has neither a primary key nor a unique index on columns that are not null, by which its rows could be found again in the backfill and the archive", t.ident())
	}
	if !t.partitioned() {
		return nil
	}
	rows, err := i.s.Query(ctx, `
		select a.attname::text from pg_partitioned_table p
		join pg_attribute a on a.attrelid = p.partrelid and (a.attnum = any(p.partattrs::int2[])
		  or a.attnum in (select v[1]::int from regexp_matches(p.partexprs::text, ':varattno (\d+)', 'g') v))
		where p.partrelid = $1 and a.attname = any($2) order by 1`, t.oid, columns)
	if err != nil {
		return fmt.Errorf("read what %s is partitioned by: %w", t.ident(), err)
	}
	by, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("read what %s is partitioned by: %w", t.ident(), err)
	}
	for _, name := range by {
		i.refuse("table %s is partitioned by column %q, which places its rows", t.ident(), name)
	}
	return nil
}

// abandons looks at a column that is dropped and has no new form.
func (i *inspector) abandons(name string) {
	if !slices.Contains(i.c.Abandoned(), name) || i.st.state == rollout.Contracted || i.st.state == rollout.Restoring {
		return
	}
	c, there := i.t.seen(i.c.ID, name)
	switch {
	case !there:
		i.refuse("table %s has no column %q", i.t.ident(), name)
	case c.generated:
		i.refuse("drop_column %q: it is generated, so that there is nothing of it to archive; drop it with sql", name)
	case c.identity:
		i.refuse("drop_column %q: it is an identity column: whether a writer names it cannot be told", name)
	case c.notNull && c.def == "" && !i.relaxes(name):
		i.refuse("drop_column %q: it takes no NULL and has no default, so that the new revision could not leave it out; add drop_not_null or set_default under expand", name)
	case c.volatileDef:
		i.warn("column %q has a default that gives another value each time: an INSERT that leaves it out cannot be told from one that names it", name)
	}
}

// relaxes tells whether expand lets a column be left out.
func (i *inspector) relaxes(name string) bool {
	return slices.ContainsFunc(i.c.Expand, func(o change.Operation) bool {
		return o.DropNotNull != nil && o.DropNotNull.Column == name || o.SetDefault != nil && o.SetDefault.Column == name
	})
}

// fills are the columns that are filled in rows that are there.
func (i *inspector) fills() []string {
	columns := slices.Concat(i.c.NewColumns(), i.filled)
	for _, o := range i.c.Contract {
		if o.SetNotNull != nil && o.SetNotNull.Fill != "" {
			columns = append(columns, o.SetNotNull.Column)
		}
	}
	return columns
}

// triggers looks at the application's triggers, the table's and those of its
// partitions: whether they undo the sync trigger's work, or fire for the
// backfill.
func (i *inspector) triggers(ctx context.Context) error { return i.firing(ctx, i.fills()) }

// firing looks at the triggers where rows that are there get values in some
// columns.
func (i *inspector) firing(ctx context.Context, fills []string) error {
	rows, err := i.s.Query(ctx, `
		select t.tgname::text, t.tgtype & 2 <> 0, t.tgtype & 1 <> 0, t.tgtype & 16 <> 0, t.tgtype & 4 <> 0, t.tgrelid::regclass::text,
		       coalesce(array(select a.attname::text from unnest(t.tgattr::int2[]) n join pg_attribute a on a.attrelid = t.tgrelid and a.attnum = n), '{}')
		from pg_trigger t where (t.tgrelid = $1 or t.tgrelid in (select relid from pg_partition_tree($1::oid::regclass))) and t.tgparentid = 0
		  and not t.tgisinternal and t.tgenabled <> 'D' and t.tgname not like '~gapless\_%' order by 1, 6`, i.t.oid)
	if err != nil {
		return fmt.Errorf("look for triggers: %w", err)
	}
	var name, on string
	var before, row, update, insert bool
	var columns []string
	_, err = pgx.ForEachRow(rows, []any{&name, &before, &row, &update, &insert, &on, &columns}, func() error {
		i.facts.Triggers = append(i.facts.Triggers, name)
		filled := len(fills) > 0 && (len(columns) == 0 || slices.ContainsFunc(columns, func(c string) bool { return slices.Contains(fills, c) }))
		switch {
		case !update || !filled:
		case i.c.Accept.Triggers != "":
			i.warn("trigger %s of table %s fires for the rows that the backfill fills; accepted: %s", ident(name), on, i.c.Accept.Triggers)
		default:
			i.refuse("trigger %s of table %s would fire for the rows that the backfill fills; if it may, say why in accept.triggers", ident(name), on)
		}
		if i.c.Sync != nil && before && row && (update || insert) && name > triggerName(i.c.ID, "") {
			i.refuse("trigger %s of table %s fires after the sync trigger and could undo its work; rename it", ident(name), on)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for triggers: %w", err)
	}
	return i.rules(ctx, len(fills) > 0)
}

// rules refuses rewrite rules, which would make something else of the backfill's
// statements and of what writers are noted by.
func (i *inspector) rules(ctx context.Context, fills bool) error {
	if !fills && len(i.c.Abandoned()) == 0 {
		return nil
	}
	rows, err := i.s.Query(ctx, `select rulename::text from pg_rewrite where ev_class = $1 and ev_enabled <> 'D' and ev_type in ('2', '3', '4') order by 1`, i.t.oid)
	if err != nil {
		return fmt.Errorf("look for rules: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for rules: %w", err)
	}
	for _, name := range names {
		i.refuse("rule %s of table %s makes other statements of those that write to it", ident(name), i.t.ident())
	}
	return nil
}

// publications holds where subscribers would get rows with columns, or without,
// that they do not expect.
func (i *inspector) publications(ctx context.Context) error {
	rows, err := i.s.Query(ctx, `
		select distinct v.pubname::text from pg_publication_tables v join pg_class c on c.relname = v.tablename join pg_namespace n on n.oid = c.relnamespace and n.nspname = v.schemaname
		where c.oid = $1 or c.oid in (select relid from pg_partition_tree($1::oid::regclass)) order by 1`, i.t.oid)
	if err != nil {
		return fmt.Errorf("look for publications: %w", err)
	}
	if i.facts.Published, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return fmt.Errorf("look for publications: %w", err)
	}
	if len(i.c.Added())+len(i.c.Dropped()) == 0 {
		return nil
	}
	for _, name := range i.facts.Published {
		if i.c.Accept.Published != "" {
			i.warn("table %s is published (%s); accepted: %s", i.t.ident(), ident(name), i.c.Accept.Published)
			continue
		}
		i.refuse("table %s is published (%s): a subscriber without the new columns would stop, and its slot would hold back the log here; add them there first, then say so in accept.published", i.t.ident(), ident(name))
	}
	return nil
}
