package database

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// dropConstraint drops a check, a unique constraint or a foreign key, and keeps
// its definition. In expand it can be added again.
type dropConstraint struct{}

// What is kept of a constraint: its definition, and for a unique one its index
// from USING on.
const (
	archivedConstraint = "constraint"
	archivedTail       = "index of constraint"
)

// constraintName is the name under which a constraint is kept.
func constraintName(t table, name string) string { return ident(name) + " on " + t.ident() }

func (dropConstraint) look(ctx context.Context, i *inspector, o change.Operation) error {
	if !i.there() {
		return nil
	}
	name := o.DropConstraint.Name
	what := fmt.Sprintf("drop_constraint %q", name)
	there, err := i.s.findConstraint(ctx, i.s, i.t, name)
	switch {
	case err != nil:
		return err
	case !there.there():
		if !i.begun() {
			i.refuse("%s: table %s has no constraint of this name", what, i.t.ident())
		}
		return nil
	case there.inherited:
		i.refuse("%s: table %s has it from the table that it is a part of", what, i.t.ident())
		return nil
	}
	if !i.expands(o) {
		i.facts.Dependents = append(i.facts.Dependents, change.Dependent{Kind: archivedConstraint, Name: constraintName(i.t, name), Definition: there.definition, Fate: change.Dropped})
	}
	switch there.kind {
	case "c":
	case "f":
		return i.droppedForeignKey(ctx, what, o)
	case "u":
		return i.droppedUnique(ctx, what, there, o)
	case "n":
		i.refuse("%s: it keeps NULL out of column %s; use drop_not_null", what, comma(there.columns))
	default:
		i.refuse("%s: it is neither a check nor a unique constraint nor a foreign key", what)
	}
	return nil
}

// expands tells whether an operation stands in expand, and so must have a way
// back.
func (i *inspector) expands(o change.Operation) bool {
	return slices.ContainsFunc(i.c.Expand, func(e change.Operation) bool { return e == o })
}

func (i *inspector) droppedForeignKey(ctx context.Context, what string, o change.Operation) error {
	major, err := i.s.major(ctx, i.s)
	if err != nil {
		return err
	}
	if i.expands(o) && i.t.kind == "p" && major < partitionedForeignKey {
		i.refuse("%s: table %s is partitioned; before PostgreSQL %d its foreign keys can be added again only while nobody can write; move it to contract", what, i.t.ident(), partitionedForeignKey)
	}
	return nil
}

func (i *inspector) droppedUnique(ctx context.Context, what string, there constraint, o change.Operation) error {
	if i.expands(o) && i.t.kind == "p" {
		i.refuse("%s: table %s is partitioned, and its partitions' indexes could not be built again under their names; move it to contract", what, i.t.ident())
	}
	if i.expands(o) { // it must have a way back
		if err := i.mayIndex(ctx, what); err != nil {
			return err
		}
	}
	i.warn("%s: a statement whose ON CONFLICT names it, or its columns, fails from then on", what)
	return i.indexNeeded(ctx, what, there.index)
}

// indexNeeded refuses to drop an index that something else needs.
func (i *inspector) indexNeeded(ctx context.Context, what string, index uint32) error {
	var by []string
	var identity bool
	var columns []string
	err := i.s.QueryRow(ctx, `
		select array(select format('%I on %s', conname, conrelid::regclass) from pg_constraint where conindid = i.indexrelid and contype = 'f' order by 1),
		  i.indisreplident,
		  array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality k(attnum, n) join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
		    where k.n <= i.indnkeyatts order by k.n)
		from pg_index i where i.indexrelid = $1`, index).Scan(&by, &identity, &columns)
	if err != nil {
		return fmt.Errorf("look for what needs an index: %w", err)
	}
	if len(by) > 0 {
		i.refuse("%s: foreign keys refer to it: %s; drop these first", what, comma(by))
	}
	if identity {
		i.refuse("%s: replication tells rows apart by it", what)
	}
	key := make([]string, len(i.t.key))
	for n, c := range i.t.key {
		key[n] = c.name
	}
	if slices.Equal(key, columns) && (i.c.Sync != nil || len(i.c.Dropped()) > 0) {
		i.refuse("%s: gapless walks along it while columns of table %s are kept in step or archived; drop it in a change of its own", what, i.t.ident())
	}
	return nil
}

func (dropConstraint) do(ctx context.Context, w work) (change.Evidence, error) {
	name := w.step.Operation.DropConstraint.Name
	t, err := w.table(ctx)
	if err != nil {
		return change.Evidence{}, err
	}
	now, err := w.s.findConstraint(ctx, w.s, t, name)
	if err != nil {
		return change.Evidence{}, err
	}
	tables, err := w.s.lockedBy(ctx, w.s, t, now.definition)
	if err != nil {
		return change.Evidence{}, err
	}
	return w.once(ctx, tables, func(ctx context.Context, tx pgx.Tx) (string, error) {
		there, err := w.s.findConstraint(ctx, tx, t, name)
		if err != nil || !there.there() {
			return "", err
		}
		definition := there.definition
		if !there.validated {
			definition += notValid
		}
		if err := w.keepFirst(ctx, tx, archivedConstraint, constraintName(t, name), definition); err != nil {
			return "", err
		}
		if there.kind == "u" {
			found, err := w.s.findIndex(ctx, tx, t, name)
			if err != nil {
				return "", err
			}
			if err := w.keepFirst(ctx, tx, archivedTail, constraintName(t, name), found.tail); err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("alter table %s drop constraint %s restrict", t.ident(), ident(name)), nil
	})
}

// undo adds the constraint again, by the recipe that holds nobody up. Rows that
// break it keep it from that.
func (dropConstraint) undo(ctx context.Context, w work) (change.Evidence, error) {
	t, err := w.table(ctx)
	if err != nil {
		return change.Evidence{}, err
	}
	name := w.step.Operation.DropConstraint.Name
	definition, kept, err := w.kept(ctx, w.s, archivedConstraint, constraintName(t, name))
	if err != nil {
		return change.Evidence{}, err
	}
	if !kept {
		return w.done(ctx, change.Evidence{})
	}
	tail, unique, err := w.kept(ctx, w.s, archivedTail, constraintName(t, name))
	if err != nil {
		return change.Evidence{}, err
	}
	e := change.Evidence{}
	if unique {
		err = w.ensureUnique(ctx, t, indexSpec{name: name, unique: true, tail: tail}, deferral(definition))
	} else {
		e, err = w.addAgain(ctx, t, name, definition)
	}
	if err != nil {
		return e, err
	}
	return w.forgetKept(ctx, e, constraintName(t, name), archivedConstraint, archivedTail)
}

// blockingKeys are the foreign keys that contract dropped, by name or with a
// column, and that this server could add again only while nobody can write.
func (w work) blockingKeys(ctx context.Context) (reasons []string, err error) {
	major, err := w.s.major(ctx, w.s)
	if err != nil || major >= partitionedForeignKey || w.change.Table == "" {
		return nil, err
	}
	t, there, err := tableOf(ctx, w.s, w.change)
	if err != nil || !there || !t.partitioned() {
		return nil, err
	}
	for _, ofColumn := range []bool{false, true} {
		list, err := w.archivedOf(ctx, ofColumn, archivedConstraint)
		if err != nil {
			return nil, err
		}
		for _, d := range list {
			if strings.HasPrefix(d.Definition, "FOREIGN KEY") || ofColumn && strings.Contains(d.Definition, " FOREIGN KEY ") {
				reasons = append(reasons, fmt.Sprintf("foreign key %s: table %s is partitioned; before PostgreSQL %d it can be added again only while nobody can write",
					d.Name, t.ident(), partitionedForeignKey))
			}
		}
	}
	return reasons, nil
}

// deferral is the end of a unique constraint's definition that its index does
// not hold.
func deferral(definition string) string {
	for _, end := range []string{" DEFERRABLE INITIALLY DEFERRED", " DEFERRABLE"} {
		if strings.HasSuffix(definition, end) {
			return end
		}
	}
	return ""
}

// addAgain adds a check or a foreign key as it was.
func (w work) addAgain(ctx context.Context, t table, name, definition string) (change.Evidence, error) {
	valid := strings.TrimSuffix(definition, notValid)
	if valid == definition {
		return w.addConstraint(ctx, t, wanted{name: name, definition: valid, what: fmt.Sprintf("constraint %s again", ident(name)),
			offenders: func(ctx context.Context) (offenders, error) { return w.s.against(ctx, t, name) }})
	}
	tables, err := w.s.lockedBy(ctx, w.s, t, definition)
	if err != nil {
		return change.Evidence{}, err
	}
	return w.once(ctx, tables, func(ctx context.Context, tx pgx.Tx) (string, error) {
		there, err := w.s.findConstraint(ctx, tx, t, name)
		if err != nil || there.there() {
			return "", err
		}
		return fmt.Sprintf("alter table %s add constraint %s %s", t.ident(), ident(name), definition), nil
	})
}

// against are the rows that break a constraint that is there, but not valid; none
// where it is not there.
func (s *session) against(ctx context.Context, t table, name string) (offenders, error) {
	there, err := s.findConstraint(ctx, s, t, name)
	if err != nil || !there.there() {
		return offenders{}, err
	}
	var check, to string
	var columns []string
	err = s.QueryRow(ctx, `
		select coalesce(pg_get_expr(k.conbin, k.conrelid), ''), coalesce((select format('%I.%I', n.nspname, c.relname)
		    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = k.confrelid), ''),
		  coalesce(array(select a.attname::text from unnest(k.confkey) with ordinality c(attnum, n)
		    join pg_attribute a on a.attrelid = k.confrelid and a.attnum = c.attnum order by c.n), '{}')
		from pg_constraint k where k.oid = $1`, there.oid).Scan(&check, &to, &columns)
	if err != nil {
		return offenders{}, fmt.Errorf("read constraint %s: %w", ident(name), err)
	}
	if there.kind == "c" {
		return s.offend(ctx, t, "not ("+check+")")
	}
	return s.orphans(ctx, t, there.columns, to, columns)
}

func (dropConstraint) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	name := w.step.Operation.DropConstraint.Name
	t, err := w.table(ctx)
	if err != nil {
		return nil, err
	}
	there, err := w.s.findConstraint(ctx, w.s, t, name)
	if err != nil {
		return nil, err
	}
	return []change.CheckResult{inForce("constraint "+name+" is gone", !there.there())}, nil
}
