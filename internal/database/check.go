package database

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// addCheck adds a check constraint.
type addCheck struct{}

// check lets PostgreSQL read a check constraint on a table like the real one.
func (s *session) check(ctx context.Context, c change.Change, t table, a change.AddCheck) (want wanted, columns []string, refusal string, err error) {
	want = wanted{name: a.Name, what: fmt.Sprintf("add_check %q", a.Name)}
	expression := ""
	err = s.look(ctx, func(tx pgx.Tx) (err error) {
		q := qualifier{tx: tx, s: s, c: c, t: t}
		if refusal, err = q.likeTable(ctx); err != nil || refusal != "" {
			return err
		}
		refusal, err = q.try(ctx, fmt.Sprintf("alter table %s add constraint %s check (%s\n)", q.temp(), probe, a.Expression))
		if err != nil || refusal != "" {
			return err
		}
		if err := q.asOurselves(ctx); err != nil {
			return err
		}
		read, err := q.probe(ctx)
		if err != nil {
			return err
		}
		columns = read.columns
		want.definition, err = steady(read.definition, func(definition string) (string, error) {
			_, err := tx.Exec(ctx, fmt.Sprintf("alter table %s drop constraint %[2]s, add constraint %[2]s %s", q.temp(), probe, definition))
			if err != nil {
				return "", fmt.Errorf("read %s again: %w", definition, err)
			}
			read, err = q.probe(ctx)
			return read.definition, err
		})
		if err != nil {
			return err
		}
		return tx.QueryRow(ctx, `select pg_get_expr(conbin, conrelid) from pg_constraint where oid = $1`, read.oid).Scan(&expression)
	})
	want.offenders = func(ctx context.Context) (offenders, error) {
		return s.offend(ctx, t, "not ("+expression+")")
	}
	return want, columns, refusal, err
}

// probe is the constraint of this name on the temporary table.
func (q *qualifier) probe(ctx context.Context) (constraint, error) {
	temp, err := q.copied(ctx)
	if err != nil {
		return constraint{}, err
	}
	return q.s.findConstraint(ctx, q.tx, temp, probe)
}

func (addCheck) look(ctx context.Context, i *inspector, o change.Operation) error {
	if !i.there() {
		return nil
	}
	want, columns, refusal, err := i.s.check(ctx, i.c, i.t, *o.AddCheck)
	if err != nil {
		return err
	}
	if refusal != "" {
		i.refuse("%s: %s", want.what, refusal)
		return nil
	}
	now := i.usable(want.what, columns)
	if err := i.free(ctx, want); err != nil || !now {
		return err
	}
	return i.foresee(ctx, want.what, want.offenders)
}

// want reads the constraint as do, undo and verify need it.
func (addCheck) want(ctx context.Context, w work) (t table, want wanted, err error) {
	if t, err = w.table(ctx); err != nil {
		return t, want, err
	}
	want, _, refusal, err := w.s.check(ctx, w.change, t, *w.step.Operation.AddCheck)
	if err == nil && refusal != "" {
		err = &RefusedError{Change: w.change.ID, Reasons: []string{want.what + ": " + strings.TrimSpace(refusal)}}
	}
	return t, want, err
}

func (r addCheck) do(ctx context.Context, w work) (change.Evidence, error) {
	t, want, err := r.want(ctx, w)
	if err != nil {
		return change.Evidence{}, err
	}
	return w.addConstraint(ctx, t, want)
}

func (r addCheck) undo(ctx context.Context, w work) (change.Evidence, error) {
	t, want, err := r.want(ctx, w)
	if err != nil {
		return change.Evidence{}, err
	}
	return w.withdraw(ctx, t, want)
}

func (r addCheck) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	t, want, err := r.want(ctx, w)
	if err != nil {
		return nil, err
	}
	return w.standsFor(ctx, t, want)
}
