package database

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
)

// lockMode is how much a statement of ours locks a table.
type lockMode string

const (
	noOtherDDL lockMode = "share update exclusive" // readers and writers go on, vacuum does not
	noWriters  lockMode = "share row exclusive"
	nobody     lockMode = "access exclusive"
)

// errLockedParts is a table whose parts could not all be locked in time.
var errLockedParts = errors.New("not all could be locked in time")

// onTable is inTransaction with tables locked first as what work does will lock
// them, in their order.
func (w work) onTable(ctx context.Context, mode lockMode, tables []table, work func(pgx.Tx) error) error {
	return w.db.inTransaction(ctx, w.s, "table "+tables[0].ident(), func(tx pgx.Tx) error {
		if err := w.s.seize(ctx, tx, mode, tables); err != nil {
			return err
		}
		return work(tx)
	})
}

// seize locks tables for a statement to come. Others queue behind us no longer
// than the lock timeout, however many tables and partitions there are: that
// bounds each single wait, but whoever is behind the first bears their sum.
func (s *session) seize(ctx context.Context, tx pgx.Tx, mode lockMode, tables []table) error {
	patience := s.options.LockTimeout
	names, oids, one := make([]string, len(tables)), make([]uint32, len(tables)), len(tables) == 1
	for i, t := range tables {
		names[i], oids[i] = t.ident(), t.oid
		one = one && !t.partitioned()
	}
	var may bool // who refers to a table need not have the rights to lock it
	err := tx.QueryRow(ctx, `select bool_and(has_table_privilege(oid, 'update, delete, truncate')) from unnest($1::oid[]) oid`, oids).Scan(&may)
	if err != nil {
		return fmt.Errorf("ask who may lock %s: %w", comma(names), err)
	}
	if !may {
		return s.wait(ctx, tx, patience/time.Duration(len(tables)))
	}
	if err := s.endVacuum(ctx, tx, names); err != nil || one { // its statement waits once
		return err
	}
	if err := s.runs(ctx, tx, patience); err != nil {
		return err
	}
	err = lock(ctx, tx, names, mode)
	if sqlState(err) == queryCanceled && ctx.Err() == nil {
		return fmt.Errorf("%w: %w", errLockedParts, err)
	}
	if err != nil {
		return err
	}
	return s.runs(ctx, tx, s.options.StatementTimeout)
}

// calm keeps vacuum from a table, if it is one and the role may lock it, before a
// statement that locks it and none of its partitions.
func (s *session) calm(ctx context.Context, tx pgx.Tx, o named) error {
	var may bool
	err := tx.QueryRow(ctx, `select relkind = 'r' and has_table_privilege(oid, 'update, delete, truncate') from pg_class where oid = $1`, o.oid).Scan(&may)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !may {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask who may lock %s: %w", o.ident(), err)
	}
	return s.endVacuum(ctx, tx, []string{o.ident()})
}

func lock(ctx context.Context, tx pgx.Tx, names []string, mode lockMode) error {
	if _, err := tx.Exec(ctx, fmt.Sprintf("lock table %s in %s mode", comma(names), mode)); err != nil {
		return fmt.Errorf("lock %s: %w", comma(names), err)
	}
	return nil
}

// endVacuum keeps vacuum from tables. An autovacuum that is at work gives way
// only to who has waited until the server looks for a deadlock, which is longer
// than we may wait for a lock that others queue behind: for this one they do not.
func (s *session) endVacuum(ctx context.Context, tx pgx.Tx, names []string) error {
	_, err := tx.Exec(ctx, `select set_config('lock_timeout', greatest($1::bigint, setting::bigint + 500) || 'ms', true)
		from pg_settings where name = 'deadlock_timeout'`, s.options.LockTimeout.Milliseconds())
	if err != nil {
		return fmt.Errorf("limit waiting: %w", err)
	}
	if err := lock(ctx, tx, names, noOtherDDL); err != nil {
		return err
	}
	return s.wait(ctx, tx, s.options.LockTimeout)
}

// wait sets how long each lock of a transaction is waited for.
func (s *session) wait(ctx context.Context, tx pgx.Tx, patience time.Duration) error {
	if _, err := tx.Exec(ctx, `select set_config('lock_timeout', $1, true)`, milliseconds(max(patience, time.Millisecond))); err != nil {
		return fmt.Errorf("limit waiting: %w", err)
	}
	return nil
}

// runs sets how long each statement of a transaction may take.
func (s *session) runs(ctx context.Context, tx pgx.Tx, limit time.Duration) error {
	if _, err := tx.Exec(ctx, `select set_config('statement_timeout', $1, true)`, milliseconds(limit)); err != nil {
		return fmt.Errorf("limit the time: %w", err)
	}
	return nil
}

// referred gives the other table of a foreign key's definition.
func referred(definition string) (name string, is bool) {
	reference := regexp.MustCompile(`FOREIGN KEY \(.*?\) REFERENCES ((?:"(?:[^"]|"")+"|[^".(]+)(?:\.(?:"(?:[^"]|"")+"|[^".(]+))?)\s*\(`)
	found := reference.FindStringSubmatch(definition)
	if found == nil {
		return "", false
	}
	return found[1], true
}

// lockedBy are the tables that a statement about a constraint of a table locks:
// a foreign key's other table, too.
func (s *session) lockedBy(ctx context.Context, q querier, t table, definition string) ([]table, error) {
	tables := []table{t}
	name, is := referred(definition)
	if !is {
		return tables, nil
	}
	var to table
	err := q.QueryRow(ctx, `select c.oid, n.nspname, c.relname, c.relkind::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.oid = to_regclass($1)`, name).Scan(&to.oid, &to.schema, &to.name, &to.kind)
	if errors.Is(err, pgx.ErrNoRows) {
		return tables, nil // the statement itself tells
	}
	if err != nil {
		return nil, fmt.Errorf("find table %s: %w", name, err)
	}
	if to.oid == t.oid {
		return tables, nil
	}
	return append(tables, to), nil
}
