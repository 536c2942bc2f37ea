package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// dropNotNull lets a column take NULL.
type dropNotNull struct{}

const archivedNotNull = "not null"

func (dropNotNull) look(ctx context.Context, i *inspector, o change.Operation) error {
	if !i.there() {
		return nil
	}
	name := o.DropNotNull.Column
	what := fmt.Sprintf("drop_not_null %q", name)
	c, there := i.t.column(name)
	if !there {
		i.refuse("%s: table %s has no column %q", what, i.t.ident(), name)
		return nil
	}
	if !c.notNull && !i.begun() {
		i.refuse("%s: it takes NULL already", what)
	}
	var inherited, primary bool
	err := i.s.QueryRow(ctx, `
		select exists (select from pg_inherits where inhrelid = a.attrelid),
		  exists (select from pg_index where indrelid = a.attrelid and indisprimary and a.attnum = any(indkey))
		from pg_attribute a where a.attrelid = $1 and a.attname = $2`, i.t.oid, name).Scan(&inherited, &primary)
	if err != nil {
		return fmt.Errorf("look at column %q: %w", name, err)
	}
	switch {
	case primary:
		i.refuse("%s: it is part of the primary key", what)
	case c.identity:
		i.refuse("%s: it is an identity column", what)
	case inherited:
		i.refuse("%s: table %s has it from the table that it is a part of", what, i.t.ident())
	}
	for _, k := range i.t.key {
		if k.name == name && !primary {
			i.refuse("%s: it is part of the only key of table %s that gapless can walk along", what, i.t.ident())
		}
	}
	return nil
}

func (dropNotNull) do(ctx context.Context, w work) (change.Evidence, error) {
	name := w.step.Operation.DropNotNull.Column
	t, err := w.table(ctx)
	if err != nil {
		return change.Evidence{}, err
	}
	return w.once(ctx, []table{t}, func(ctx context.Context, tx pgx.Tx) (string, error) {
		if err := w.s.describe(ctx, tx, &t); err != nil {
			return "", err
		}
		c, there := t.column(name)
		if !there {
			return "", fmt.Errorf("table %s has no column %q", t.ident(), name)
		}
		if !c.notNull {
			return "", nil
		}
		g, err := w.findGuard(ctx, tx, t, name, "")
		if err != nil {
			return "", err
		}
		constraint := "" // before it was one, there is no name to keep
		if !g.own {
			constraint = g.name
		}
		if err := w.keepFirst(ctx, tx, archivedNotNull, name, constraint); err != nil {
			return "", err
		}
		return fmt.Sprintf("alter table %s alter column %s drop not null", t.ident(), c.ident()), nil
	})
}

// undo lets the column take NULL no longer, by the recipe that holds nobody up.
// NULLs that the new revision wrote keep it from that.
func (dropNotNull) undo(ctx context.Context, w work) (change.Evidence, error) {
	name := w.step.Operation.DropNotNull.Column
	constraint, kept, err := w.kept(ctx, w.s, archivedNotNull, name)
	if err != nil {
		return change.Evidence{}, err
	}
	if !kept {
		return w.done(ctx, change.Evidence{})
	}
	t, err := w.table(ctx)
	if err != nil {
		return change.Evidence{}, err
	}
	e, err := w.forbidNull(ctx, t, name, "", constraint)
	if err != nil {
		return e, err
	}
	return w.forgetKept(ctx, e, name, archivedNotNull)
}

func (dropNotNull) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	name := w.step.Operation.DropNotNull.Column
	t, err := w.table(ctx)
	if err != nil {
		return nil, err
	}
	c, there := t.column(name)
	return []change.CheckResult{inForce(fmt.Sprintf("column %s takes NULL", name), there && !c.notNull)}, nil
}
