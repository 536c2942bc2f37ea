-- What hangs on columns ($2, which a change calls $3) of a table ($1) and its
-- partitions by the catalogue's own dependencies, each with what would make it again. Gapless's
-- own is left out. fate: dropped goes with the column without a word; blocks
-- keeps the column from being dropped, or would lose something else.
with recursive family as (
  select $1::oid as oid union all select i.inhrelid from pg_inherits i join family f on f.oid = i.inhparent),
target as (
  select a.attrelid, a.attnum, x.label from pg_attribute a join family f on f.oid = a.attrelid
  join unnest($2::text[], $3::text[]) x(stored, label) on a.attname = x.stored where not a.attisdropped),
hanging as (
  select distinct d.classid, d.objid, d.objsubid from pg_depend d join target on d.refobjid = attrelid and d.refobjsubid = attnum
  where d.refclassid = 'pg_class'::regclass),
relation as (
  select c.oid, c.relkind, c.relowner, c.relacl, c.reloptions, format('%I.%I', n.nspname, c.relname) as name,
    case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' when 'i' then 'index' when 'I' then 'index' else 'table' end as kind
  from pg_class c join pg_namespace n on n.oid = c.relnamespace),
extra as (  -- of a relation: its comment and who may use it
  select r.oid, coalesce(format(E';\ncomment on %s %s is ', r.kind, r.name) || quote_literal(obj_description(r.oid, 'pg_class')), '') ||
    coalesce((select string_agg(format(E';\ngrant %s on %s to %s', lower(x.privilege_type), case r.kind when 'sequence' then 'sequence ' else '' end || r.name,
        case x.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end || case when x.is_grantable then ' with grant option' else '' end), '' order by x.grantee, x.privilege_type)
      from aclexplode(r.relacl) x where x.grantee <> r.relowner), '') as text
  from relation r),
found as (
  select 'index' as kind, r.name, pg_get_indexdef(r.oid) || e.text as definition,
    case when x.indisreplident then 'blocks' else 'dropped' end as fate
  from hanging h join relation r on r.oid = h.objid and r.relkind in ('i', 'I') join pg_index x on x.indexrelid = r.oid join extra e on e.oid = r.oid
  where h.classid = 'pg_class'::regclass and not exists (select from pg_constraint k where k.conindid = r.oid and k.conrelid = x.indrelid)
    and not exists (select from pg_inherits i where i.inhrelid = r.oid)  -- one of a partition goes with the table's
  union
  select case when r.relkind in ('v', 'm') then r.kind else 'rule' end,
    case when r.relkind in ('v', 'm') then r.name else format('%I on %s', w.rulename, r.name) end,
    case when r.relkind in ('v', 'm') then format('create %s %s%s as%s%s%s', r.kind, r.name, ' with (' || array_to_string(r.reloptions, ', ') || ')',
        E'\n' || rtrim(pg_get_viewdef(r.oid), ';'), e.text,
        (select string_agg(E';\n' || pg_get_indexdef(i.indexrelid), '' order by i.indexrelid) from pg_index i where i.indrelid = r.oid))
      else rtrim(pg_get_ruledef(w.oid), ';') end, 'blocks'
  from hanging h join pg_rewrite w on w.oid = h.objid join relation r on r.oid = w.ev_class join extra e on e.oid = r.oid
  where h.classid = 'pg_rewrite'::regclass
  union
  -- A constraint of the table goes with any of its columns; another table's would be lost there.
  select 'constraint', format('%I on %s', k.conname, r.name),
    case when k.contype = 'u' and r.kind = 'table' and r.relkind = 'r' and k.conparentid = 0 then
      -- Its index first, which can be built without blocking writers.
      pg_get_indexdef(k.conindid) || format(E';\nalter table %s add constraint %I unique using index %I%s%s', r.name, k.conname, k.conname,
        case when k.condeferrable then ' deferrable' else '' end, case when k.condeferred then ' initially deferred' else '' end)
    else format('alter table %s add constraint %I %s', r.name, k.conname, pg_get_constraintdef(k.oid)) end || coalesce(
      format(E';\ncomment on constraint %I on %s is ', k.conname, r.name) || quote_literal(obj_description(k.oid, 'pg_constraint')), ''),
    case when k.contype = 'p' or k.conrelid not in (select oid from family)
      or exists (select from pg_index x where x.indexrelid = k.conindid and x.indisreplident and k.contype in ('u', 'x')) then 'blocks' else 'dropped' end
  from hanging h join pg_constraint k on k.oid = h.objid join relation r on r.oid = k.conrelid
  where h.classid = 'pg_constraint'::regclass and k.contype <> 'n' and k.conparentid = 0
    and (k.coninhcount = 0 or k.conrelid = $1)
  union
  select 'trigger', format('%I on %s', t.tgname, r.name), pg_get_triggerdef(t.oid), 'blocks'
  from hanging h join pg_trigger t on t.oid = h.objid join relation r on r.oid = t.tgrelid
  where h.classid = 'pg_trigger'::regclass and t.tgname not like '~gapless\_%' and t.tgparentid = 0
  union
  select 'policy', format('%I on %s', p.polname, r.name),
    format('create policy %I on %s as %s for %s to %s%s%s', p.polname, r.name, case when p.polpermissive then 'permissive' else 'restrictive' end,
      case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
      (select string_agg(case role when 0 then 'public' else quote_ident(pg_get_userbyid(role)) end, ', ') from unnest(p.polroles) role),
      ' using (' || pg_get_expr(p.polqual, p.polrelid) || ')', ' with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'), 'blocks'
  from hanging h join pg_policy p on p.oid = h.objid join relation r on r.oid = p.polrelid where h.classid = 'pg_policy'::regclass
  union
  select 'statistics', format('%I.%I', n.nspname, s.stxname), pg_get_statisticsobjdef(s.oid), 'dropped'
  from hanging h join pg_statistic_ext s on s.oid = h.objid join pg_namespace n on n.oid = s.stxnamespace
  where h.classid = 'pg_statistic_ext'::regclass
  union
  -- Before 15 a generated column depends by itself, and would go without a word.
  select 'generated column', format('%I of %s', a.attname, r.name),
    format('alter table %s add column %I %s generated always as (%s) %s', r.name, a.attname, format_type(a.atttypid, a.atttypmod),
      pg_get_expr(d.adbin, d.adrelid), case a.attgenerated when 'v' then 'virtual' else 'stored' end), 'blocks'
  from hanging h join pg_attrdef d on h.classid = 'pg_attrdef'::regclass and d.oid = h.objid or h.classid = 'pg_class'::regclass and d.adrelid = h.objid and d.adnum = h.objsubid
  join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum join relation r on r.oid = d.adrelid
  where a.attgenerated <> '' and (d.adrelid, d.adnum) not in (select attrelid, attnum from target)
    and (a.attinhcount = 0 or d.adrelid = $1)
  union
  -- A sequence that the column owns goes with it, unless something else counts on it.
  select 'sequence', r.name, format('create sequence %s as %s increment by %s minvalue %s maxvalue %s start with %s cache %s%s%s', r.name, format_type(s.seqtypid, null),
      s.seqincrement, s.seqmin, s.seqmax, s.seqstart, s.seqcache, case when s.seqcycle then ' cycle' else '' end,
      E';\nselect setval(' || quote_literal(r.name) || ', ' || pg_sequence_last_value(r.oid) || ')') || e.text,
    case when exists (select from pg_depend o where o.refclassid = 'pg_class'::regclass and o.refobjid = r.oid and o.deptype = 'n'
      and not (o.classid = 'pg_attrdef'::regclass and o.objid in (select d.oid from pg_attrdef d join target on d.adrelid = attrelid and d.adnum = attnum)))
      then 'blocks' else 'dropped' end
  from hanging h join relation r on r.oid = h.objid and r.relkind = 'S' join pg_sequence s on s.seqrelid = r.oid join extra e on e.oid = r.oid
  where h.classid = 'pg_class'::regclass
  union
  select 'sequence''s owner', r.name, format('alter sequence %s owned by %s.%I', r.name, (select name from relation where oid = $1), t.label), 'dropped'
  from target t join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = t.attrelid and d.refobjsubid = t.attnum and d.deptype = 'a'
  join relation r on d.classid = 'pg_class'::regclass and r.oid = d.objid and r.relkind = 'S' where t.attrelid = $1
  union
  select 'publication', format('%I of %s', pb.pubname, r.name),
    (select format('alter publication %I add table %s%s%s', pb.pubname, r.name,
       ' (' || (select string_agg(quote_ident(x), ', ') from jsonb_array_elements_text(to_jsonb(v)->'attnames') x) || ')', ' where (' || (to_jsonb(v)->>'rowfilter') || ')')
     from pg_publication_tables v where v.pubname = pb.pubname and format('%I.%I', v.schemaname, v.tablename) = r.name limit 1), 'blocks'
  from hanging h join pg_publication_rel pr on pr.oid = h.objid join pg_publication pb on pb.oid = pr.prpubid join relation r on r.oid = pr.prrelid
  where h.classid = 'pg_publication_rel'::regclass
  union
  select 'default', format('of column %I', label), format('alter table %s alter column %I set default %s', r.name, label, pg_get_expr(d.adbin, d.adrelid)), 'dropped'
  from target join pg_attrdef d on d.adrelid = attrelid and d.adnum = target.attnum join relation r on r.oid = attrelid where attrelid = $1
)
select kind, name, coalesce(definition, ''), fate from found order by kind, name
