package database

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// hangingQuery finds what depends on an object ($1: its catalogue, $2: its OID)
// or on what is part of it: a table's indexes, its row type, its own sequences.
const hangingQuery = `
with recursive own(classid, objid) as (
  select $1::text::regclass::oid, $2::oid
  union
  select d.classid, d.objid from own join pg_depend d on d.refclassid = own.classid and d.refobjid = own.objid
  where d.deptype in ('a', 'i')
    and not exists (select from pg_class c where d.classid = 'pg_class'::regclass and c.oid = d.objid and c.relkind not in ('i', 'I', 'S', 't', 'c'))),
hanging as (
  select distinct d.classid, d.objid, d.objsubid from own join pg_depend d on d.refclassid = own.classid and d.refobjid = own.objid
  where d.deptype = 'n' and (d.classid, d.objid) not in (select classid, objid from own))
select case r.relkind when 'm' then 'materialized view' when 'v' then 'view' else 'rule of table' end as kind,
  format('%I.%I', n.nspname, r.relname) as name, r.oid as oid
from hanging h join pg_rewrite w on w.oid = h.objid join pg_class r on r.oid = w.ev_class join pg_namespace n on n.oid = r.relnamespace
where h.classid = 'pg_rewrite'::regclass
union
select case k.contype when 'f' then 'foreign key' else 'constraint' end, format('%I of %s', k.conname, coalesce(nullif(k.conrelid, 0)::regclass::text, k.contypid::regtype::text)), k.oid
from hanging h join pg_constraint k on k.oid = h.objid where h.classid = 'pg_constraint'::regclass
union
select i.type, i.identity, h.objid
from hanging h cross join lateral pg_identify_object(h.classid, h.objid, h.objsubid) i
where h.classid not in ('pg_rewrite'::regclass, 'pg_constraint'::regclass)
union
select 'table', c.oid::regclass::text, c.oid from pg_inherits i join pg_class c on c.oid in (i.inhrelid, i.inhparent)
where $2 in (i.inhrelid, i.inhparent) and c.oid <> $2 and $1 = 'pg_class'
order by 1, 2`

// namingQuery finds functions whose text names an object by itself or after its
// schema. It does not take strings and comments for less: what dynamic SQL puts
// together cannot be seen at all.
const namingQuery = `
select 'function', p.oid::regprocedure::text, p.oid
from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
where n.nspname not in ('pg_catalog', 'information_schema', 'gapless') and l.lanname not in ('c', 'internal')
  and p.prosqlbody is null and p.oid <> $3
  and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
  and p.prosrc ~* format('(^|[^."\w]|\m%s"?\.)"?%s"?(?!\w)', regexp_replace($1, '(\W)', '\\\1', 'g'), regexp_replace($2, '(\W)', '\\\1', 'g'))
order by 2`

// hanger is something that depends on what is to go.
type hanger struct {
	kind, name string
	oid        uint32
}

func (h hanger) String() string { return h.kind + " " + h.name }

// catalogue is where an object has its OID.
type catalogue string

const (
	inClass catalogue = "pg_class"
	inProc  catalogue = "pg_proc"
)

// target is an object that is to go, under the name by which others call it.
type target struct {
	in           catalogue
	oid          uint32
	schema, name string
}

func (o named) target() target { return target{inClass, o.oid, o.schema, o.name} }

// hanging is what depends on an object by the catalogue and, with bodies, what
// names it in a function: that reads every function there is, which is too slow
// for doing it under a lock.
func hanging(ctx context.Context, q querier, t target, bodies bool) ([]hanger, error) {
	found, err := hangers(ctx, q, hangingQuery, string(t.in), t.oid)
	if err == nil && bodies {
		self := uint32(0)
		if t.in == inProc {
			self = t.oid
		}
		var naming []hanger
		naming, err = hangers(ctx, q, namingQuery, t.schema, t.name, self)
		found = append(found, slices.DeleteFunc(naming, func(h hanger) bool { return slices.Contains(found, h) })...)
	}
	if err != nil {
		return nil, fmt.Errorf("look for what depends on %s: %w", pgx.Identifier{t.schema, t.name}.Sanitize(), err)
	}
	return found, nil
}

func hangers(ctx context.Context, q querier, query string, args ...any) ([]hanger, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (h hanger, err error) {
		return h, row.Scan(&h.kind, &h.name, &h.oid)
	})
}

// free refuses while anything depends on an object that is to go.
func (w work) free(ctx context.Context, q querier, t target, bodies bool) error {
	found, err := hanging(ctx, q, t, bodies)
	if err != nil || len(found) == 0 {
		return err
	}
	names := make([]string, len(found))
	for i, h := range found {
		names[i] = h.String()
	}
	return w.refused("change or drop what needs it first; gapless drops nothing that it did not name",
		"%s is needed by %s", pgx.Identifier{t.schema, t.name}.Sanitize(), strings.Join(names, ", "))
}

// drops tells what an operation of contract drops, with the definition that an
// approval is bound to, and what stands in its way.
func (i *inspector) drops(ctx context.Context, o change.Operation, d doomed) error {
	if d.definition != "" {
		i.touches(d.definition)
	}
	i.facts.Dependents = append(i.facts.Dependents, change.Dependent{Kind: d.kind, Name: d.label, Definition: d.definition, Fate: change.Dropped})
	found, err := hanging(ctx, i.s, d.target, true)
	if err != nil {
		return err
	}
	gone, err := i.goneBefore(ctx, o)
	if err != nil {
		return err
	}
	for _, h := range found {
		if slices.Contains(gone, h.String()) {
			continue
		}
		i.facts.Dependents = append(i.facts.Dependents, change.Dependent{Kind: h.kind, Name: h.name, Fate: change.Blocks})
		i.warn("contract waits for %s to let go of %s %s", h, d.kind, d.label)
	}
	return nil
}

// goneBefore are the objects that contract drops by name before an operation.
func (i *inspector) goneBefore(ctx context.Context, o change.Operation) ([]string, error) {
	before := i.c
	before.Contract = i.c.Contract[:max(slices.Index(i.c.Contract, o), 0)]
	return i.s.droppedByName(ctx, i.s, before, i.t)
}
