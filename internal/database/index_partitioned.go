package database

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// partitioned is an index of a partitioned table, which cannot be built
// concurrently: it is declared on the table alone, invalid, and becomes valid
// when each partition has one of its own that is attached to it. A partition
// that is added meanwhile gets its own at once, because the table has its
// already.
type partitioned struct {
	w  work
	t  table
	ix indexSpec
	// constraint tells that a unique constraint is wanted, which each partition
	// then has, too.
	constraint bool
}

// member is a table of the partition tree.
type member struct {
	table
	parent uint32 // 0 for the root
}

// tree are the tables of a partition tree, each after its parent.
func (s *session) tree(ctx context.Context, t table) ([]member, error) {
	rows, err := s.Query(ctx, `
		select c.oid, n.nspname, c.relname, c.relkind::text, case when p.level > 0 then p.parentrelid::oid else 0::oid end
		from pg_partition_tree($1) p join pg_class c on c.oid = p.relid join pg_namespace n on n.oid = c.relnamespace
		order by p.level, c.oid`, t.oid)
	if err != nil {
		return nil, fmt.Errorf("read the partitions of %s: %w", t.ident(), err)
	}
	members, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m member, err error) {
		err = row.Scan(&m.oid, &m.schema, &m.name, &m.kind, &m.parent)
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the partitions of %s: %w", t.ident(), err)
	}
	return members, nil
}

// partitions refuses what cannot be indexed part by part: a foreign table among
// the partitions, and a unique index without the columns that decide which
// partition a row is in.
func (i *inspector) partitions(ctx context.Context, what string, ix indexSpec) error {
	members, err := i.s.tree(ctx, i.t)
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.kind == "f" {
			i.refuse("%s: partition %s is a foreign table", what, m.ident())
		}
		if m.kind != "p" || !ix.unique {
			continue
		}
		var missing []string
		var expression bool
		err := i.s.QueryRow(ctx, `
			select array(select quote_ident(a.attname) from unnest(partattrs::int2[]) k join pg_attribute a on a.attrelid = partrelid and a.attnum = k where quote_ident(a.attname) <> all($2)),
			  0 = any(partattrs::int2[]) from pg_partitioned_table where partrelid = $1`, m.oid, ix.parts).Scan(&missing, &expression)
		if err != nil {
			return fmt.Errorf("read how %s is partitioned: %w", m.ident(), err)
		}
		switch {
		case expression:
			i.refuse("%s: table %s is partitioned by an expression, which no unique index can hold", what, m.ident())
		case len(missing) > 0:
			i.refuse("%s: table %s is partitioned by %s, which a unique index must hold", what, m.ident(), comma(missing))
		}
	}
	return nil
}

// of is the index that a member has, or is to have.
func (p partitioned) of(m member) indexSpec {
	ix := p.ix
	if m.parent != 0 {
		ix.name = fitted(m.name, p.ix.name)
	}
	return ix
}

// ensure builds what is missing. It begins anew when partitions were added or
// removed meanwhile.
func (p partitioned) ensure(ctx context.Context) error {
	for range p.w.db.options.Attempts {
		members, err := p.w.s.tree(ctx, p.t)
		if err != nil {
			return err
		}
		names := map[uint32]string{} // of each table's index
		for _, m := range members {
			if names[m.oid], err = p.member(ctx, m, names[m.parent]); err != nil {
				return err
			}
		}
		found, err := p.w.s.findIndex(ctx, p.w.s, p.t, p.ix.name)
		if err != nil || found.valid {
			return err
		}
	}
	return fmt.Errorf("index %s of the partitioned table %s is still invalid: partitions come and go", ident(p.ix.name), p.t.ident())
}

// member gives one table of the tree its index, attached to its parent's, and
// gives the index's qualified name.
func (p partitioned) member(ctx context.Context, m member, parent string) (string, error) {
	ix := p.of(m)
	name := pgx.Identifier{m.schema, ix.name}.Sanitize()
	if parent != "" {
		attached, is, err := p.attached(ctx, m, parent)
		if err != nil || is {
			return attached, err
		}
	}
	found, err := p.w.s.findIndex(ctx, p.w.s, m.table, ix.name)
	switch {
	case err != nil:
		return "", err
	case found.there() && !found.like(m.table, ix):
		return "", &RefusedError{Change: p.w.change.ID, Reasons: []string{fmt.Sprintf("index %s is there already, and another one", name)}, Remedy: "give the index another name"}
	case m.kind == "p" && !found.there():
		err = p.w.alterAlone(ctx, m.table, p.declare(m, ix))
	case m.kind != "p" && !found.valid:
		err = p.w.ensureIndex(ctx, m.table, ix)
	}
	if err == nil && m.kind != "p" && p.constraint && found.constraint == "" {
		err = p.w.alter(ctx, m.table, fmt.Sprintf("alter table %s add constraint %s unique using index %[2]s", m.ident(), ident(ix.name)))
	}
	if err == nil && parent != "" {
		err = p.w.alterAlone(ctx, m.table, fmt.Sprintf("alter index %s attach partition %s", parent, name))
	}
	return name, err
}

// declare is the statement that gives a partitioned table its index alone.
func (p partitioned) declare(m member, ix indexSpec) string {
	if p.constraint {
		return fmt.Sprintf("alter table only %s add constraint %s unique (%s)", m.ident(), ident(ix.name), comma(ix.parts))
	}
	return ix.create("", "only "+m.ident())
}

// attached is the index of a table that is attached to its parent's.
func (p partitioned) attached(ctx context.Context, m member, parent string) (name string, is bool, err error) {
	rows, err := p.w.s.Query(ctx, `
		select format('%I.%I', n.nspname, c.relname) from pg_inherits h join pg_index i on i.indexrelid = h.inhrelid
		join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
		where h.inhparent = $1::regclass and i.indrelid = $2`, parent, m.oid)
	if err != nil {
		return "", false, fmt.Errorf("look for the index of %s: %w", m.ident(), err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return "", false, fmt.Errorf("look for the index of %s: %w", m.ident(), err)
	}
	if len(names) == 0 {
		return "", false, nil
	}
	return names[0], true, nil
}

// remove takes back what ensure did, wholly or in part: the table's index with
// all that is attached to it, then what was not attached yet.
func (p partitioned) remove(ctx context.Context) error {
	members, err := p.w.s.tree(ctx, p.t)
	if err != nil {
		return err
	}
	for _, m := range slices.Concat(members[:1], members) {
		ix := p.of(m)
		found, err := p.w.s.findIndex(ctx, p.w.s, m.table, ix.name)
		if err != nil {
			return err
		}
		name := pgx.Identifier{m.schema, ix.name}.Sanitize()
		switch {
		case !found.like(m.table, ix) || found.parent != 0:
		case found.constraint != "" && p.constraint:
			err = p.w.alter(ctx, m.table, fmt.Sprintf("alter table %s drop constraint %s", m.ident(), ident(found.constraint)))
		case found.constraint != "":
		case m.kind == "p":
			err = p.w.alter(ctx, m.table, "drop index "+name)
		default:
			err = p.w.concurrently(ctx, name, "drop index concurrently "+name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
