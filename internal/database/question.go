package database

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// check asks one of the change's own questions, as the application's search
// path means it. A question that cannot be answered has not passed.
func (v *verifier) check(ctx context.Context, check change.Check) (change.CheckResult, error) {
	result := change.CheckResult{Name: check.Name, Allowed: fmt.Sprint(check.Expect)}
	shadow, err := v.shadow(ctx)
	if err != nil {
		return result, err
	}
	err = v.s.look(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, shadow); err != nil {
			return err
		}
		if err := v.s.asApplication(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `select set_config('statement_timeout', $1, true), set_config('transaction_read_only', 'on', true)`,
			milliseconds(v.db.options.CheckTimeout)); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, mark+check.SQL)
		if err != nil {
			return err
		}
		result.Observed, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[int64])
		return err
	})
	switch {
	case err == nil:
		result.Passed = result.Observed == check.Expect
	case ctx.Err() != nil || v.s.IsClosed():
		return result, fmt.Errorf("check %q: %w", check.Name, err)
	case errors.Is(err, pgx.ErrNoRows):
		result.Problem = "it gave no row"
	default:
		result.Problem = err.Error()
	}
	return result, nil
}

// shadow is a statement that has a question find the change's table with the columns that contract
// hides under their own names: a temporary view is found first.
func (v *verifier) shadow(ctx context.Context) (string, error) {
	if !hides(v.c) {
		return "", nil
	}
	t, there, err := tableOf(ctx, v.s, v.c)
	if err != nil || !there {
		return "", err
	}
	own := map[string]string{}
	for _, name := range v.c.Dropped() {
		if c, ok := t.seen(v.c.ID, name); ok {
			own[c.stored()] = name
		}
	}
	var columns []string
	for _, c := range t.columns {
		name := c.name
		if n, hidden := own[name]; hidden {
			name = n
		}
		columns = append(columns, c.ident()+" as "+ident(name))
	}
	return fmt.Sprintf("create temp view %s as select %s from %s", ident(t.name), comma(columns), t.ident()), nil
}

func hides(c change.Change) bool { return c.HideFor > 0 && len(c.Dropped()) > 0 }

// questions refuses those that could not be asked while columns are hidden.
func (i *inspector) questions(context.Context) error {
	if !hides(i.c) {
		return nil
	}
	named := regexp.MustCompile(`(?i)(^|\W)` + regexp.QuoteMeta(i.t.schema) + `"?\s*\.\s*"?` + regexp.QuoteMeta(i.t.name) + `(\W|$)`)
	for _, check := range i.c.Verify.Checks {
		if named.MatchString(check.SQL) {
			i.refuse("check %q names the table with its schema, so that it could not be asked while contract hides columns; write %s alone", check.Name, i.t.name)
		}
	}
	return nil
}
