package database

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// restore carries out one step of the way back of contract.
func (w work) restore(ctx context.Context) (change.Evidence, error) {
	if w.standing.state == rollout.Expanded && w.step.Kind != change.Unhide { // it is over
		e, _, err := finished(ctx, w.s, w.change.ID, w.step.ID)
		return e, err
	}
	switch w.step.Kind {
	case change.Unhide:
		return w.unhide(ctx)
	case change.Return:
		return w.turnBack(ctx)
	case change.Readd:
		return w.readd(ctx)
	case change.Refill:
		return w.refill(ctx)
	case change.Rebuild:
		return w.rebuild(ctx)
	case change.TakeBack:
		return w.takeBack(ctx)
	case change.Returned:
		return w.returned(ctx)
	default:
		return change.Evidence{}, fmt.Errorf("no step of kind %q in restore", w.step.Kind)
	}
}

// returns are the states of a change in which a step of restore makes sense.
func returns(kind change.StepKind) []rollout.ChangeState {
	switch kind {
	case change.Unhide:
		return []rollout.ChangeState{rollout.Hidden, rollout.Expanded}
	case change.Return:
		return []rollout.ChangeState{rollout.Contracted, rollout.Restoring, rollout.Expanded}
	default:
		return []rollout.ChangeState{rollout.Restoring, rollout.Expanded}
	}
}

// turnBack refuses what could not be brought back as a whole, and begins.
func (w work) turnBack(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	if w.standing.state == rollout.Restoring {
		return w.done(ctx, e)
	}
	var reasons []string
	if len(w.change.Dropped()) > 0 {
		archive, err := w.contracted(ctx)
		switch {
		case err != nil:
			return e, err
		case archive == nil:
			reasons = append(reasons, "its archive is gone, so that no old value could be brought back")
		default:
			reasons = append(reasons, archive.unfit...)
			firing, err := w.firing(ctx)
			if err != nil {
				return e, err
			}
			reasons = append(reasons, firing...)
			e.ArchiveTable = archive.table.ident()
		}
	}
	for _, o := range w.change.Contract {
		if o.SQL != nil && strings.TrimSpace(o.SQL.Undo) == "" {
			reasons = append(reasons, "its contract ran plain SQL, which is not taken back")
		}
	}
	keys, err := w.blockingKeys(ctx)
	if err != nil {
		return e, err
	}
	reasons = append(reasons, keys...)
	if len(reasons) > 0 {
		return e, &RefusedError{Change: w.change.ID, Reasons: reasons, Remedy: "bring the old form back by a change of its own"}
	}
	for _, in := range []func(context.Context) error{w.unindexable, w.obstructed} {
		if err := in(ctx); err != nil {
			return e, err
		}
	}
	return e, pgx.BeginFunc(ctx, w.s.Conn, func(tx pgx.Tx) error {
		// What an earlier way back noted is not done now.
		if err := w.forgetSteps(ctx, tx, change.RestoreSteps(w.change)); err != nil {
			return err
		}
		if err := w.beginWalk(ctx, tx, string(change.Refill)); err != nil {
			return err
		}
		if err := move(ctx, tx, w.change.ID, rollout.Restoring, rollout.Contracted); err != nil {
			return err
		}
		return finish(ctx, tx, w.change.ID, e)
	})
}

// firing tells of triggers of the application that would fire for the rows that
// are filled again.
func (w work) firing(ctx context.Context) ([]string, error) {
	t, err := w.table(ctx)
	if err != nil {
		return nil, err
	}
	var facts change.Facts
	i := inspector{db: w.db, s: w.s, c: w.change, t: t, st: w.standing, facts: &facts}
	err = i.firing(ctx, w.change.Dropped())
	return facts.Refusals, err
}

// forgetSteps notes that steps are not done any more.
func (w work) forgetSteps(ctx context.Context, tx pgx.Tx, steps []change.Step) error {
	var ids []string
	for _, step := range steps {
		ids = append(ids, step.ID)
	}
	for _, of := range []string{"gapless.step", "gapless.checkpoint"} {
		if _, err := tx.Exec(ctx, fmt.Sprintf(`delete from %s where change = $1 and step = any($2)`, of), w.change.ID, ids); err != nil {
			return fmt.Errorf("forget what was done: %w", err)
		}
	}
	return nil
}

// contractArchive is what contract archived.
type contractArchive struct {
	table table
	unfit []string // why it does not fit the table any more
}

// contracted finds the archive of the change's contract; nil if it is gone.
func (w work) contracted(ctx context.Context) (*contractArchive, error) {
	var name string
	err := w.s.QueryRow(ctx, `select archive_table from gapless.archive
		where change = $1 and kind = $2 and done_at is not null and restored_at is null and to_regclass(archive_table) is not null
		order by n desc limit 1`, w.change.ID, string(ofContract)).Scan(&name)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find the archive: %w", err)
	}
	t, err := w.table(ctx)
	if err != nil {
		return nil, err
	}
	a := &contractArchive{}
	if a.table, err = w.s.archiveTable(ctx, name); err != nil {
		return nil, err
	}
	same := slices.EqualFunc(t.key, a.table.key, func(is, was column) bool { return is.name == was.name && is.sqlType == was.sqlType })
	if !same || len(t.key) == 0 {
		a.unfit = append(a.unfit, fmt.Sprintf("the key of table %s is not the one that its rows were archived with", t.ident()))
	}
	for _, name := range w.change.Dropped() {
		if _, taken := t.column(name); taken && w.standing.state == rollout.Contracted {
			a.unfit = append(a.unfit, fmt.Sprintf("table %s has a column %q again", t.ident(), name))
		}
	}
	for _, name := range w.change.NewColumns() {
		if _, there := t.column(name); !there {
			a.unfit = append(a.unfit, fmt.Sprintf("table %s has no column %q any more", t.ident(), name))
		}
	}
	return a, nil
}

// readd adds the old columns, empty and with their defaults, and the triggers,
// in one transaction: from there on new rows have both forms.
func (w work) readd(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	t, err := w.table(ctx)
	if err != nil {
		return e, err
	}
	return e, w.db.inTransaction(ctx, w.s, "table "+t.ident(), func(tx pgx.Tx) error {
		if err := w.s.describe(ctx, tx, &t); err != nil {
			return err
		}
		if slices.ContainsFunc(w.change.Dropped(), func(name string) bool { _, there := t.column(name); return !there }) {
			if err := w.s.seize(ctx, tx, nobody, []table{t}); err != nil {
				return err
			}
			if err := w.definitions(ctx, tx, "sequence", "column", "default", "sequence's owner", "comment", "privilege"); err != nil {
				return err
			}
		}
		if err := w.s.describe(ctx, tx, &t); err != nil {
			return err
		}
		r, err := relationOf(w.change, t, w.standing.mapping)
		if err != nil {
			return err
		}
		functions, err := r.functions()
		if err != nil {
			return err
		}
		if err := w.make(ctx, tx, t, functions, append(r.triggers(), r.watches()...)); err != nil {
			return err
		}
		return finish(ctx, tx, w.change.ID, e)
	})
}

// definitions runs what contract archived of some kinds, in their order.
func (w work) definitions(ctx context.Context, tx pgx.Tx, kinds ...string) error {
	rows, err := tx.Query(ctx, `select definition from gapless.archived_definition
		where change = $1 and of_column and split_part(kind, ' #', 1) = any($2) order by array_position($2, split_part(kind, ' #', 1)), kind, name`, w.change.ID, kinds)
	if err != nil {
		return fmt.Errorf("read the archived definitions: %w", err)
	}
	statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("read the archived definitions: %w", err)
	}
	for _, statement := range statements {
		if err := w.run(ctx, tx, statement); err != nil {
			return err
		}
	}
	return nil
}

// refill gives every row its old form again: the archived one where it still
// agrees with the row's new form, else the one that the new form gives.
func (w work) refill(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	r, err := w.s.relation(ctx, w.change, w.standing)
	if err != nil {
		return e, err
	}
	archive, err := w.contracted(ctx)
	if err != nil {
		return e, err
	}
	if archive == nil || len(archive.unfit) > 0 {
		return e, &RefusedError{Change: w.change.ID, Reasons: []string{"its archive is gone or does not fit the table any more"}}
	}
	begun := w.db.options.Now()
	err = w.walk(ctx, r.table, string(change.Refill), func(ctx context.Context, tx pgx.Tx, within span) (int64, error) {
		if err := w.asBackfill(ctx, tx); err != nil {
			return 0, err
		}
		condition, args := within.condition(r.table.key)
		tag, err := tx.Exec(ctx, r.refilling(archive.table, condition), args...)
		if err != nil {
			return 0, fmt.Errorf("fill rows of %s again: %w", r.table.ident(), err)
		}
		return tag.RowsAffected(), nil
	})
	if err != nil {
		return e, err
	}
	err = w.s.QueryRow(ctx, `select rows from gapless.checkpoint where change = $1 and step = $2 and part = 0`, w.change.ID, string(change.Refill)).Scan(&e.Rows)
	if err != nil {
		return e, fmt.Errorf("count what was filled again: %w", err)
	}
	if e.Seconds = w.db.options.Now().Sub(begun).Seconds(); e.Seconds > 0 {
		e.RowsPerSecond = float64(e.Rows) / e.Seconds
	}
	return w.done(ctx, e)
}

// asBackfill has the sync trigger let a batch pass. Whoever waits for one of our
// rows waits no longer for us than for the batch: we give up before the server
// looks for a deadlock, so that it is never the application's transaction that
// ends.
func (w work) asBackfill(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `
		select set_config('gapless.backfill', $1, true), set_config('lock_timeout', least($2::bigint, setting::bigint / 2) || 'ms', true)
		from pg_settings where name = 'deadlock_timeout'`, w.change.ID, w.s.options.LockTimeout.Milliseconds())
	if err != nil {
		return fmt.Errorf("begin a batch: %w", err)
	}
	return nil
}

// refilling is the statement that fills the rows of a span again. What it sets
// is worked out from the row that it locks.
func (r relation) refilling(archive table, condition string) string {
	var same, values, unset []string
	for _, k := range r.table.key {
		same = append(same, fmt.Sprintf("a.%[1]s = t.%[1]s", k.ident()))
	}
	from := fmt.Sprintf("(select) as one left join %s as a on %s", archive.ident(), strings.Join(same, " and "))
	if r.synced() {
		from += fmt.Sprintf(" cross join lateral %s(%s) as f cross join lateral %s(%s) as g",
			r.forwardName(), comma(labels(r.old, "a.")), r.backwardName(), comma(idents(r.new, "t.")))
		holds := fmt.Sprintf("a.%s is not null and (f.gapless_ok and not %s or g.gapless_ok and not %s)", r.table.key[0].ident(),
			differ(r.new, under("t."), labelled("f.")), differ(r.old, labelled("a."), labelled("g.")))
		for _, c := range r.old {
			values = append(values, fmt.Sprintf("case when not %s then t.%[2]s when %[3]s then a.%[4]s else g.%[4]s end", allNull(r.old, "t."), c.ident(), holds, c.label()))
		}
		unset = append(unset, allNull(r.old, "t."))
	}
	for _, c := range r.abandoned {
		missing := "null"
		if c.def != "" {
			missing = c.def
		}
		values = append(values, fmt.Sprintf("case when t.%[1]s is not null then t.%[1]s when a.%[2]s is not null then a.%[3]s else %[4]s end",
			c.ident(), r.table.key[0].ident(), c.label(), missing))
		unset = append(unset, "t."+c.ident()+" is null")
	}
	return fmt.Sprintf(mark+"update %s as t set (%s) = (select %s from %s) where %s and (%s)",
		r.table.ident(), comma(idents(r.dropped(), "")), comma(values), from, condition, strings.Join(unset, " or "))
}

// returned verifies and ends the way back. What the contract noted is not done
// any more; its archive stays until it expires.
func (w work) returned(ctx context.Context) (change.Evidence, error) {
	e, err := w.reverify(ctx)
	if err != nil {
		return e, err
	}
	return e, pgx.BeginFunc(ctx, w.s.Conn, func(tx pgx.Tx) error {
		if err := w.forgetSteps(ctx, tx, change.ContractSteps(w.change)); err != nil {
			return err
		}
		for _, statement := range []string{
			`delete from gapless.archived_definition where change = $1`,
			`update gapless.archive set restored_at = clock_timestamp() where change = $1 and kind in ('contract', 'table') and restored_at is null`,
		} {
			if _, err := tx.Exec(ctx, statement, w.change.ID); err != nil {
				return fmt.Errorf("end the way back: %w", err)
			}
		}
		if err := move(ctx, tx, w.change.ID, rollout.Expanded, rollout.Restoring); err != nil {
			return err
		}
		return finish(ctx, tx, w.change.ID, e)
	})
}
