package database

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Inspect looks at what a change is about to meet, and changes nothing. What
// keeps the change from being made is in Facts.Refusals; the error is for what
// could not be looked at.
func (db *DB) Inspect(ctx context.Context, c change.Change) (facts change.Facts, err error) {
	err = db.with(ctx, c.ID, func(s *session) error {
		facts, err = db.inspect(ctx, s, c)
		return err
	})
	if err != nil {
		return facts, fmt.Errorf("inspect: %w", err)
	}
	return facts, nil
}

func (db *DB) inspect(ctx context.Context, s *session, c change.Change) (change.Facts, error) {
	facts := change.Facts{State: rollout.Absent}
	st, err := standingOf(ctx, s, c.ID)
	if err != nil {
		return facts, err
	}
	facts.State, facts.Digest = st.state, st.digest
	has, err := s.inventory(ctx)
	if err != nil {
		return facts, err
	}
	if k, known := has.Change(c.ID); known && k.Service != db.options.Service {
		return facts, foreign(k)
	}
	if st.hiddenAt != nil && (st.state == rollout.Hidden || st.state == rollout.Contracting) {
		facts.HiddenAt = *st.hiddenAt
	}
	if st.state != rollout.Absent && st.digest != c.Digest {
		return facts, &EditedError{Change: c.ID, Was: st.digest, Is: c.Digest, State: st.state}
	}
	t, there, err := tableOf(ctx, s, c)
	if err != nil {
		return facts, err
	}
	i := inspector{db: db, s: s, c: c, t: t, st: st, facts: &facts}
	looks := []func(context.Context) error{i.server, i.operations, i.structure}
	if there {
		i.held(has)
		looks = []func(context.Context) error{
			i.server, i.size, i.kind, i.security, i.keys, i.columns, i.questions, i.triggers, i.publications, i.sessions, i.indexes, i.operations, i.structure, i.mapping, i.estimate, i.dependents,
		}
	}
	for _, look := range looks {
		if err := look(ctx); err != nil {
			return facts, err
		}
	}
	return facts, nil
}

// inspector is one look at what a change is about to meet. The table is zero
// for a change that has none, or none yet.
type inspector struct {
	db    *DB
	s     *session
	c     change.Change
	t     table
	st    standing
	facts *change.Facts
	// touched are definitions besides the table's that an approval is bound to.
	touched []string
	// filled are the columns whose default is filled in row by row.
	filled []string
}

// touches binds an approval to a definition besides the table's.
func (i *inspector) touches(definition string) { i.touched = append(i.touched, definition) }

// server says which version it is.
func (i *inspector) server(ctx context.Context) error {
	err := i.s.QueryRow(ctx, `select current_setting('server_version')`).Scan(&i.facts.ServerVersion)
	if err != nil {
		return fmt.Errorf("ask the server for its version: %w", err)
	}
	return nil
}

// operations has each operation's recipe look. What is done already is not
// looked at again.
func (i *inspector) operations(ctx context.Context) error {
	var ahead []change.Operation
	switch i.st.state {
	case rollout.Absent, rollout.Expanding:
		ahead = slices.Concat(i.c.Expand, i.c.Contract)
	case rollout.Expanded, rollout.Hidden, rollout.Contracting:
		ahead = i.c.ContractOperations()
	case rollout.Reverting, rollout.Contracted, rollout.Restoring:
	}
	for _, o := range ahead {
		r, err := recipeOf(o.Kind())
		if err != nil {
			return err
		}
		if err := r.look(ctx, i, o); err != nil {
			return fmt.Errorf("%s %s: %w", o.Kind(), o.Name(), err)
		}
	}
	return nil
}

func (i *inspector) refuse(format string, args ...any) {
	i.facts.Refusals = append(i.facts.Refusals, fmt.Sprintf(format, args...))
}

func (i *inspector) warn(format string, args ...any) {
	i.facts.Warnings = append(i.facts.Warnings, fmt.Sprintf(format, args...))
}

func (i *inspector) size(ctx context.Context) (err error) {
	i.facts.Table = i.t.ident()
	if i.facts.Rows, err = i.s.estimateRows(ctx, i.t); err != nil {
		return err
	}
	err = i.s.QueryRow(ctx, `select pg_table_size($1::oid)`, i.t.oid).Scan(&i.facts.Bytes)
	if err != nil {
		return fmt.Errorf("measure %s: %w", i.t.ident(), err)
	}
	return nil
}

// reserved tells whether a name means something else inside a trigger.
func reserved(name string) bool {
	switch name {
	case "new", "old", "found", "sqlstate", "sqlerrm":
		return true
	}
	return strings.HasPrefix(name, "tg_") || strings.HasPrefix(name, "gapless_")
}

func (i *inspector) columns(ctx context.Context) error {
	for _, c := range i.t.columns {
		i.facts.Columns = append(i.facts.Columns, change.Column{Name: c.name, Type: c.sqlType, Default: c.def, NotNull: c.notNull})
	}
	for _, name := range append(i.c.OldColumns(), i.c.NewColumns()...) {
		if reserved(name) {
			i.refuse("column %q has a name that PL/pgSQL or gapless uses itself", name)
		}
	}
	for _, name := range i.c.OldColumns() {
		c, ok := i.t.seen(i.c.ID, name)
		switch {
		case !ok && (i.st.state == rollout.Contracted || i.st.state == rollout.Restoring):
		case !ok:
			i.refuse("table %s has no column %q", i.t.ident(), name)
		case c.generated:
			i.refuse("column %q is generated: a trigger cannot read it, nor write it", name)
		case c.identity:
			i.refuse("column %q is an identity column, which is not supported", name)
		case c.volatileDef:
			i.warn("column %q has a default that gives another value each time: an INSERT that leaves it out cannot be told from one that names it", name)
		}
	}
	return i.added(ctx)
}

// sessions warns of transactions that would keep the DDL out, and of statements
// that cannot bear a new column.
func (i *inspector) sessions(ctx context.Context) error {
	rows, err := i.s.Query(ctx, `
		select distinct format('pid %s (%s, %s) has held a lock on the table for %s s: the DDL waits for it',
		  a.pid, coalesce(nullif(a.application_name, ''), a.backend_type), a.state, round(extract(epoch from now() - a.xact_start)))
		from pg_locks l join pg_stat_activity a using (pid)
		where l.relation = $1 and l.granted and a.pid <> pg_backend_pid() and a.xact_start < now() - interval '10 s' limit 5`, i.t.oid)
	if err != nil {
		return fmt.Errorf("look for long transactions: %w", err)
	}
	long, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for long transactions: %w", err)
	}
	i.facts.Warnings = append(i.facts.Warnings, long...)
	if len(i.c.Added()) > 0 && i.st.state == rollout.Absent {
		i.warn("a session that has prepared SELECT * or RETURNING * of table %s fails once when columns are added, unless its driver prepares again; COPY into it needs a column list", i.t.ident())
	}
	return nil
}

// mapping lets PostgreSQL read the expressions.
func (i *inspector) mapping(ctx context.Context) error {
	if i.c.Sync == nil || i.st.mapping.Forward != nil || len(i.facts.Refusals) > 0 {
		return nil
	}
	_, refusals, err := i.db.qualify(ctx, i.s, i.c, i.t)
	i.facts.Refusals = append(i.facts.Refusals, refusals...)
	return err
}

// estimate is how long the backfill would take: what the mapping takes for a
// few thousand rows, and what writing one takes here.
func (i *inspector) estimate(ctx context.Context) error {
	if i.c.Sync == nil || i.st.state != rollout.Absent || len(i.facts.Refusals) > 0 {
		return nil
	}
	const rows, writing = 5000, 4 * time.Microsecond
	forward := make([]string, 0, len(i.c.Sync.Forward))
	for _, name := range i.c.NewColumns() {
		forward = append(forward, fmt.Sprintf("count(%s\n)", i.c.Sync.Forward[name]))
	}
	var took time.Duration
	err := i.s.look(ctx, func(tx pgx.Tx) error {
		if err := i.s.asApplication(ctx, tx); err != nil {
			return err
		}
		sql := fmt.Sprintf(mark+"select %s from (select * from %s limit %d) as %s", comma(forward), i.t.ident(), rows, ident(i.t.name))
		begun := time.Now()
		_, err := tx.Exec(ctx, sql)
		took = time.Since(begun)
		return err
	})
	if aboutValue(err) {
		i.warn("sync.forward raises for some rows of the first %d: %v", rows, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("try the mapping on a sample: %w", err)
	}
	n := min(i.facts.Rows, rows)
	if n > 0 {
		i.facts.Backfill = time.Duration(i.facts.Rows) * (took/time.Duration(n) + writing)
	}
	return nil
}

func (i *inspector) indexes(ctx context.Context) error {
	rows, err := i.s.Query(ctx, `
		select 'index', format('%I.%I', n.nspname, c.relname), pg_get_indexdef(c.oid)
		from pg_index x join pg_class c on c.oid = x.indexrelid join pg_namespace n on n.oid = c.relnamespace
		where x.indrelid = $1 order by 2`, i.t.oid)
	if err != nil {
		return fmt.Errorf("read the indexes of %s: %w", i.t.ident(), err)
	}
	i.facts.Indexes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (change.Dependent, error) {
		d := change.Dependent{Fate: change.Stays}
		return d, row.Scan(&d.Kind, &d.Name, &d.Definition)
	})
	if err != nil {
		return fmt.Errorf("read the indexes of %s: %w", i.t.ident(), err)
	}
	return nil
}
