package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// dependentsQuery finds, for columns ($2) of a table ($1), what hangs on them by
// the catalogue's own dependencies. Gapless's own is left out.
const dependentsQuery = `
with target as (
  select attrelid, attnum, attname::text from pg_attribute
  where attrelid = $1 and attname = any($2) and not attisdropped),
hanging as (
  select distinct d.classid, d.objid, d.objsubid from pg_depend d join target on d.refobjid = attrelid and d.refobjsubid = attnum
  where d.refclassid = 'pg_class'::regclass),
found as (
  select 'index' as kind, format('%I.%I', n.nspname, c.relname) as name, pg_get_indexdef(c.oid) as definition,
    case when exists (select from pg_constraint k where k.conindid = c.oid and k.conrelid = $1) then null else 'dropped' end as fate
  from hanging h join pg_class c on c.oid = h.objid and c.relkind = 'i' join pg_namespace n on n.oid = c.relnamespace
  where h.classid = 'pg_class'::regclass
  union
  select case r.relkind when 'm' then 'materialized view' when 'v' then 'view' else 'rule' end, format('%I.%I', n.nspname, r.relname),
    case when r.relkind in ('v', 'm') then pg_get_viewdef(r.oid) else pg_get_ruledef(w.oid) end, 'blocks'
  from hanging h join pg_rewrite w on w.oid = h.objid join pg_class r on r.oid = w.ev_class join pg_namespace n on n.oid = r.relnamespace
  where h.classid = 'pg_rewrite'::regclass
  union
  -- A constraint of the table on columns that all go, goes with them. Any other would take something else along.
  select 'constraint', format('%I on %s', k.conname, k.conrelid::regclass), pg_get_constraintdef(k.oid),
    case when k.contype = 'p' or k.conrelid <> $1 then 'blocks' else 'dropped' end
  from hanging h join pg_constraint k on k.oid = h.objid
  where h.classid = 'pg_constraint'::regclass and k.contype <> 'n'
  union
  select 'trigger', format('%I on %s', t.tgname, t.tgrelid::regclass), pg_get_triggerdef(t.oid), 'blocks'
  from hanging h join pg_trigger t on t.oid = h.objid
  where h.classid = 'pg_trigger'::regclass and t.tgname not like '~gapless\_%'
  union
  select 'policy', format('%I on %s', p.polname, p.polrelid::regclass), coalesce(pg_get_expr(p.polqual, p.polrelid), ''), 'blocks'
  from hanging h join pg_policy p on p.oid = h.objid where h.classid = 'pg_policy'::regclass
  union
  select 'statistics', format('%I.%I', n.nspname, s.stxname), pg_get_statisticsobjdef(s.oid), 'dropped'
  from hanging h join pg_statistic_ext s on s.oid = h.objid join pg_namespace n on n.oid = s.stxnamespace
  where h.classid = 'pg_statistic_ext'::regclass
  union
  select 'generated column', format('%I of %s', a.attname, d.adrelid::regclass), pg_get_expr(d.adbin, d.adrelid), 'blocks'
  from hanging h join pg_attrdef d on d.oid = h.objid join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
  where h.classid = 'pg_attrdef'::regclass and (d.adrelid, d.adnum) not in (select attrelid, attnum from target)
  union
  -- Before 15 a generated column depends by itself, and would go without a word.
  select 'generated column', format('%I of %s', a.attname, a.attrelid::regclass), pg_get_expr(d.adbin, d.adrelid), 'blocks'
  from hanging h join pg_attribute a on a.attrelid = h.objid and a.attnum = h.objsubid and a.attgenerated <> ''
  join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where h.classid = 'pg_class'::regclass
  union
  select 'sequence', c.oid::regclass::text, '', 'blocks'
  from hanging h join pg_class c on c.oid = h.objid and c.relkind = 'S' where h.classid = 'pg_class'::regclass
  union
  select 'publication', pb.pubname::text, '', 'blocks'
  from hanging h join pg_publication_rel pr on pr.oid = h.objid join pg_publication pb on pb.oid = pr.prpubid
  where h.classid = 'pg_publication_rel'::regclass
  union
  select 'default', format('of column %I', attname), pg_get_expr(d.adbin, d.adrelid), 'dropped'
  from target join pg_attrdef d on d.adrelid = attrelid and d.adnum = target.attnum
)
select kind, name, definition, fate from found where fate is not null order by kind, name`

// bodiesQuery finds functions that hang on the columns, by the catalogue where
// their bodies were parsed and by their words where they are text. It reads
// every function there is, which is too slow for doing it under a lock.
const bodiesQuery = `
with target as (
  select attrelid, attnum, '\m' || regexp_replace(attname, '(\W)', '\\\1', 'g') || '\M' as word from pg_attribute
  where attrelid = $1 and attname = any($2) and not attisdropped),
hanging as (
  select d.objid from pg_depend d join target on d.refobjid = attrelid and d.refobjsubid = attnum
  where d.refclassid = 'pg_class'::regclass and d.classid = 'pg_proc'::regclass)
select 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid), 'blocks'
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname not in ('pg_catalog', 'information_schema', 'gapless') and p.prokind in ('f', 'p')
  and (p.oid in (select objid from hanging)
    or exists (select from target where p.prosrc ~* word)
      and (p.prosrc ~* ('\m' || regexp_replace($3, '(\W)', '\\\1', 'g') || '\M')
        -- A trigger function of the table names columns without naming it.
        or exists (select from pg_trigger t where t.tgfoid = p.oid and t.tgrelid = $1)))
order by 2`

// dependents are the objects that hang on columns, those that contract takes
// along and those that block it; with bodies also the functions that seem to.
// What dynamic SQL names cannot be seen.
func (s *session) dependents(ctx context.Context, q querier, t table, columns []string, bodies bool) ([]change.Dependent, error) {
	found, err := dependentsBy(ctx, q, dependentsQuery, t.oid, columns)
	if err == nil && bodies {
		var functions []change.Dependent
		functions, err = dependentsBy(ctx, q, bodiesQuery, t.oid, columns, t.name)
		found = append(found, functions...)
	}
	if err != nil {
		return nil, fmt.Errorf("look for what depends on %s: %w", t.ident(), err)
	}
	return found, nil
}

func dependentsBy(ctx context.Context, q querier, query string, args ...any) ([]change.Dependent, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (change.Dependent, error) {
		var d change.Dependent
		err := row.Scan(&d.Kind, &d.Name, &d.Definition, &d.Fate)
		return d, err
	})
}
