package database

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// addEnumValue adds a value to an enum type. It stays for good: PostgreSQL takes
// none away.
type addEnumValue struct{}

// enum is an enum type with its values in order.
type enum struct {
	schema, name string
	mine         bool
	values       []string
}

func (e enum) ident() string { return pgx.Identifier{e.schema, e.name}.Sanitize() }

// findEnum finds an enum type; there is false where there is none.
func (s *session) findEnum(ctx context.Context, q querier, text string) (e enum, there bool, err error) {
	name, err := change.ParseTable(text)
	if err != nil {
		return e, false, err
	}
	err = s.aside(ctx, q, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `
			select n.nspname, t.typname, pg_has_role(t.typowner, 'usage'), array(select enumlabel::text from pg_enum where enumtypid = t.oid order by enumsortorder)
			from pg_type t join pg_namespace n on n.oid = t.typnamespace where t.oid = to_regtype($1) and t.typtype = 'e'`, qualified(name).Sanitize()).
			Scan(&e.schema, &e.name, &e.mine, &e.values)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return enum{}, false, nil
	}
	if err != nil {
		return e, false, fmt.Errorf("look for type %s: %w", text, err)
	}
	return e, true, nil
}

// misplaced tells why a value that is there already is not where it is wanted.
func (e enum) misplaced(a change.AddEnumValue) string {
	at := slices.Index(e.values, a.Value)
	switch {
	case a.Before != "" && at > slices.Index(e.values, a.Before):
		return fmt.Sprintf("stands after %s", literal(a.Before))
	case a.After != "" && at < slices.Index(e.values, a.After):
		return fmt.Sprintf("stands before %s", literal(a.After))
	}
	return ""
}

// wrong tells why a value cannot be added; empty where it can, or is there.
func (e enum) wrong(a change.AddEnumValue) string {
	for _, neighbour := range []string{a.Before, a.After} {
		if neighbour != "" && !slices.Contains(e.values, neighbour) {
			return fmt.Sprintf("type %s has no value %s", e.ident(), literal(neighbour))
		}
	}
	if slices.Contains(e.values, a.Value) {
		if why := e.misplaced(a); why != "" {
			return fmt.Sprintf("type %s has the value %s already, and it %s", e.ident(), literal(a.Value), why)
		}
	}
	return ""
}

func (addEnumValue) look(ctx context.Context, i *inspector, o change.Operation) error {
	a := *o.AddEnumValue
	e, there, err := i.s.findEnum(ctx, i.s, a.Type)
	if err != nil {
		return err
	}
	if !there {
		i.refuse("add_enum_value: there is no enum type %s", a.Type)
		return nil
	}
	if !e.mine {
		i.refuse("add_enum_value: the role is not an owner of type %s", e.ident())
	}
	if reason := e.wrong(a); reason != "" {
		i.refuse("add_enum_value: %s", reason)
	}
	i.touches(fmt.Sprintf("type %s %q", e.ident(), slices.DeleteFunc(e.values, func(v string) bool { return v == a.Value })))
	i.warn("add_enum_value: the value %s of type %s stays for good, also after a rollback of the schema; the running revision meets it as soon as the new one writes it",
		literal(a.Value), e.ident())
	return nil
}

func (addEnumValue) do(ctx context.Context, w work) (change.Evidence, error) {
	a := *w.step.Operation.AddEnumValue
	return w.within(ctx, "type "+a.Type, func(tx pgx.Tx, evidence *change.Evidence) error {
		e, there, err := w.s.findEnum(ctx, tx, a.Type)
		if err != nil {
			return err
		}
		if !there {
			return w.refused("make the type first", "there is no enum type %s", a.Type)
		}
		if reason := e.wrong(a); reason != "" {
			return w.refused("say where it is to stand", "%s", reason)
		}
		if slices.Contains(e.values, a.Value) {
			evidence.Detail = "it was there already"
			return nil
		}
		statement := fmt.Sprintf("alter type %s add value %s", e.ident(), literal(a.Value))
		switch {
		case a.Before != "":
			statement += " before " + literal(a.Before)
		case a.After != "":
			statement += " after " + literal(a.After)
		}
		evidence.Detail = statement
		return w.run(ctx, tx, statement)
	})
}

func (addEnumValue) undo(ctx context.Context, w work) (change.Evidence, error) {
	a := *w.step.Operation.AddEnumValue
	return w.within(ctx, "type "+a.Type, func(tx pgx.Tx, e *change.Evidence) error {
		if _, done, err := w.did(ctx, tx); err != nil || !done {
			return err
		}
		e.Detail = fmt.Sprintf("the value %s of type %s stays: PostgreSQL takes no value away from an enum type", literal(a.Value), a.Type)
		return w.forget(ctx, tx)
	})
}

func (addEnumValue) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	a := *w.step.Operation.AddEnumValue
	e, _, err := w.s.findEnum(ctx, w.s, a.Type)
	if err != nil {
		return nil, err
	}
	return []change.CheckResult{inForce(fmt.Sprintf("type %s has the value %s", a.Type, literal(a.Value)), slices.Contains(e.values, a.Value))}, nil
}
