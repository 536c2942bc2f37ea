package database

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

//go:embed dependents.sql
var dependentsQuery string

//go:embed functions.sql
var functionsQuery string

// dependents are the objects that hang on the columns that contract drops, those
// that go along and those that block it; with bodies also the functions that
// seem to. What the contract drops by name does not block it. What dynamic SQL
// names cannot be seen.
func (s *session) dependents(ctx context.Context, q querier, c change.Change, t table, bodies bool) ([]change.Dependent, error) {
	var columns, names []string
	for _, name := range c.Dropped() {
		if there, ok := t.seen(c.ID, name); ok {
			columns, names = append(columns, there.stored()), append(names, name)
		}
	}
	found, err := dependentsBy(ctx, q, dependentsQuery, t.oid, columns, names)
	if err == nil && bodies {
		var functions []change.Dependent
		functions, err = dependentsBy(ctx, q, functionsQuery, t.oid, columns, names, t.name)
		found = append(found, functions...)
	}
	if err != nil {
		return nil, fmt.Errorf("look for what depends on %s: %w", t.ident(), err)
	}
	named, err := s.droppedByName(ctx, q, c, t)
	if err != nil {
		return nil, err
	}
	var hanging []change.Dependent
	for _, d := range found {
		if !slices.Contains(named, d.Kind+" "+d.Name) { // the operation itself tells of those
			hanging = append(hanging, d)
		}
	}
	return hanging, nil
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

// droppedByName are the objects that the change's contract drops by name, as
// dependents name them; those that are gone already are left out.
func (s *session) droppedByName(ctx context.Context, q querier, c change.Change, t table) (names []string, err error) {
	const (
		relation = `select case c.relkind when 'm' then 'materialized view' when 'v' then 'view' when 'S' then 'sequence' else 'index' end || format(' %I.%I', n.nspname, c.relname)
			from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = $1`
		constraint = `select format('constraint %I on %I.%I', k.conname, n.nspname, c.relname)
			from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace where k.oid = $1`
		function = `select 'function ' || $1::oid::regprocedure`
	)
	for _, o := range c.Contract {
		var find, describe string
		var args []any
		switch {
		case o.DropView+o.DropSequence != "":
			name, err := change.ParseTable(o.DropView + o.DropSequence)
			if err != nil {
				return nil, err
			}
			find, args, describe = `select to_regclass($1)::oid`, []any{qualified(name).Sanitize()}, relation
		case o.DropIndex != "":
			find, args, describe = `select to_regclass($1)::oid`, []any{pgx.Identifier{t.schema, o.DropIndex}.Sanitize()}, relation
		case o.DropConstraint != nil:
			find, args, describe = `select min(oid) from pg_constraint where conrelid = $1 and conname = $2`, []any{t.oid, o.DropConstraint.Name}, constraint
		case o.DropFunction != "":
			find, args, describe = `select case when $1 like '%(%' then to_regprocedure($1)::oid else to_regproc($1)::oid end`, []any{o.DropFunction}, function
		default:
			continue
		}
		var oid *uint32
		var name string
		err := s.aside(ctx, q, func(tx pgx.Tx) error { return tx.QueryRow(ctx, find, args...).Scan(&oid) })
		if err == nil && oid != nil {
			err = q.QueryRow(ctx, describe, *oid).Scan(&name)
		}
		if err != nil {
			return nil, fmt.Errorf("find what %s %s drops: %w", o.Kind(), o.Name(), err)
		}
		names = append(names, name)
	}
	return names, nil
}

// qualified is a name as it is written in a change file.
func qualified(name change.Table) pgx.Identifier {
	if name.Schema == "" {
		return pgx.Identifier{name.Name}
	}
	return pgx.Identifier{name.Schema, name.Name}
}

// aside looks something up as the application's search path means it.
func (s *session) aside(ctx context.Context, q querier, look func(pgx.Tx) error) (err error) {
	begin := s.Begin
	if outer, ok := q.(pgx.Tx); ok {
		begin = outer.Begin
	}
	tx, err := begin(ctx)
	if err != nil {
		return fmt.Errorf("begin to look: %w", err)
	}
	defer func() { err = errors.Join(err, tx.Rollback(ctx)) }()
	if err := s.asApplication(ctx, tx); err != nil {
		return err
	}
	return look(tx)
}
