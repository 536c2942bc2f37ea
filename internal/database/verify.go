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

// Verify tells whether the data is as it must be. It changes nothing. A
// verification that finds something wrong is no error: see Evidence.Passed.
func (db *DB) Verify(ctx context.Context, c change.Change, scope change.Scope) (change.Evidence, error) {
	e := change.Evidence{Step: string(scope)}
	err := db.with(ctx, c.ID, func(s *session) error {
		st, err := admit(ctx, s, c, "verify", rollout.Expanding, rollout.Expanded, rollout.Hidden, rollout.Contracting)
		if err != nil {
			return err
		}
		v := verifier{db: db, s: s, c: c, scope: scope, progress: func(change.Progress) {}}
		e, err = v.run(ctx, st)
		return err
	})
	if err != nil {
		return e, fmt.Errorf("verify: %w", err)
	}
	return e, nil
}

// conclude verifies, puts right what the backfill could not meet, and marks the
// change expanded.
func (db *DB) conclude(ctx context.Context, s *session, c change.Change, st standing, progress func(change.Progress)) (change.Evidence, error) {
	v := verifier{db: db, s: s, c: c, scope: change.ScopeExpand, repair: true, progress: progress}
	if st.state == rollout.Expanded {
		v.scope = change.ScopeRelease // the new form may have writers since
	}
	e, err := v.run(ctx, st)
	if err != nil {
		return e, err
	}
	e.Step = string(change.Verifying)
	if !e.Passed() {
		return e, &change.UnverifiedError{Change: c.ID, Evidence: e}
	}
	return e, pgx.BeginFunc(ctx, s.Conn, func(tx pgx.Tx) error {
		if st.state == rollout.Expanding {
			if err := move(ctx, tx, c.ID, rollout.Expanded, rollout.Expanding); err != nil {
				return err
			}
		}
		return finish(ctx, tx, c.ID, e)
	})
}

// verifier is one verification.
type verifier struct {
	db       *DB
	s        *session
	c        change.Change
	scope    change.Scope
	repair   bool
	progress func(change.Progress)

	r     relation
	begun time.Time
	total int64
	e     change.Evidence
}

// mostKeys bounds the keys that evidence names.
const mostKeys = 10

func (v *verifier) run(ctx context.Context, st standing) (change.Evidence, error) {
	v.e = change.Evidence{Step: string(v.scope)}
	v.begun = v.db.options.Now()
	if v.c.Sync != nil {
		if err := v.forms(ctx, st); err != nil {
			return v.e, err
		}
	}
	for _, check := range v.c.Verify.Checks {
		result, err := v.check(ctx, check)
		if err != nil {
			return v.e, err
		}
		v.e.Checks = append(v.e.Checks, result)
	}
	// What was admitted has this digest; so evidence is never of nothing.
	v.e.Checks = append(v.e.Checks, inForce("registered under this digest", st.digest == v.c.Digest))
	if err := v.operations(ctx, st); err != nil {
		return v.e, err
	}
	v.e.Seconds = v.db.options.Now().Sub(v.begun).Seconds()
	if v.e.Seconds > 0 {
		v.e.RowsPerSecond = float64(v.e.Rows) / v.e.Seconds
	}
	return v.e, nil
}

// forms verifies every row, in short statements.
func (v *verifier) forms(ctx context.Context, st standing) (err error) {
	if v.r, err = v.s.relation(ctx, v.c, st); err != nil {
		return err
	}
	there, err := v.s.triggersThere(ctx, v.r.table, v.r.triggers())
	if err != nil {
		return err
	}
	if v.total, err = v.s.countRows(ctx, v.r.table); err != nil {
		return err
	}
	pace, rest := newPace(v.db.options.BatchTarget), span{}
	for last := false; !last; {
		var chunk span
		if chunk, last, err = v.s.step(ctx, v.s, v.r.table, rest, pace.size()); err != nil {
			return err
		}
		begun := time.Now()
		if err := v.chunk(ctx, chunk); err != nil {
			if sqlState(err) == queryCanceled && ctx.Err() == nil && pace.size() > 1 {
				pace.failed()
				last = false
				continue
			}
			return err
		}
		pace.took(pace.size(), time.Since(begun))
		rest.lower = chunk.upper
		v.tell()
	}
	err = v.s.QueryRow(ctx, `select count(*) from gapless.kept where change = $1`, v.c.ID).Scan(&v.e.Kept)
	if err != nil {
		return fmt.Errorf("count the kept values: %w", err)
	}
	exact := func(name string, observed, want int64) {
		v.e.Checks = append(v.e.Checks, change.CheckResult{Name: name, Observed: observed, Allowed: fmt.Sprint(want), Passed: observed == want})
	}
	exact("sync triggers in force", int64(there), int64(len(v.r.triggers())))
	exact("rows whose two forms disagree", v.e.Violations, 0)
	exact("rows without a new form", v.e.Unmapped, 0)
	if v.scope == change.ScopeExpand {
		v.e.Checks = append(v.e.Checks, change.CheckResult{Name: "rows that lose something on the way there and back", Observed: v.e.Lossy,
			Allowed: fmt.Sprintf("at most %d", v.c.Verify.LossyMax), Passed: v.e.Lossy <= v.c.Verify.LossyMax})
	}
	return nil
}

func (v *verifier) tell() {
	p := change.Progress{Step: string(change.Verifying), Done: min(v.e.Rows, max(v.total, 0)), Total: v.total}
	if seconds := v.db.options.Now().Sub(v.begun).Seconds(); seconds > 0 {
		p.Rate = float64(v.e.Rows) / seconds
		p.ETA = time.Duration(float64(max(v.total-v.e.Rows, 0)) / max(p.Rate, 1) * float64(time.Second))
	}
	v.progress(p)
}

// found is what one look at a chunk saw.
type found struct {
	rows, violations, unmapped, lossy int64
	keys                              []string
}

// repairs is how often a chunk is put right and looked at again.
const repairs = 3

// chunk looks at one stretch of rows: first with plain expressions, which are
// fast, and where these find anything or raise, with the functions that tell
// raising apart.
func (v *verifier) chunk(ctx context.Context, within span) error {
	seen, err := v.plainly(ctx, within)
	if err != nil && !aboutValue(err) {
		return err
	}
	if err != nil || seen.violations > 0 {
		if seen, err = v.carefully(ctx, within); err != nil {
			return err
		}
		for n := 0; v.repair && seen.violations > 0 && n < repairs; n++ {
			if err := v.put(ctx, within); err != nil {
				return err
			}
			before := seen.violations
			if seen, err = v.carefully(ctx, within); err != nil {
				return err
			}
			v.e.Repaired += max(before-seen.violations, 0)
		}
	}
	v.e.Rows += seen.rows
	v.e.Violations += seen.violations
	v.e.Unmapped += seen.unmapped
	v.e.Lossy += seen.lossy
	v.e.Keys = append(v.e.Keys, seen.keys[:min(len(seen.keys), mostKeys-len(v.e.Keys))]...)
	return nil
}

// put gives rows without a new form one, as the backfill does.
func (v *verifier) put(ctx context.Context, within span) error {
	f := &filler{db: v.db, r: v.r}
	return v.db.retry(ctx, v.s, "rows of table "+v.r.table.ident(), v.db.options.LockTimeout, func() error {
		return pgx.BeginFunc(ctx, v.s.Conn, func(tx pgx.Tx) error {
			_, err := f.fill(ctx, tx, within, true, v.db.options.StatementTimeout)
			return err
		})
	})
}

// looking keeps the plan to the key's index and the transaction to reading.
func (v *verifier) looking(ctx context.Context, sql string, args []any) (f found, err error) {
	err = pgx.BeginTxFunc(ctx, v.s.Conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local enable_seqscan = off`); err != nil {
			return err
		}
		return tx.QueryRow(ctx, sql, args...).Scan(&f.rows, &f.violations, &f.unmapped, &f.lossy, &f.keys)
	})
	if err != nil {
		return found{}, fmt.Errorf("look at rows of %s: %w", v.r.table.ident(), err)
	}
	return f, nil
}

// plainly counts rows for which R does not hold, raising where f or g does.
func (v *verifier) plainly(ctx context.Context, within span) (found, error) {
	r := v.r
	if slices.ContainsFunc(slices.Concat(r.old, r.new), func(c column) bool { return c.cuts || c.hidden != "" }) {
		return v.carefully(ctx, within)
	}
	condition, args := within.condition(r.table.key)
	compute := func(columns []column, by func(column) string, prefix string) string {
		list := make([]string, len(columns))
		for i, c := range columns {
			list[i] = fmt.Sprintf("(%s)::%s%s as %s%d", by(c), c.plainType, c.collate, prefix, i+1)
		}
		return comma(list)
	}
	lossy := "false"
	if v.scope == change.ScopeExpand {
		back := make([]string, len(r.new))
		for i, c := range r.new {
			back[i] = fmt.Sprintf("gapless_f%d as %s", i+1, c.ident())
		}
		// g of f, with f's values under the names that g reads.
		lossy = fmt.Sprintf("(select %s from (select %s from (select %s offset 0) as mapped) as back)",
			differ(r.old, bare, numbered("gapless_r")), compute(r.old, r.g, "gapless_r"), comma(back))
	}
	sql := fmt.Sprintf(`
		select count(*), count(*) filter (where wrong), 0, count(*) filter (where lossy), (array_agg(key) filter (where wrong or lossy))[1:%d]
		from (select array_to_string(array[%s], ',') as key, %s and %s as wrong, %s as lossy
		  from (select %s, %s, %s from %s where %s offset 0) as gapless_row) as gapless_seen`,
		mostKeys, comma(r.table.key.texts("")),
		differ(r.new, bare, numbered("gapless_f")), differ(r.old, bare, numbered("gapless_g")), lossy,
		comma(idents(slices.Concat(r.table.key, r.old, r.new), "")), compute(r.new, r.f, "gapless_f"), compute(r.old, r.g, "gapless_g"), r.table.ident(), condition)
	return v.looking(ctx, sql, args)
}

// carefully counts the same row by row, and tells rows for which f raises.
func (v *verifier) carefully(ctx context.Context, within span) (found, error) {
	r := v.r
	condition, args := within.condition(r.table.key)
	lossy := "false"
	if v.scope == change.ScopeExpand {
		lossy = fmt.Sprintf("f.gapless_ok and (not r.gapless_ok or %s)", differ(r.old, under("t."), labelled("r.")))
	}
	sql := fmt.Sprintf(`
		select count(*), count(*) filter (where wrong and mapped), count(*) filter (where wrong and not mapped), count(*) filter (where lossy),
		  (array_agg(key) filter (where wrong or lossy))[1:%d]
		from (select array_to_string(array[%s], ',') as key, f.gapless_ok as mapped, %s as lossy,
		    (not f.gapless_ok or %s) and (not g.gapless_ok or %s) as wrong
		  from %s as t, %s(%s) as f, %s(%s) as g, %s(%s) as r where %s) as gapless_seen`,
		mostKeys, comma(r.table.key.texts("t.")), lossy,
		differ(r.new, under("t."), labelled("f.")), differ(r.old, under("t."), labelled("g.")),
		r.table.ident(), r.forwardName(), comma(idents(r.old, "t.")), r.backwardName(), comma(idents(r.new, "t.")),
		r.backwardName(), comma(idents(r.new, "f.")), condition)
	return v.looking(ctx, sql, args)
}

// operations verifies that what expand made is there and in force.
func (v *verifier) operations(ctx context.Context, st standing) error {
	t, there, err := tableOf(ctx, v.s, v.c)
	if err != nil {
		return err
	}
	if added := v.c.Added(); len(added) > 0 {
		result := change.CheckResult{Name: "columns added and not there", Allowed: "0"}
		for _, a := range added {
			if _, found := t.column(a.Name); !there || !found {
				result.Observed++
			}
		}
		result.Passed = result.Observed == 0
		v.e.Checks = append(v.e.Checks, result)
	}
	for _, step := range change.ExpandSteps(v.c) {
		if step.Kind != change.Operate && step.Kind != change.Fill {
			continue
		}
		r, err := recipeOf(step.Operation.Kind())
		if err != nil {
			return err
		}
		results, err := r.verify(ctx, work{db: v.db, s: v.s, change: v.c, standing: st, step: step, progress: v.progress})
		if err != nil {
			return fmt.Errorf("%s: %w", step.ID, err)
		}
		v.e.Checks = append(v.e.Checks, results...)
	}
	return nil
}
