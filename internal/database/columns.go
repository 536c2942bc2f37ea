package database

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// addColumns adds all columns in one transaction: one statement, and one for the
// defaults that only rows to come get at once.
func (w work) addColumns(ctx context.Context) (change.Evidence, error) {
	s, c := w.s, w.change
	e := change.Evidence{Step: string(change.AddColumns)}
	t, err := resolveTable(ctx, s, c)
	if err != nil {
		return e, err
	}
	wanted, refusals, err := s.additions(ctx, c, t)
	if err != nil {
		return e, err
	}
	if len(refusals) > 0 {
		return e, &RefusedError{Change: c.ID, Reasons: refusals}
	}
	return e, w.db.inTransaction(ctx, s, "table "+t.ident(), func(tx pgx.Tx) error {
		if err := s.describe(ctx, tx, &t); err != nil {
			return err
		}
		statements, err := s.missing(ctx, tx, c, t, wanted)
		if err != nil || len(statements) == 0 {
			return err
		}
		if err := s.seize(ctx, tx, nobody, []table{t}); err != nil {
			return err
		}
		for _, statement := range statements {
			if err := w.run(ctx, tx, statement); err != nil {
				return err
			}
		}
		// New columns are empty, whatever was filled in before.
		_, err = tx.Exec(ctx, `with steps as (delete from gapless.step where change = $1 and step like 'fill/%')
			delete from gapless.checkpoint where change = $1`, c.ID)
		if err != nil {
			return fmt.Errorf("begin the backfill anew: %w", err)
		}
		e.Detail = strings.Join(statements, "; ")
		return finish(ctx, tx, c.ID, e)
	})
}

// missing are the statements that add the columns that are not there. A column
// that is there must be as the change wants it.
func (s *session) missing(ctx context.Context, tx pgx.Tx, c change.Change, t table, wanted []addition) (statements []string, err error) {
	var adds, defaults []string
	for _, a := range wanted {
		there, ok := t.column(a.name)
		if !ok {
			adds = append(adds, "add column "+a.declaration())
			if !a.inline && !a.synced && a.def != "" {
				defaults = append(defaults, a.setDefault())
			}
			continue
		}
		reason, err := s.unlike(ctx, tx, c, t, there, a)
		if err != nil {
			return nil, err
		}
		if reason != "" {
			return nil, &RefusedError{Change: c.ID, Reasons: []string{fmt.Sprintf("column %q is there already, %s", a.name, reason)},
				Remedy: "give the new column another name"}
		}
	}
	for _, parts := range [][]string{adds, defaults} {
		if len(parts) > 0 {
			statements = append(statements, fmt.Sprintf("alter table %s %s", t.ident(), comma(parts)))
		}
	}
	return statements, nil
}

// unlike tells how a column differs from one that expand would add, or that a
// later step of the same change would make of it.
func (s *session) unlike(ctx context.Context, q querier, c change.Change, t table, there column, wanted addition) (string, error) {
	ahead := func(has func(change.Operation) bool) bool {
		return slices.ContainsFunc(slices.Concat(c.Expand, c.Contract), has)
	}
	redefaulted := ahead(func(o change.Operation) bool {
		return o.DropDefault == there.name || o.SetDefault != nil && o.SetDefault.Column == there.name
	})
	forbids := ahead(func(o change.Operation) bool { return o.SetNotNull != nil && o.SetNotNull.Column == there.name })
	switch {
	case there.sqlType != wanted.sqlType:
		return fmt.Sprintf("of type %s, wanted %s", there.sqlType, wanted.sqlType), nil
	case there.collate != wanted.collate:
		return fmt.Sprintf("with%s, wanted%s", there.collate, wanted.collate), nil
	case there.identity:
		return "with a default", nil
	case there.generated != wanted.generated:
		return map[bool]string{true: "and generated", false: "and not generated"}[there.generated], nil
	case there.notNull && !wanted.notNull && !forbids:
		return "and takes no NULL", nil
	case !there.notNull && wanted.notNull && wanted.inline:
		return "and takes NULL", nil
	case there.generated:
		expression, err := s.generatedBy(ctx, q, t.oid, there.name)
		if err == nil && expression != wanted.expression {
			return fmt.Sprintf("and generated from %s, wanted %s", expression, wanted.expression), nil
		}
		return "", err
	case there.def == wanted.def, redefaulted, there.def == "" && wanted.synced:
		return "", nil
	case there.def == "":
		return "without its default", nil
	case wanted.def == "":
		return "with a default", nil
	}
	return "with another default", nil
}

// generatedBy is the expression of a generated column.
func (s *session) generatedBy(ctx context.Context, q querier, oid uint32, name string) (expression string, err error) {
	err = q.QueryRow(ctx, `select pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
		where a.attrelid = $1 and a.attname = $2 and a.attgenerated <> ''`, oid, name).Scan(&expression)
	if err != nil {
		return "", fmt.Errorf("read how column %q is generated: %w", name, err)
	}
	return expression, nil
}

// added looks at the columns that expand adds: they must be new, or as expand
// left them.
func (i *inspector) added(ctx context.Context) error {
	switch i.st.state {
	case rollout.Absent, rollout.Expanding, rollout.Expanded:
	default: // what they are like may be hidden or gone
		return nil
	}
	if len(i.c.Added()) == 0 {
		return nil
	}
	wanted, refusals, err := i.s.additions(ctx, i.c, i.t)
	if err != nil {
		return err
	}
	i.facts.Refusals = append(i.facts.Refusals, refusals...)
	for _, a := range wanted {
		there, ok := i.t.column(a.name)
		if !ok {
			if err := i.filledBy(ctx, a); err != nil {
				return err
			}
			continue
		}
		if i.st.state == rollout.Absent {
			i.refuse("column %q is there already", a.name)
			continue
		}
		reason, err := i.s.unlike(ctx, i.s, i.c, i.t, there, a)
		if err != nil {
			return err
		}
		if reason != "" {
			i.refuse("column %q is there already, %s", a.name, reason)
		}
	}
	return nil
}

// filledBy looks at what filling in a column's default would meet.
func (i *inspector) filledBy(ctx context.Context, a addition) error {
	if a.inline || a.synced || a.def == "" {
		return nil
	}
	i.warn("column %q has a default that gives another value each time: rows to come have it at once, those that are there are filled in one by one", a.name)
	i.filled = append(i.filled, a.name)
	return i.fillable(ctx, a.name)
}

// addColumn is looked at with the columns; all are added in one step.
type addColumn struct{}

func (addColumn) look(context.Context, *inspector, change.Operation) error { return nil }

func (addColumn) do(_ context.Context, w work) (change.Evidence, error) {
	return change.Evidence{}, fmt.Errorf("step %s adds no column by itself", w.step.ID)
}

func (addColumn) undo(_ context.Context, w work) (change.Evidence, error) {
	return change.Evidence{}, fmt.Errorf("step %s removes no column by itself", w.step.ID)
}

// verify tells whether a column that was filled in is as it was asked for.
func (addColumn) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	a := *w.step.Operation.AddColumn
	t, err := w.table(ctx)
	if err != nil {
		return nil, err
	}
	c, there := t.column(a.Name)
	if !a.NotNull {
		return []change.CheckResult{inForce(fmt.Sprintf("column %s has a default", a.Name), there && c.def != "")}, nil
	}
	return []change.CheckResult{inForce(fmt.Sprintf("column %s takes no NULL", a.Name), there && c.notNull)}, nil
}
