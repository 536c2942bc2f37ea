package database

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gapless-deploy/gapless/internal/change"
)

// named is what stands under a name in a schema: a table, a view, a sequence.
// Without an OID it is only where one would be made.
type named struct {
	oid          uint32
	schema, name string
	kind         string // of pg_class
	mine         bool   // the role has its owner's rights
}

func (o named) there() bool   { return o.oid != 0 }
func (o named) ident() string { return pgx.Identifier{o.schema, o.name}.Sanitize() }
func (o named) table() table  { return table{oid: o.oid, schema: o.schema, name: o.name, kind: o.kind} }
func (o named) is(kinds string) bool {
	return o.there() && strings.Contains(kinds, o.kind)
}

// findObject finds what a name in a change file stands for.
func (s *session) findObject(ctx context.Context, q querier, text string) (o named, err error) {
	name, err := change.ParseTable(text)
	if err != nil {
		return o, err
	}
	err = s.aside(ctx, q, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, objectQuery+` where c.oid = to_regclass($1)`, qualified(name).Sanitize()).Scan(&o.oid, &o.schema, &o.name, &o.kind, &o.mine)
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		o = named{schema: name.Schema, name: name.Name}
		if name.Schema != "" {
			return nil
		}
		return tx.QueryRow(ctx, `select coalesce(current_schema(), '')`).Scan(&o.schema)
	})
	if err != nil {
		return o, fmt.Errorf("look for %s: %w", text, err)
	}
	return o, nil
}

const objectQuery = `select c.oid, n.nspname, c.relname, c.relkind::text, pg_has_role(c.relowner, 'usage')
	from pg_class c join pg_namespace n on n.oid = c.relnamespace`

// objectOf finds a relation by its OID; it may be gone.
func objectOf(ctx context.Context, q querier, oid uint32) (o named, err error) {
	err = q.QueryRow(ctx, objectQuery+` where c.oid = $1`, oid).Scan(&o.oid, &o.schema, &o.name, &o.kind, &o.mine)
	if errors.Is(err, pgx.ErrNoRows) {
		return named{}, nil
	}
	if err != nil {
		return o, fmt.Errorf("look for relation %d: %w", oid, err)
	}
	return o, nil
}

// within carries a step out in one transaction, which is tried again when it
// meets a lock, and notes that the step is done.
func (w work) within(ctx context.Context, object string, carry func(tx pgx.Tx, e *change.Evidence) error) (e change.Evidence, err error) {
	err = w.db.inTransaction(ctx, w.s, object, func(tx pgx.Tx) error {
		e = change.Evidence{Step: w.step.ID}
		if err := carry(tx, &e); err != nil {
			return err
		}
		return finish(ctx, tx, w.change.ID, e)
	})
	return e, err
}

// runAll runs statements that wait for no lock but those of the first.
func (w work) runAll(ctx context.Context, tx pgx.Tx, statements ...string) error {
	for _, statement := range statements {
		if err := w.run(ctx, tx, statement); err != nil {
			return err
		}
	}
	return nil
}

// runAs runs one statement as the application's search path means it, and
// notes it.
func (w work) runAs(ctx context.Context, tx pgx.Tx, statement string) error {
	if err := w.s.asApplication(ctx, tx); err != nil {
		return err
	}
	begun := time.Now()
	if _, err := tx.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	took := time.Since(begun)
	if _, err := tx.Exec(ctx, `set local search_path = pg_catalog, pg_temp`); err != nil {
		return fmt.Errorf("set the search path: %w", err)
	}
	return w.log(ctx, tx, statement, took)
}

// share divides the lock timeout among n objects that a transaction locks one
// after the other: who queues behind the first waits for the others, too.
func (w work) share(ctx context.Context, tx pgx.Tx, n int) error {
	_, err := tx.Exec(ctx, `select set_config('lock_timeout', $1, true)`, milliseconds(max(w.s.options.LockTimeout/time.Duration(n), time.Millisecond)))
	if err != nil {
		return fmt.Errorf("limit waiting: %w", err)
	}
	return nil
}

// does is the step that an undo takes back, or the step itself.
func (w work) does() string { return strings.TrimPrefix(w.step.ID, string(change.Undo)+"/") }

// did tells whether the step, or the one that an undo takes back, is done.
func (w work) did(ctx context.Context, q querier) (change.Evidence, bool, error) {
	return finished(ctx, q, w.change.ID, w.does())
}

// forget notes that the step an undo takes back is not done any more.
func (w work) forget(ctx context.Context, tx pgx.Tx) error {
	for _, of := range []string{"gapless.step", "gapless.checkpoint"} {
		if _, err := tx.Exec(ctx, fmt.Sprintf(`delete from %s where change = $1 and step in ($2, $3)`, of), w.change.ID, w.does(), w.step.ID); err != nil {
			return fmt.Errorf("forget what was done: %w", err)
		}
	}
	return nil
}

// refused is a step that something stands in the way of.
func (w work) refused(remedy, format string, args ...any) error {
	return &RefusedError{Change: w.change.ID, Reasons: []string{fmt.Sprintf(format, args...)}, Remedy: remedy}
}

// refusal is PostgreSQL's reason for not running a statement.
type refusal struct{ message, code string }

func (r refusal) String() string { return fmt.Sprintf("%s (SQLSTATE %s)", r.message, r.code) }

// try runs a statement that PostgreSQL may refuse, and gives its reason; nil
// where it ran.
func try(ctx context.Context, tx pgx.Tx, sql string) (*refusal, error) {
	err := pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error { _, err := inner.Exec(ctx, sql); return err })
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && !metLock(err) && pg.Code != queryCanceled {
		return &refusal{pg.Message, pg.Code}, nil
	}
	return nil, err
}

// absent tells whether PostgreSQL misses something that a name stands for.
func absent(code string) bool {
	switch code {
	case "42P01", "42703", "42883", "42704", "3F000": // table, column, function, any other object, schema
		return true
	}
	return false
}

// done tells whether the step of an operation is done.
func (i *inspector) done(ctx context.Context, o change.Operation) (done bool, err error) {
	if i.st.digest == "" { // never begun
		return false, nil
	}
	for _, step := range slices.Concat(change.ExpandSteps(i.c), change.ContractSteps(i.c)) {
		if step.Kind == change.Operate && step.Operation == o {
			_, done, err = finished(ctx, i.s, i.c.ID, step.ID)
		}
	}
	return done, err
}

// mayCreate refuses where the role may make nothing in a schema, and warns
// where nobody else could use what it makes.
func (i *inspector) mayCreate(ctx context.Context, what string, o named) error {
	if o.schema == "" {
		i.refuse("%s: the search path has no schema to make it in", what)
		return nil
	}
	var there, may, granted bool
	err := i.s.QueryRow(ctx, `
		select n.oid is not null, coalesce(has_schema_privilege(n.oid, 'create'), false),
		  exists (select from pg_default_acl d where d.defaclrole = r.oid and d.defaclobjtype = 'r' and d.defaclnamespace in (0, n.oid))
		from pg_roles r left join pg_namespace n on n.nspname = $1 where r.rolname = current_user`, o.schema).Scan(&there, &may, &granted)
	switch {
	case err != nil:
		return fmt.Errorf("look up privileges: %w", err)
	case !there:
		i.refuse("%s: there is no schema %s", what, ident(o.schema))
	case !may:
		i.refuse("%s: the role may not create anything in schema %s", what, ident(o.schema))
	case !granted:
		i.warn("%s: only the role that makes it may use it, unless an sql operation grants it to others", what)
	}
	return nil
}
