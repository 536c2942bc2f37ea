package database

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// grantsQuery gives the privileges on a relation ($1) and its columns, written
// for a name ($2), but for those of one role ($3).
const grantsQuery = `
select format('grant %s%s on %s to %s%s', lower(g.privilege_type), ' (' || quote_ident(g.attname) || ')', $2::text,
  case when g.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end, case when g.is_grantable then ' with grant option' end)
from (
  select x.*, null::name as attname from pg_class c
  cross join lateral aclexplode(coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner))) x where c.oid = $1
  union all
  select x.*, a.attname from pg_attribute a cross join lateral aclexplode(a.attacl) x
  where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped) g
where g.grantee <> $3
order by g.attname nulls first, 1`

// grants are the statements that give all but one role the privileges that they
// have on a relation, on another of the same columns.
func grants(ctx context.Context, q querier, oid uint32, on string, but uint32) ([]string, error) {
	return lines(ctx, q, "read who may use "+on, grantsQuery, oid, on, but)
}

// lines collects a query's rows of one text.
func lines(ctx context.Context, q querier, what, query string, args ...any) ([]string, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return all, nil
}

// revocationsQuery revokes what others than its owner may do with a relation and
// with sequences of its own.
const revocationsQuery = `
select distinct format('revoke all on %s from %s cascade', o.oid::regclass, case when x.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end)
from (select $1::oid as oid union select d.objid from pg_depend d join pg_class c on c.oid = d.objid and c.relkind = 'S'
  where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = $1 and d.deptype in ('a', 'i')) o
join pg_class c on c.oid = o.oid
cross join lateral (select grantee from aclexplode(c.relacl) union
  select k.grantee from pg_attribute a cross join lateral aclexplode(a.attacl) k where a.attrelid = c.oid) x
where x.grantee <> c.relowner order by 1`

// revocations are the statements that keep a relation to its owner.
func revocations(ctx context.Context, q querier, oid uint32, name string) ([]string, error) {
	return lines(ctx, q, "read who may use "+name, revocationsQuery, oid)
}

// ownerOf is the role that owns a relation.
func ownerOf(ctx context.Context, q querier, oid uint32) (role uint32, err error) {
	if err := q.QueryRow(ctx, `select relowner from pg_class where oid = $1`, oid).Scan(&role); err != nil {
		return 0, fmt.Errorf("look for the owner of relation %d: %w", oid, err)
	}
	return role, nil
}

// viewQuery gives the statements that would make a view ($1) again, named $2.
const viewQuery = `
with v as (
  select c.oid, c.relkind, c.relowner, case c.relkind when 'm' then 'materialized view' else 'view' end as kind,
    coalesce(' with (' || array_to_string(c.reloptions, ', ') || ')', '') as options
  from pg_class c where c.oid = $1)
select statement from (
  select 1 as n, '' as k, format('create %s %s%s as %s', kind, $2::text, options, rtrim(pg_get_viewdef(oid), ';')) as statement from v
  union all select 2, '', format('alter %s %s owner to %I', kind, $2::text, pg_get_userbyid(relowner)) from v
  union all select 3, a.attname, format('alter view %s alter column %I set default %s', $2::text, a.attname, pg_get_expr(d.adbin, d.adrelid))
    from v join pg_attrdef d on d.adrelid = v.oid join pg_attribute a on a.attrelid = v.oid and a.attnum = d.adnum
  union all select 4, '', pg_get_indexdef(i.indexrelid) from v join pg_index i on i.indrelid = v.oid
  union all select 5, w.rulename, rtrim(pg_get_ruledef(w.oid), ';') from v join pg_rewrite w on w.ev_class = v.oid and w.rulename <> '_RETURN'
  union all select 6, t.tgname, pg_get_triggerdef(t.oid) from v join pg_trigger t on t.tgrelid = v.oid and not t.tgisinternal
  union all select 7, '', format('comment on %s %s is %L', kind, $2::text, d.description)
    from v join pg_description d on d.objoid = v.oid and d.classoid = 'pg_class'::regclass and d.objsubid = 0
  union all select 8, a.attname, format('comment on column %s.%I is %L', $2::text, a.attname, d.description)
    from v join pg_description d on d.objoid = v.oid and d.classoid = 'pg_class'::regclass
    join pg_attribute a on a.attrelid = v.oid and a.attnum = d.objsubid and a.attnum > 0
) as all_of_it order by n, k, statement`

// viewDefinition is what would make a view again, the statement that makes it
// first, with all that hangs on it and who may use it.
func viewDefinition(ctx context.Context, q querier, v named) ([]string, error) {
	statements, err := lines(ctx, q, "read the definition of "+v.ident(), viewQuery, v.oid, v.ident())
	if err != nil {
		return nil, err
	}
	owner, err := ownerOf(ctx, q, v.oid)
	if err != nil {
		return nil, err
	}
	more, err := grants(ctx, q, v.oid, v.ident(), owner)
	return append(statements, more...), err
}

// script is statements as a person would run them.
func script(statements []string) string { return strings.Join(statements, ";\n") + ";" }

// keep archives what would make an object again. What was archived of it by an
// attempt before is replaced.
func (w work) keep(ctx context.Context, tx pgx.Tx, kind, name, definition string) error {
	_, err := tx.Exec(ctx, `insert into gapless.archived_definition (change, kind, name, definition) values ($1, $2, $3, $4)
		on conflict (change, kind, name) do update set definition = excluded.definition, at = clock_timestamp()`, w.change.ID, kind, name, definition)
	if err != nil {
		return fmt.Errorf("archive the definition of %s %s: %w", kind, name, err)
	}
	return nil
}
