package database

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// column is a column as the catalogue has it.
type column struct {
	name string
	// hidden is its name in the table while contract hides it.
	hidden  string
	sqlType string // as format_type gives it, every name qualified
	// plainType is what an expression is cast to for comparing it with this
	// column: without a length, to which a cast would cut, where an assignment
	// raises.
	plainType string
	// cuts tells that a cast to plainType may cut all the same.
	cuts      bool
	collate   string // the clause, which is empty for types that have no collation
	notNull   bool
	generated bool
	identity  bool
	def       string // the default's expression, empty for none
	// volatileDef tells that the default may give another value each time.
	volatileDef bool
	// exact tells that values that are equal are also the same. Where they may
	// not be (numeric 1.0 and 1.00, jsonb, citext), they are compared as text
	// too, so that no change of a value goes unseen.
	exact bool
	// builtIn tells that the type's operators are found under pg_catalog alone.
	builtIn bool
}

// stored is the column's name in the table.
func (c column) stored() string {
	if c.hidden != "" {
		return c.hidden
	}
	return c.name
}

// ident is the column in the table.
func (c column) ident() string { return ident(c.stored()) }

// label is the column where a mapping, a function or an archive names it.
func (c column) label() string { return ident(c.name) }

// declared is the column's type with its collation, on which the value of an
// expression may depend.
func (c column) declared() string { return c.sqlType + c.collate }

// key is a unique index's columns, none of which may be null.
type key []column

// table is a table as the catalogue has it.
type table struct {
	oid          uint32
	schema, name string
	kind         string // of pg_class
	rowSecurity  bool
	// forcedSecurity tells that its policies hold for its owner, too.
	forcedSecurity bool
	partition      bool // of another table
	inherits       bool // or is inherited from; partitions and partitioned tables do
	columns        []column
	key            key
}

func (t table) partitioned() bool { return t.kind == "p" }

func (t table) ident() string { return pgx.Identifier{t.schema, t.name}.Sanitize() }

func (t table) column(name string) (column, bool) {
	i := slices.IndexFunc(t.columns, func(c column) bool { return c.name == name })
	if i < 0 {
		return column{}, false
	}
	return t.columns[i], true
}

func ident(name string) string { return pgx.Identifier{name}.Sanitize() }

// own is a name in gapless's own schema.
func own(name string) string { return pgx.Identifier{"gapless", name}.Sanitize() }

// literal is text as an SQL string, with standard_conforming_strings on or off.
func literal(text string) string {
	quoted := "'" + strings.ReplaceAll(text, "'", "''") + "'"
	if strings.Contains(text, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}

// NoTableError is a change about a table that is not there.
type NoTableError struct{ Change, Table, Near string }

func (e *NoTableError) Error() string {
	return fmt.Sprintf("change %s: there is no table %q", e.Change, e.Table)
}

// Hint says what a person can do.
func (e *NoTableError) Hint() string {
	if e.Near != "" {
		return fmt.Sprintf("write its exact name: table: %s", e.Near)
	}
	return "give the schema too, or correct the search path of the role"
}

// tableOf finds the change's table; there is false where it has none, or none
// yet.
func tableOf(ctx context.Context, s *session, c change.Change) (t table, there bool, err error) {
	if c.Table == "" {
		return table{}, false, nil
	}
	t, err = resolveTable(ctx, s, c)
	if _, missing := errors.AsType[*NoTableError](err); missing && c.Creates() {
		return table{}, false, nil
	}
	return t, err == nil, err
}

// resolveTable finds the change's table: the one that it was registered with,
// else by its name, on the application's search path where that has no schema.
func resolveTable(ctx context.Context, s *session, c change.Change) (table, error) {
	name, err := change.ParseTable(c.Table)
	if err != nil {
		return table{}, fmt.Errorf("change %s: %w", c.ID, err)
	}
	st, err := standingOf(ctx, s, c.ID)
	if err != nil {
		return table{}, err
	}
	var t table
	// The path is set for the one look only.
	err = pgx.BeginFunc(ctx, s.Conn, func(tx pgx.Tx) error {
		if err := s.asApplication(ctx, tx); err != nil {
			return err
		}
		row := tx.QueryRow(ctx, `
			select c.oid, n.nspname, c.relname, c.relkind::text, c.relrowsecurity, c.relforcerowsecurity,
			       c.relispartition, exists (select from pg_inherits i where c.oid in (i.inhrelid, i.inhparent))
			from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where c.oid = coalesce((select oid from pg_class where oid = $2), to_regclass($1))`, qualified(name).Sanitize(), st.relation)
		return row.Scan(&t.oid, &t.schema, &t.name, &t.kind, &t.rowSecurity, &t.forcedSecurity, &t.partition, &t.inherits)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return table{}, s.noTable(ctx, c, name)
	}
	if err != nil {
		return table{}, fmt.Errorf("find table %s: %w", c.Table, err)
	}
	return t, s.describe(ctx, s.Conn, &t)
}

// asApplication gives a transaction the application's search path.
func (s *session) asApplication(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `select set_config('search_path', $1, true)`, s.searchPath); err != nil {
		return fmt.Errorf("set the search path: %w", err)
	}
	return nil
}

func (s *session) noTable(ctx context.Context, c change.Change, name change.Table) error {
	missing := &NoTableError{Change: c.ID, Table: c.Table}
	err := s.QueryRow(ctx, `
		select coalesce(min(format('%I.%I', n.nspname, c.relname)), '')
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where lower(c.relname) = lower($1) and c.relkind in ('r', 'p')`, name.Name).Scan(&missing.Near)
	if err != nil {
		return errors.Join(missing, fmt.Errorf("look for a similar table: %w", err))
	}
	return missing
}

// describe reads the columns and the key.
func (s *session) describe(ctx context.Context, q querier, t *table) error {
	rows, err := q.Query(ctx, `
		select a.attname, format_type(a.atttypid, a.atttypmod),
		       case when b.base = 'varchar'::regtype then 'text' else format_type(a.atttypid, a.atttypmod) end,
		       b.base in ('bpchar'::regtype, 'bit'::regtype, 'varbit'::regtype),
		       coalesce((select format(' collate %I.%I', n.nspname, l.collname) from pg_collation l join pg_namespace n on n.oid = l.collnamespace
		                 where l.oid = a.attcollation), ''),
		       a.attnotnull, a.attgenerated <> '', a.attidentity <> '',
		       case when a.attgenerated = '' then coalesce(pg_get_expr(d.adbin, d.adrelid), '') else '' end,
		       coalesce((select bool_or(p.provolatile = 'v')
		         from regexp_matches(d.adbin::text, ':(?:funcid|opfuncid) (\d+)', 'g') f(id) join pg_proc p on p.oid = f.id[1]::oid), false),
		       (b.kind = 'e' or b.base in ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype,
		          'uuid'::regtype, 'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'bytea'::regtype,
		          'text'::regtype, 'varchar'::regtype, 'name'::regtype))
		         and (a.attcollation = 0 or (select collisdeterministic from pg_collation where oid = a.attcollation)),
		       b.built_in
		from pg_attribute a
		left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
		cross join lateral (
		  with recursive up as (
		    select t.oid, t.typbasetype, t.typtype from pg_type t where t.oid = a.atttypid
		    union all select t.oid, t.typbasetype, t.typtype from up join pg_type t on t.oid = up.typbasetype)
		  select up.oid as base, up.typtype as kind,
		    (up.typtype = 'e' or t.typnamespace = 'pg_catalog'::regnamespace) and exists (select from pg_opclass o join pg_am on pg_am.oid = o.opcmethod
		       where o.opcdefault and amname = 'btree' and (o.opcintype = up.oid or up.typtype = 'e' or t.typcategory = 'A'
		         or exists (select from pg_cast k where k.castsource = up.oid and k.casttarget = o.opcintype and k.castmethod = 'b' and k.castcontext = 'i'))) as built_in
		  from up join pg_type t on t.oid = up.oid where up.typbasetype = 0) b
		where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
		order by a.attnum`, t.oid)
	if err != nil {
		return fmt.Errorf("read the columns of %s: %w", t.ident(), err)
	}
	t.columns, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (column, error) {
		var c column
		err := row.Scan(&c.name, &c.sqlType, &c.plainType, &c.cuts, &c.collate, &c.notNull, &c.generated, &c.identity, &c.def, &c.volatileDef, &c.exact, &c.builtIn)
		return c, err
	})
	if err != nil {
		return fmt.Errorf("read the columns of %s: %w", t.ident(), err)
	}
	return s.findKey(ctx, q, t)
}

// findKey takes the primary key or, failing that, the narrowest unique index on
// columns that are not null. It must be usable for walks: a B-tree, whole, valid
// and checked at once.
func (s *session) findKey(ctx context.Context, q querier, t *table) error {
	// Walks compare with operators under pg_catalog: others would not follow
	// the index's order.
	var names, ordered []string
	for _, c := range t.columns {
		if c.builtIn {
			ordered = append(ordered, c.name)
		}
	}
	err := q.QueryRow(ctx, `
		select array_agg(a.attname::text order by k.n)
		from pg_index i
		join pg_class ic on ic.oid = i.indexrelid
		join pg_am am on am.oid = ic.relam and am.amname = 'btree'
		cross join lateral unnest(i.indkey::int2[]) with ordinality as k(attnum, n)
		join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
		where i.indrelid = $1 and i.indisunique and i.indisvalid and i.indimmediate
		  and i.indpred is null and i.indexprs is null and k.n <= i.indnkeyatts
		  and not exists (select from unnest(i.indclass::oid[]) c(opclass) join pg_opclass o on o.oid = c.opclass where not o.opcdefault)
		group by i.indexrelid, i.indisprimary, i.indnkeyatts
		having bool_and(a.attnotnull and a.attname = any($2))
		order by i.indisprimary desc, i.indnkeyatts, min(a.attnum), i.indexrelid
		limit 1`, t.oid, ordered).Scan(&names)
	if errors.Is(err, pgx.ErrNoRows) {
		t.key = nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("find a key of %s: %w", t.ident(), err)
	}
	t.key = nil
	for _, name := range names {
		c, ok := t.column(name)
		if !ok {
			return fmt.Errorf("find a key of %s: no column %q", t.ident(), name)
		}
		t.key = append(t.key, c)
	}
	return nil
}
