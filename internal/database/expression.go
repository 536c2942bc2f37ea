package database

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gapless-deploy/gapless/internal/change"
)

// mapping is f and g as PostgreSQL reads them: every function, operator and
// type qualified, columns by their bare names.
type mapping struct {
	Forward  map[string]string `json:"forward"`
	Backward map[string]string `json:"backward"`
}

// look runs work in a transaction that is always undone.
func (s *session) look(ctx context.Context, work func(pgx.Tx) error) (err error) {
	tx, err := s.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin to look: %w", err)
	}
	defer func() { err = errors.Join(err, tx.Rollback(ctx)) }()
	return work(tx)
}

// qualify reads the change's expressions as the application's search path means
// them. It lets PostgreSQL do so on a temporary table like the real one, in a
// transaction that is undone. What is wrong with them comes back as refusals.
func (db *DB) qualify(ctx context.Context, s *session, c change.Change, t table) (m mapping, refusals []string, err error) {
	m = mapping{Forward: map[string]string{}, Backward: map[string]string{}}
	if c.Sync == nil {
		return m, nil, nil
	}
	err = s.look(ctx, func(tx pgx.Tx) error {
		q := qualifier{tx: tx, s: s, c: c, t: t}
		refusal, err := q.likeTable(ctx)
		if err != nil {
			return err
		}
		if refusal != "" {
			refusals = append(refusals, refusal)
			return nil
		}
		for _, side := range []struct {
			from, to map[string]string
			name     string
		}{{c.Sync.Forward, m.Forward, "forward"}, {c.Sync.Backward, m.Backward, "backward"}} {
			more, err := q.side(ctx, side.from, side.to, "sync."+side.name)
			if err != nil {
				return err
			}
			refusals = append(refusals, more...)
		}
		return nil
	})
	return m, refusals, err
}

type qualifier struct {
	tx pgx.Tx
	s  *session
	c  change.Change
	t  table
}

func (q *qualifier) temp() string { return pgx.Identifier{"pg_temp", q.t.name}.Sanitize() }

// copyTable makes the temporary table.
func (q *qualifier) copyTable(ctx context.Context) error {
	if err := q.s.asApplication(ctx, q.tx); err != nil {
		return err
	}
	if _, err := q.tx.Exec(ctx, fmt.Sprintf(`create temp table %s (like %s)`, ident(q.t.name), q.t.ident())); err != nil {
		return fmt.Errorf("make a table like %s: %w", q.t.ident(), err)
	}
	return nil
}

// likeTable makes the temporary table, with the columns that expand adds.
func (q *qualifier) likeTable(ctx context.Context) (refusal string, err error) {
	if err := q.copyTable(ctx); err != nil {
		return "", err
	}
	for _, a := range q.c.Added() {
		if _, ok := q.t.column(a.Name); ok {
			continue
		}
		sqlType := a.Type
		if like, ok := q.t.column(a.Like); ok {
			sqlType = like.declared()
		}
		refusal, err := q.try(ctx, fmt.Sprintf("alter table %s add column %s %s\n", q.temp(), ident(a.Name), sqlType))
		if err != nil {
			return "", err
		}
		if refusal != "" {
			return fmt.Sprintf("column %q cannot be added: %s", a.Name, refusal), nil
		}
	}
	return "", nil
}

// steady gives what PostgreSQL makes of a definition when it has read its own
// writing of it again, which may differ from the first: nested ANDs are one.
// It is what is in the catalogue after a statement was made of it.
func steady(written string, again func(definition string) (string, error)) (string, error) {
	const most = 4
	for range most {
		next, err := again(written)
		if err != nil || next == written {
			return written, err
		}
		written = next
	}
	return "", fmt.Errorf("PostgreSQL writes %s in another way each time", written)
}

// try runs a statement that PostgreSQL may refuse, and gives its reason.
func (q *qualifier) try(ctx context.Context, sql string) (refusal string, err error) {
	err = pgx.BeginFunc(ctx, q.tx, func(inner pgx.Tx) error { _, err := inner.Exec(ctx, sql); return err })
	var pg *pgconn.PgError
	if errors.As(err, &pg) && !metLock(err) && pg.Code != queryCanceled {
		return fmt.Sprintf("%s (SQLSTATE %s)", pg.Message, pg.Code), nil
	}
	return "", err
}

// side qualifies one mapping into to.
func (q *qualifier) side(ctx context.Context, from, to map[string]string, path string) (refusals []string, err error) {
	var sets []string
	for _, name := range sortedKeys(from) {
		text, refusal, err := q.expression(ctx, name, from[name])
		if err != nil {
			return nil, err
		}
		if refusal != "" {
			refusals = append(refusals, fmt.Sprintf("%s.%s: %s", path, name, refusal))
			continue
		}
		to[name] = text
		sets = append(sets, fmt.Sprintf("%s = %s", ident(name), text))
	}
	if len(refusals) > 0 {
		return refusals, nil
	}
	// What it gives must fit the column, and its names be whole.
	if err := q.asOurselves(ctx); err != nil {
		return nil, err
	}
	refusal, err := q.try(ctx, fmt.Sprintf("explain update %s set %s", q.temp(), strings.Join(sets, ", ")))
	if err != nil {
		return nil, err
	}
	if refusal != "" {
		refusals = append(refusals, path+": "+refusal)
	}
	return refusals, q.s.asApplication(ctx, q.tx)
}

const (
	probe  = "gapless_probe"
	opens  = "("
	closes = " IS NOT NULL)"
)

// expression lets PostgreSQL read one expression inside a check constraint,
// which takes neither subqueries nor aggregates, and write it out again.
func (q *qualifier) expression(ctx context.Context, column, sql string) (text, refusal string, err error) {
	col, sqlType := ident(column), ""
	err = q.tx.QueryRow(ctx, `select format_type(atttypid, null) from pg_attribute where attrelid = $1::regclass and attname = $2`,
		q.temp(), column).Scan(&sqlType)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Sprintf("the table has no column %s", col), nil
	}
	if err != nil {
		return "", "", fmt.Errorf("look up column %s: %w", col, err)
	}
	// Once with the cast that assigning makes, for the functions it calls, and
	// once without, for the text.
	tree, refusal, err := q.probed(ctx, "("+sql+"\n)::"+sqlType, "conbin::text")
	if err != nil || refusal != "" {
		return "", refusal, err
	}
	if text, refusal, err = q.text(ctx, sql); err != nil || refusal != "" {
		return "", refusal, err
	}
	refusal, err = q.settled(ctx, tree)
	return text, refusal, err
}

// text is an expression as PostgreSQL writes it, every name qualified.
func (q *qualifier) text(ctx context.Context, sql string) (text, refusal string, err error) {
	if text, refusal, err = q.probed(ctx, sql, "pg_get_expr(conbin, conrelid)"); err != nil || refusal != "" {
		return "", refusal, err
	}
	if !strings.HasPrefix(text, opens) || !strings.HasSuffix(text, closes) {
		return "", "PostgreSQL wrote it in a form that is not known here: " + text, nil
	}
	return opens + strings.TrimSuffix(strings.TrimPrefix(text, opens), closes) + ")", "", nil
}

// probed puts an expression into a constraint and reads that back.
func (q *qualifier) probed(ctx context.Context, expression, what string) (read, refusal string, err error) {
	refusal, err = q.try(ctx, fmt.Sprintf("alter table %s add constraint %s check ((%s\n) is not null)", q.temp(), probe, expression))
	if err != nil || refusal != "" {
		return "", refusal, err
	}
	err = q.read(ctx, what, &read)
	return read, "", err
}

// read takes the probe's constraint as PostgreSQL wrote it, and drops it.
func (q *qualifier) read(ctx context.Context, what string, into *string) error {
	if _, err := q.tx.Exec(ctx, `set local search_path = ''`); err != nil {
		return fmt.Errorf("set the search path: %w", err)
	}
	err := q.tx.QueryRow(ctx, fmt.Sprintf(`select %s from pg_constraint where conrelid = $1::regclass and conname = $2`, what),
		q.temp(), probe).Scan(into)
	if err != nil {
		return fmt.Errorf("read an expression: %w", err)
	}
	if _, err := q.tx.Exec(ctx, fmt.Sprintf(`alter table %s drop constraint %s`, q.temp(), probe)); err != nil {
		return fmt.Errorf("read an expression: %w", err)
	}
	return q.s.asApplication(ctx, q.tx)
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
