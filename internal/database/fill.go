package database

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// mark tells our statements on the application's tables from its own in
// pg_stat_statements.
const mark = "/* gapless */ "

// beginBatch makes a batch's settings. What it writes passes by the sync trigger
// of the change of this name.
func (f *filler) beginBatch(ctx context.Context, tx pgx.Tx, passes string, patience time.Duration) error {
	// Whoever waits for one of our rows waits no longer for us than for the
	// batch: we give up before the server looks for a deadlock, so that it is
	// never the application's transaction that ends. A lost commit is lost
	// together with its checkpoint.
	_, err := tx.Exec(ctx, `
		select set_config('gapless.backfill', $1, true), set_config('synchronous_commit', 'off', true), set_config('enable_seqscan', 'off', true),
		  set_config('lock_timeout', least($2::bigint, setting::bigint / 2) || 'ms', true), set_config('statement_timeout', $3, true)
		from pg_settings where name = 'deadlock_timeout'`,
		passes, f.db.options.LockTimeout.Milliseconds(), milliseconds(patience))
	if err != nil {
		return fmt.Errorf("begin a batch: %w", err)
	}
	return nil
}

// fill gives the rows of a span that have no new form one. The update looks at
// each row again under its lock, so that what a writer did meanwhile stands.
func (f *filler) fill(ctx context.Context, tx pgx.Tx, within span, rowByRow bool, patience time.Duration) (int64, error) {
	r := f.r
	if err := f.beginBatch(ctx, tx, r.change.ID, patience); err != nil {
		return 0, err
	}
	condition, args := within.condition(r.table.key)
	unset := condition + " and " + allNull(r.new, "")
	if f.blank {
		unset += " and " + anyNotNull(r.old, "")
	}
	var sets []string
	for _, c := range r.new {
		sets = append(sets, c.ident()+" = "+r.f(c))
	}
	statement := fmt.Sprintf(mark+"update %s set %s where %s", r.table.ident(), comma(sets), unset)
	if rowByRow {
		call := fmt.Sprintf("%s(%s) as f", r.forwardName(), comma(idents(r.old, "")))
		unmapped := fmt.Sprintf(`
			insert into gapless.kept (change, tbl, key, side, value, why)
			select %[1]s, %[2]d::regclass, key, 'old', value, 'unmapped' from (
			  select %[3]s as key, %[4]s as value from %[5]s where %[6]s and not (select f.gapless_ok from %[7]s)) as bad
			where not exists (select from gapless.kept k where k.change = %[1]s and k.why = 'unmapped' and k.key = bad.key and k.value = bad.value)`,
			literal(r.change.ID), r.table.oid, object(r.table.key, ""), object(r.old, ""), r.table.ident(), unset, call)
		if _, err := tx.Exec(ctx, unmapped, args...); err != nil {
			return 0, fmt.Errorf("note rows without a new form: %w", err)
		}
		statement = fmt.Sprintf(mark+"update %s set (%s) = (select %s from %s) where %s and (select f.gapless_ok from %s)",
			r.table.ident(), comma(idents(r.new, "")), comma(idents(r.new, "f.")), call, unset, call)
	}
	tag, err := tx.Exec(ctx, statement, args...)
	if err != nil {
		return 0, fmt.Errorf("fill a batch of %s: %w", r.table.ident(), err)
	}
	return tag.RowsAffected(), nil
}

// blankStaysBlank tells whether f of nothing is nothing, so that rows without an
// old form need no visit.
func (s *session) blankStaysBlank(ctx context.Context, r relation) (bool, error) {
	nulls := make([]string, len(r.old))
	for i, c := range r.old {
		nulls[i] = "null::" + c.sqlType
	}
	var blank bool
	err := s.QueryRow(ctx, fmt.Sprintf("select f.gapless_ok and %s from %s(%s) as f", allNull(r.new, "f."), r.forwardName(), comma(nulls))).Scan(&blank)
	if err != nil {
		return false, fmt.Errorf("map a row without an old form: %w", err)
	}
	return blank, nil
}
