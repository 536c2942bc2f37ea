-- Functions that hang on columns ($2) of a table ($1), by the catalogue where
-- their bodies were parsed, and by their words (the columns' names $3, the
-- table's $4) where they are text. It reads every function there is, which is
-- too slow for doing it under a lock.
with target as (
  select attrelid, attnum from pg_attribute where attrelid = $1 and attname = any($2) and not attisdropped),
hanging as (
  select d.objid from pg_depend d join target on d.refobjid = attrelid and d.refobjsubid = attnum
  where d.refclassid = 'pg_class'::regclass and d.classid = 'pg_proc'::regclass),
word as (select '\m' || regexp_replace(name, '(\W)', '\\\1', 'g') || '\M' as pattern from unnest($3::text[]) name)
select 'function', p.oid::regprocedure::text, rtrim(pg_get_functiondef(p.oid)) ||
    coalesce(format(E';\ncomment on %s %s is ', k.kind, p.oid::regprocedure) || quote_literal(obj_description(p.oid, 'pg_proc')), '') ||
    case when p.proacl is null then '' else format(E';\nrevoke all on %s %s from public', k.kind, p.oid::regprocedure) ||
      coalesce((select string_agg(format(E';\ngrant execute on %s %s to %s', k.kind, p.oid::regprocedure,
          case x.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end), '' order by x.grantee)
        from aclexplode(p.proacl) x where x.grantee <> p.proowner), '') end, 'blocks'
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
cross join lateral (select case p.prokind when 'p' then 'procedure' else 'function' end as kind) k
where n.nspname not in ('pg_catalog', 'information_schema', 'gapless') and p.prokind in ('f', 'p')
  and (p.oid in (select objid from hanging)
    or exists (select from word where p.prosrc ~* pattern)
      and (p.prosrc ~* ('\m' || regexp_replace($4, '(\W)', '\\\1', 'g') || '\M')
        -- A trigger function of the table names columns without naming it.
        or exists (select from pg_trigger t where t.tgfoid = p.oid and t.tgrelid = $1)))
order by 2
