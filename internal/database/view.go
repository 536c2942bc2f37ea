package database

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// createView creates a view. Its query is read as the application's search path
// means it.
type createView struct{}

func (createView) look(ctx context.Context, i *inspector, o change.Operation) error {
	v, err := i.s.findObject(ctx, i.s, o.CreateView.Name)
	if err != nil {
		return err
	}
	if done, err := i.done(ctx, o); err != nil || done {
		return err
	}
	if v.there() {
		i.refuse("create_view: %s is there already", v.ident())
		return nil
	}
	if err := i.mayCreate(ctx, "create_view "+o.CreateView.Name, v); err != nil {
		return err
	}
	return i.s.aside(ctx, i.s, func(tx pgx.Tx) error {
		_, err := i.tryView(ctx, tx, "create_view "+o.CreateView.Name, o.CreateView.Query)
		return err
	})
}

// viewColumn is a column of a view, which a replacement must keep.
type viewColumn struct{ name, sqlType string }

// tryView has PostgreSQL read a view's query, and gives its columns; none where
// it cannot be read before what else the change makes is there.
func (i *inspector) tryView(ctx context.Context, tx pgx.Tx, what, query string) ([]viewColumn, error) {
	refused, err := try(ctx, tx, "create temp view gapless_view as "+query+"\n")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	switch {
	case refused != nil && absent(refused.code):
		i.warn("%s: its query can be tried only when expand comes to it: %s", what, refused.message)
		return nil, nil
	case refused != nil:
		i.refuse("%s: %s", what, refused)
		return nil, nil
	}
	return viewColumns(ctx, tx, "pg_temp.gapless_view")
}

func viewColumns(ctx context.Context, q querier, view string) ([]viewColumn, error) {
	rows, err := q.Query(ctx, `
		select a.attname::text, format_type(a.atttypid, a.atttypmod) || coalesce(' collate ' || (select format('%I.%I', n.nspname, l.collname)
		    from pg_collation l join pg_namespace n on n.oid = l.collnamespace where l.oid = a.attcollation), '')
		from pg_attribute a where a.attrelid = to_regclass($1) and a.attnum > 0 order by a.attnum`, view)
	if err != nil {
		return nil, fmt.Errorf("read the columns of %s: %w", view, err)
	}
	columns, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c viewColumn, err error) {
		return c, row.Scan(&c.name, &c.sqlType)
	})
	if err != nil {
		return nil, fmt.Errorf("read the columns of %s: %w", view, err)
	}
	return columns, nil
}

func (createView) do(ctx context.Context, w work) (change.Evidence, error) {
	return w.within(ctx, "view "+w.step.Operation.CreateView.Name, func(tx pgx.Tx, e *change.Evidence) error {
		v, err := w.s.findObject(ctx, tx, w.step.Operation.CreateView.Name)
		if err != nil {
			return err
		}
		before, done, err := w.did(ctx, tx)
		switch {
		case err != nil:
			return err
		case done && v.is("v"):
			*e = before
			return nil
		case v.there():
			return w.refused("give the new view another name", "%s is there already", v.ident())
		}
		e.Detail = "view " + v.ident()
		return w.runAs(ctx, tx, fmt.Sprintf("create view %s as %s\n", v.ident(), w.step.Operation.CreateView.Query))
	})
}

func (createView) undo(ctx context.Context, w work) (change.Evidence, error) {
	return w.within(ctx, "view "+w.step.Operation.CreateView.Name, func(tx pgx.Tx, e *change.Evidence) error {
		_, done, err := w.did(ctx, tx)
		if err != nil || !done {
			return err
		}
		v, err := w.s.findObject(ctx, tx, w.step.Operation.CreateView.Name)
		if err != nil {
			return err
		}
		if v.is("v") {
			if err := w.free(ctx, tx, v.target(), false); err != nil {
				return err
			}
			if err := w.run(ctx, tx, "drop view "+v.ident()); err != nil {
				return err
			}
			e.Dropped = []string{"view " + v.ident()}
		}
		return w.forget(ctx, tx)
	})
}

func (createView) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	return w.viewThere(ctx, w.step.Operation.CreateView.Name)
}

func (w work) viewThere(ctx context.Context, name string) ([]change.CheckResult, error) {
	v, err := w.s.findObject(ctx, w.s, name)
	if err != nil {
		return nil, err
	}
	return []change.CheckResult{inForce("view "+name+" is there", v.is("v"))}, nil
}

// unkept tells how the columns of a view's new query keep those it has; empty
// where they do and only follow them by others.
func unkept(had, has []viewColumn) string {
	if len(has) < len(had) {
		return fmt.Sprintf("it has %d columns, the new query %d; a replacement only adds some at the end", len(had), len(has))
	}
	for n, c := range had {
		if has[n] != c {
			return fmt.Sprintf("column %d is %s %s, in the new query %s %s; a replacement only adds some at the end", n+1, ident(c.name), c.sqlType, ident(has[n].name), has[n].sqlType)
		}
	}
	return ""
}

// createHead is what a view's query stands after, with its options.
func createHead(ctx context.Context, q querier, v named) (string, error) {
	var options string
	err := q.QueryRow(ctx, `select coalesce(' with (' || array_to_string(reloptions, ', ') || ')', '') from pg_class where oid = $1`, v.oid).Scan(&options)
	if err != nil {
		return "", fmt.Errorf("read the options of %s: %w", v.ident(), err)
	}
	return fmt.Sprintf("create or replace view %s%s as ", v.ident(), options), nil
}

// viewBody is a view's query as PostgreSQL writes it.
func viewBody(ctx context.Context, q querier, v named) (string, error) {
	var body string
	if err := q.QueryRow(ctx, `select pg_get_viewdef($1::oid)`, v.oid).Scan(&body); err != nil {
		return "", fmt.Errorf("read the definition of %s: %w", v.ident(), err)
	}
	return strings.TrimSuffix(body, ";"), nil
}
