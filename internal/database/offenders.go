package database

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// offenders are the rows that a constraint would reject.
type offenders struct {
	count int64
	keys  []string // of some of them; never their values
}

// mostCounted bounds how many offenders are counted.
const mostCounted = 10_000

// String tells how many they are: "3", or "10000 or more".
func (o offenders) String() string {
	text := fmt.Sprint(o.count)
	if o.count >= mostCounted {
		text += " or more"
	}
	return text
}

// rows is the same with the keys.
func (o offenders) rows() string {
	text := o.String() + " rows"
	if o.count == 1 {
		text = "1 row"
	}
	if len(o.keys) > 0 {
		text += fmt.Sprintf(" (with key %s)", strings.Join(o.keys, ", "))
	}
	return text
}

// offend finds the rows for which a condition holds.
func (s *session) offend(ctx context.Context, t table, condition string) (offenders, error) {
	return s.offenders(ctx, t, fmt.Sprintf(`select %s as key from %s where %s`, keyText(t, ""), t.ident(), condition))
}

// keyText is a row's key as one text.
func keyText(t table, prefix string) string {
	if len(t.key) == 0 {
		return "null::text"
	}
	return fmt.Sprintf("array_to_string(array[%s], ',')", comma(t.key.texts(prefix)))
}

// offenders counts what a query gives, whose only column is called key. It reads
// the table once, for as long as a change's own check may.
func (s *session) offenders(ctx context.Context, t table, query string) (o offenders, err error) {
	err = pgx.BeginTxFunc(ctx, s.Conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select set_config('statement_timeout', $1, true)`, milliseconds(s.options.CheckTimeout)); err != nil {
			return err
		}
		return tx.QueryRow(ctx, fmt.Sprintf(mark+`select count(*), coalesce((array_agg(key) filter (where key is not null))[1:%d], '{}') from (%s limit %d) as offenders`,
			mostKeys, query, mostCounted)).Scan(&o.count, &o.keys)
	})
	if err != nil {
		return o, fmt.Errorf("look for rows of %s that would be rejected: %w", t.ident(), err)
	}
	return o, nil
}

// foresee warns of rows that an operation of contract would be refused for. A
// table that is too large to be read for it is read when the operation is due.
func (i *inspector) foresee(ctx context.Context, what string, find func(ctx context.Context) (offenders, error)) error {
	o, err := find(ctx)
	if sqlState(err) == queryCanceled && ctx.Err() == nil {
		i.warn("%s: the rows could not be looked through within %s", what, i.s.options.CheckTimeout)
		return nil
	}
	if err != nil {
		return err
	}
	if o.count > 0 {
		i.warn("%s: it is refused while %s would be rejected", what, o.rows())
	}
	return nil
}

// rejected refuses an operation for the rows that keep it from being done.
func (w work) rejected(what string, o offenders) error {
	return &RefusedError{Change: w.change.ID, Reasons: []string{fmt.Sprintf("%s: %s would be rejected; nothing was changed", what, o.rows())},
		Remedy: "correct these rows, then run this again"}
}
