package database

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// span is a stretch of a table's key: after lower, up to and with upper. Nil is
// the key's end. Keys are in the text form of their types.
type span struct{ lower, upper []string }

// condition is what holds for rows of the span, with its arguments.
func (sp span) condition(k key) (sql string, args []any) {
	var terms []string
	bound := func(operator string, values []string) {
		if values == nil {
			return
		}
		var parts []string
		for i, c := range k {
			args = append(args, values[i])
			// The type's own input, so that a bound that came from text is
			// compared as the key is.
			parts = append(parts, fmt.Sprintf("$%d::text::%s", len(args), c.sqlType))
		}
		terms = append(terms, fmt.Sprintf("(%s) %s (%s)", comma(idents(k, "")), operator, comma(parts)))
	}
	bound(">", sp.lower)
	bound("<=", sp.upper)
	if len(terms) == 0 {
		return "true", args
	}
	return strings.Join(terms, " and "), args
}

// texts are the key's columns as text.
func (k key) texts(prefix string) []string {
	list := idents(k, prefix)
	for i := range list {
		list[i] += "::text"
	}
	return list
}

// step is the span of at most n rows at the beginning of within; last tells
// that nothing comes after it.
func (s *session) step(ctx context.Context, q querier, t table, within span, n int) (next span, last bool, err error) {
	condition, args := within.condition(t.key)
	args = append(args, n-1)
	order := comma(idents(t.key, ""))
	var upper []string
	err = q.QueryRow(ctx, fmt.Sprintf(`select array[%s] from (select %s from %s where %s order by %s limit 1 offset $%d) as bound`,
		comma(t.key.texts("")), order, t.ident(), condition, order, len(args)), args...).Scan(&upper)
	if errors.Is(err, pgx.ErrNoRows) {
		return within, true, nil
	}
	if err != nil {
		return span{}, false, fmt.Errorf("find the next rows of %s: %w", t.ident(), err)
	}
	return span{within.lower, upper}, false, nil
}

// count counts the rows of a span.
func (s *session) count(ctx context.Context, q querier, t table, within span) (n int64, err error) {
	condition, args := within.condition(t.key)
	if err := q.QueryRow(ctx, fmt.Sprintf(`select count(*) from %s where %s`, t.ident(), condition), args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count rows of %s: %w", t.ident(), err)
	}
	return n, nil
}
