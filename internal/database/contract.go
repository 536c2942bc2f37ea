package database

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

func (w work) contract(ctx context.Context) (change.Evidence, error) {
	switch w.step.Kind {
	case change.Hide:
		return w.hide(ctx)
	case change.Begin:
		return w.begin(ctx)
	case change.Operate:
		return w.operate(ctx)
	case change.Finish:
		return w.finish(ctx)
	default:
	}
	r, err := w.s.relation(ctx, w.change, w.standing)
	if err != nil {
		return change.Evidence{}, err
	}
	switch w.step.Kind {
	case change.DropIndexes:
		return w.dropIndexes(ctx, r)
	case change.ArchiveRows:
		return w.archiveRows(ctx, r)
	case change.Drop:
		return w.drop(ctx, r)
	default:
		return change.Evidence{}, fmt.Errorf("no step of kind %q in contract", w.step.Kind)
	}
}

// finish ends a contract that drops no column.
func (w work) finish(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	err := pgx.BeginFunc(ctx, w.s.Conn, func(tx pgx.Tx) error {
		if err := move(ctx, tx, w.change.ID, rollout.Contracted, rollout.Contracting); err != nil {
			return err
		}
		return finish(ctx, tx, w.change.ID, e)
	})
	if err != nil {
		return e, err
	}
	return e, w.db.prune(ctx, w.s)
}

// reverify verifies once more that the new form has everything.
func (w work) reverify(ctx context.Context) (change.Evidence, error) {
	v := verifier{db: w.db, s: w.s, c: w.change, scope: change.ScopeRelease, progress: w.progress}
	e, err := v.run(ctx, w.standing)
	if err != nil {
		return e, err
	}
	if e.Step = w.step.ID; !e.Passed() {
		return e, &change.UnverifiedError{Change: w.change.ID, Evidence: e}
	}
	return e, nil
}

// begin verifies, refuses while something else needs the old form, and keeps
// the definitions of what will go.
func (w work) begin(ctx context.Context) (change.Evidence, error) {
	e, err := w.reverify(ctx)
	if err != nil {
		return e, err
	}
	if err := w.unhindered(ctx); err != nil {
		return e, err
	}
	if len(w.change.Dropped()) == 0 {
		return e, pgx.BeginFunc(ctx, w.s.Conn, func(tx pgx.Tx) error { return w.begun(ctx, tx, e) })
	}
	r, err := w.s.relation(ctx, w.change, w.standing)
	if err != nil {
		return e, err
	}
	return e, w.db.inTransaction(ctx, w.s, "table "+r.table.ident(), func(tx pgx.Tx) error {
		if w.standing.state != rollout.Expanded { // what it may take along is settled
			if _, err := w.named(ctx, tx, r, true); err != nil {
				return err
			}
		} else if err := w.settle(ctx, tx, r); err != nil {
			return err
		}
		return w.begun(ctx, tx, e)
	})
}

// unhindered refuses while anything stands in the way of any operation: none is
// carried out while a later one could not be.
func (w work) unhindered(ctx context.Context) error {
	if w.standing.state == rollout.Contracting { // some may be done
		return nil
	}
	t, _, err := tableOf(ctx, w.s, w.change)
	if err != nil {
		return err
	}
	var facts change.Facts
	i := inspector{db: w.db, s: w.s, c: w.change, t: t, st: w.standing, facts: &facts}
	if err := i.operations(ctx); err != nil {
		return err
	}
	if len(facts.Refusals) > 0 {
		return &RefusedError{Change: w.change.ID, Reasons: facts.Refusals, Remedy: "nothing was dropped; mend this and run contract again"}
	}
	return blocked(w.change, facts.Dependents)
}

// settle refuses while something else needs what contract drops, and archives
// the definitions of what goes along: nothing else may from then on.
func (w work) settle(ctx context.Context, tx pgx.Tx, r relation) error {
	hanging, err := w.s.dependents(ctx, tx, w.change, r.table, true)
	if err != nil {
		return err
	}
	if err := blocked(w.change, hanging); err != nil {
		return err
	}
	columns, err := w.s.columnDefinitions(ctx, tx, r)
	if err != nil {
		return err
	}
	for _, d := range append(columns, hanging...) {
		_, err := tx.Exec(ctx, `insert into gapless.archived_definition (change, kind, name, definition, of_column) values ($1, $2, $3, $4, true)
			on conflict (change, kind, name) do update set definition = excluded.definition, of_column = true, at = clock_timestamp()`, w.change.ID, d.Kind, d.Name, d.Definition)
		if err != nil {
			return fmt.Errorf("archive the definition of %s %s: %w", d.Kind, d.Name, err)
		}
	}
	return nil
}

// begun marks the contract begun.
func (w work) begun(ctx context.Context, tx pgx.Tx, e change.Evidence) error {
	if w.standing.state != rollout.Contracting {
		if err := move(ctx, tx, w.change.ID, rollout.Contracting, rollout.Expanded, rollout.Hidden); err != nil {
			return err
		}
	}
	return finish(ctx, tx, w.change.ID, e)
}

// columnDefinitions are what would make each dropped column again, without its
// default, which is a dependent of its own.
func (s *session) columnDefinitions(ctx context.Context, tx pgx.Tx, r relation) ([]change.Dependent, error) {
	var all []change.Dependent
	for _, c := range r.dropped() {
		add := func(kind, format string, args ...any) {
			all = append(all, change.Dependent{Kind: kind, Name: "of column " + c.label(), Definition: fmt.Sprintf(format, args...)})
		}
		all = append(all, change.Dependent{Kind: "column", Name: c.label(), Definition: fmt.Sprintf("alter table %s add column %s %s", r.table.ident(), c.label(), c.declared())})
		if c.notNull {
			add("not null", "alter table %s alter column %s set not null", r.table.ident(), c.label())
		}
		var comment *string
		var grants []string
		err := tx.QueryRow(ctx, `
			select quote_literal(col_description(attrelid, attnum)), array(
			  select format('grant %s (%s) on %s to %s%s', lower(x.privilege_type), $3::text, $4::text,
			    case x.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end, case when x.is_grantable then ' with grant option' else '' end)
			  from aclexplode(attacl) x order by 1)
			from pg_attribute where attrelid = $1 and attname = $2`, r.table.oid, c.stored(), c.label(), r.table.ident()).Scan(&comment, &grants)
		if err != nil {
			return nil, fmt.Errorf("read the definition of column %s: %w", c.label(), err)
		}
		if comment != nil {
			add("comment", "comment on column %s.%s is %s", r.table.ident(), c.label(), *comment)
		}
		for i, grant := range grants {
			add(fmt.Sprintf("privilege #%d", i+1), "%s", grant)
		}
	}
	return all, nil
}

func blocked(c change.Change, hanging []change.Dependent) error {
	var reasons []string
	for _, d := range hanging {
		if d.Fate == change.Blocks {
			reasons = append(reasons, fmt.Sprintf("%s %s needs what contract drops", d.Kind, d.Name))
		}
	}
	if len(reasons) == 0 {
		return nil
	}
	return &RefusedError{Change: c.ID, Reasons: reasons, Remedy: "change or drop these first; gapless drops nothing that it did not name"}
}

// dropIndexes drops those that would vanish with the columns, without blocking
// anyone: from here on the way is forward only. An index of a partitioned table
// cannot be dropped so, and goes with the column.
func (w work) dropIndexes(ctx context.Context, r relation) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	hanging, err := w.named(ctx, w.s, r, true)
	if err != nil {
		return e, err
	}
	for _, d := range hanging {
		if d.Kind != "index" || r.table.partitioned() {
			continue
		}
		if err := w.concurrently(ctx, d.Name, "drop index concurrently if exists "+d.Name); err != nil {
			return e, err
		}
		e.Dropped = append(e.Dropped, "index "+d.Name)
	}
	before, done, err := finished(ctx, w.s, w.change.ID, e.Step)
	if err != nil {
		return e, err
	}
	if done { // a repeat adds to what went before
		e.Dropped = append(before.Dropped, e.Dropped...)
	}
	return w.done(ctx, e)
}

// named gives what hangs on the old columns now, and refuses what was not there,
// and so not named to anyone, when contract began.
func (w work) named(ctx context.Context, q querier, r relation, bodies bool) ([]change.Dependent, error) {
	hanging, err := w.s.dependents(ctx, q, w.change, r.table, bodies)
	if err != nil {
		return nil, err
	}
	if err := blocked(w.change, hanging); err != nil {
		return nil, err
	}
	rows, err := q.Query(ctx, `select kind || ' ' || name from gapless.archived_definition where change = $1 and of_column`, w.change.ID)
	if err != nil {
		return nil, fmt.Errorf("read what contract named: %w", err)
	}
	known, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read what contract named: %w", err)
	}
	for _, d := range hanging {
		if !slices.Contains(known, d.Kind+" "+d.Name) {
			return nil, &RefusedError{Change: w.change.ID, Reasons: []string{fmt.Sprintf("%s %s was added to what contract drops after it began", d.Kind, d.Name)},
				Remedy: "drop it, or approve the contract anew"}
		}
	}
	return hanging, nil
}

// drop removes the triggers and the old columns in one transaction: without the
// triggers, an old column that takes no NULL would fail every insert. The last
// captured rows are archived under the same lock, so that the archive is what
// the table held.
func (w work) drop(ctx context.Context, r relation) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	_, done, err := finished(ctx, w.s, w.change.ID, string(change.ArchiveRows))
	if err != nil {
		return e, err
	}
	if !done {
		return e, &RefusedError{Change: w.change.ID, Reasons: []string{"the old form is not archived"}, Remedy: "run the step before this one"}
	}
	a, err := w.contractArchiver(ctx, r)
	if err != nil {
		return e, err
	}
	hanging, err := w.named(ctx, w.s, r, true)
	if err != nil {
		return e, err
	}
	tables := []table{r.table}
	for _, d := range hanging {
		if d.Kind != "constraint" {
			continue
		}
		both, err := w.s.lockedBy(ctx, w.s, r.table, d.Definition)
		if err != nil {
			return e, err
		}
		tables = append(tables, both[1:]...)
	}
	if err := w.last(ctx, a, tables, func(tx pgx.Tx) error { return w.end(ctx, tx, a, r, &e) }); err != nil {
		return e, err
	}
	return w.db.seal(ctx, w.s, w.change)
}

const (
	// lockHeld is the longest that the last transaction may keep everybody out.
	lockHeld = 2 * time.Second
	// fewKeys are so many captured rows as that transaction archives.
	fewKeys = 500
)

// last ends an archive: the last captured rows are copied while nobody writes,
// and in the same transaction the columns go, which locks these tables.
func (w work) last(ctx context.Context, a *archiver, tables []table, end func(pgx.Tx) error) error {
	t := a.t.ident()
	err := w.db.retry(ctx, w.s, "table "+t, w.s.options.LockTimeout, func() error {
		if err := a.drain(ctx, fewKeys); err != nil { // while nobody waits
			return err
		}
		return pgx.BeginFunc(ctx, w.s.Conn, func(tx pgx.Tx) error {
			if err := w.s.seize(ctx, tx, nobody, tables); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, fmt.Sprintf(`lock table %s in access exclusive mode`, t)); err != nil {
				return fmt.Errorf("lock %s: %w", t, err)
			}
			if err := w.s.runs(ctx, tx, lockHeld); err != nil {
				return err
			}
			if err := a.rest(ctx, tx); err != nil {
				return err
			}
			return end(tx)
		})
	})
	if sqlState(err) == queryCanceled && ctx.Err() == nil {
		return fmt.Errorf("the last rows took longer than %s to archive under the lock, nothing was dropped: %w", lockHeld, err)
	}
	return err
}

// end is what ends the old form, in the transaction that holds the lock.
func (w work) end(ctx context.Context, tx pgx.Tx, a *archiver, r relation, e *change.Evidence) error {
	e.Dropped = nil
	hanging, err := w.named(ctx, tx, r, false)
	if err != nil {
		return err
	}
	var columns []string
	for _, c := range r.dropped() {
		columns = append(columns, "drop column "+c.ident()+" restrict")
		e.Dropped = append(e.Dropped, "column "+c.name)
	}
	statements := r.dropTriggers()
	statements = append(statements, a.stopCapturing()...)
	statements = append(statements, fmt.Sprintf("alter table %s %s", r.table.ident(), comma(columns)))
	statements = append(statements, r.dropFunctions()...)
	for _, statement := range statements {
		if err := w.run(ctx, tx, statement); err != nil {
			return err
		}
	}
	for _, d := range hanging {
		e.Dropped = append(e.Dropped, d.Kind+" "+d.Name)
	}
	if err := move(ctx, tx, w.change.ID, rollout.Contracted, rollout.Contracting); err != nil {
		return err
	}
	return finish(ctx, tx, w.change.ID, *e)
}
