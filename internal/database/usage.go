package database

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Usage tells who used the old form since then: by the triggers that note its
// writers, and by statements in pg_stat_statements that name it. Statements are
// compared with what Usage itself saw the time before, so it should be asked
// when the old revision is retired and from time to time after that. Times are
// the database's.
func (db *DB) Usage(ctx context.Context, c change.Change, since time.Time) (change.Usage, error) {
	var u change.Usage
	err := db.with(ctx, c.ID, func(s *session) error {
		st, err := admit(ctx, s, c, "usage", rollout.Absent, rollout.Expanding, rollout.Expanded,
			rollout.Reverting, rollout.Hidden, rollout.Contracting, rollout.Contracted, rollout.Restoring)
		if err != nil {
			return err
		}
		switch st.state {
		case rollout.Absent, rollout.Expanding, rollout.Reverting, rollout.Restoring:
			u.Unknown = []string{fmt.Sprintf("change %s is %s: nothing notes who writes the old form", c.ID, st.state)}
			return nil
		case rollout.Contracted: // nobody can
			u.Quiet = true
			return s.QueryRow(ctx, `select contracted_at from gapless.change where id = $1`, c.ID).Scan(&u.QuietSince)
		case rollout.Expanded, rollout.Hidden, rollout.Contracting:
		}
		w := watcher{s: s, c: c, since: since, u: &u}
		if err := w.uses(ctx, st); err != nil {
			return err
		}
		return w.look(ctx)
	})
	if err != nil {
		return u, fmt.Errorf("usage of the old form: %w", err)
	}
	return u, nil
}

// watcher is one look at the use of the old form.
type watcher struct {
	s     *session
	c     change.Change
	since time.Time
	u     *change.Usage

	table   table
	columns []column // that contract drops
	objects []string // the names of whatever else it drops
	// whole tells that the table itself is dropped.
	whole bool
}

// uses finds out what there is to be used.
func (w *watcher) uses(ctx context.Context, st standing) error {
	if len(w.c.Dropped()) > 0 {
		r, err := w.s.relation(ctx, w.c, st)
		if err != nil {
			return err
		}
		w.table, w.columns = r.table, r.dropped()
	}
	for _, step := range change.ContractSteps(w.c) {
		o := step.Operation
		name := o.DropView + o.DropSequence
		switch {
		case o.DropTable:
			t, err := resolveTable(ctx, w.s, w.c)
			if err != nil {
				return err
			}
			w.table, w.whole, name = t, true, w.c.Table
		case o.DropFunction != "":
			name, _, _ = strings.Cut(o.DropFunction, "(")
		case o.DropConstraint != nil:
			w.objects = append(w.objects, o.DropConstraint.Name)
		}
		if name == "" {
			continue
		}
		parsed, err := change.ParseTable(strings.TrimSpace(name))
		if err != nil {
			return err
		}
		w.objects = append(w.objects, parsed.Name)
	}
	return nil
}

func (w *watcher) look(ctx context.Context) error {
	var now, expanded time.Time
	err := w.s.QueryRow(ctx, `select clock_timestamp(), expanded_at from gapless.change where id = $1`, w.c.ID).Scan(&now, &expanded)
	if err != nil {
		return fmt.Errorf("read when it was expanded: %w", err)
	}
	// Before the triggers were there nobody was noted.
	w.u.QuietSince = expanded
	if w.since.After(expanded) {
		w.u.QuietSince = w.since
	}
	if len(w.columns)+len(w.objects) == 0 { // it takes nothing away
		w.u.Quiet = true
		return nil
	}
	looks := []func(context.Context, time.Time) error{w.statements}
	if len(w.columns) > 0 {
		looks = append(looks, w.writers)
	}
	if w.whole {
		looks = append(looks, w.counters)
	}
	for _, look := range looks {
		if err := look(ctx, now); err != nil {
			return err
		}
	}
	for _, c := range w.columns {
		if c.volatileDef {
			w.u.Unknown = append(w.u.Unknown, fmt.Sprintf("column %q has a default that gives another value each time: inserts that name it cannot be told", c.name))
		}
	}
	w.u.Quiet = now.Sub(w.u.QuietSince) >= w.c.QuietFor
	return nil
}

// counters compares how often the table was read and written with the look
// before.
func (w *watcher) counters(ctx context.Context, now time.Time) error {
	var used time.Time
	err := w.s.QueryRow(ctx, `
		insert into gapless.table_seen as s (change, uses, used_at)
		select $1, coalesce(seq_scan, 0) + coalesce(idx_scan, 0) + n_tup_ins + n_tup_upd + n_tup_del, $3 from pg_stat_user_tables where relid = $2
		on conflict (change) do update set uses = excluded.uses,
		  used_at = case when s.uses <> excluded.uses then excluded.used_at else s.used_at end
		returning used_at`, w.c.ID, w.table.oid, now).Scan(&used)
	if errors.Is(err, pgx.ErrNoRows) {
		w.u.Unknown = append(w.u.Unknown, fmt.Sprintf("the server counts nothing of table %s", w.table.ident()))
		return nil
	}
	if err != nil {
		return fmt.Errorf("read how often table %s was used: %w", w.table.ident(), err)
	}
	w.used(used)
	return nil
}

// used moves the end of use.
func (w *watcher) used(at time.Time) {
	if at.After(w.u.QuietSince) {
		w.u.QuietSince = at
	}
}

// writers reads who was noted. A note stands for all writes of an interval, and
// a session looks at the notes once an interval: the last write may be two later.
func (w *watcher) writers(ctx context.Context, now time.Time) error {
	uncertain := 2 * noteEvery(w.c.QuietFor)
	rows, err := w.s.Query(ctx, `select role, application, max(at) from gapless.old_form_write
		where change = $1 and at >= $2 group by role, application order by 3 desc limit 20`, w.c.ID, w.since.Add(-uncertain))
	if err != nil {
		return fmt.Errorf("read who wrote the old form: %w", err)
	}
	w.u.LastWriters, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (change.Writer, error) {
		var by change.Writer
		err := row.Scan(&by.Role, &by.Application, &by.At)
		return by, err
	})
	if err != nil {
		return fmt.Errorf("read who wrote the old form: %w", err)
	}
	for _, by := range w.u.LastWriters {
		last := by.At.Add(uncertain)
		if last.After(now) {
			last = now
		}
		w.used(last)
	}
	_, err = w.s.Exec(ctx, `delete from gapless.old_form_write w where change = $1 and at < clock_timestamp() - interval '1 day' and exists
		(select from gapless.old_form_write later where later.change = w.change and later.role = w.role and later.application = w.application and later.at > w.at)`,
		w.c.ID)
	if err != nil {
		return fmt.Errorf("thin out old notes: %w", err)
	}
	return nil
}

// statements compares the counts of statements that name what contract drops with
// those of the last look.
func (w *watcher) statements(ctx context.Context, now time.Time) error {
	var schema string
	var reads bool
	err := w.s.QueryRow(ctx, `
		select coalesce((select quote_ident(n.nspname) from pg_extension e join pg_namespace n on n.oid = e.extnamespace where extname = 'pg_stat_statements'), ''),
		  pg_has_role('pg_read_all_stats', 'usage')`).Scan(&schema, &reads)
	switch {
	case err != nil:
		return fmt.Errorf("look for pg_stat_statements: %w", err)
	case schema == "":
		w.u.Unknown = append(w.u.Unknown, "pg_stat_statements is not installed in this database: readers of the old form cannot be told")
		return nil
	case !reads:
		w.u.Unknown = append(w.u.Unknown, "the role may not read other roles' statements (pg_read_all_stats)")
		return nil
	}
	var reset *time.Time
	err = w.s.QueryRow(ctx, fmt.Sprintf(`select stats_reset from %s.pg_stat_statements_info`, schema)).Scan(&reset)
	if err == nil {
		return w.compare(ctx, schema, reset, now)
	}
	if sqlState(err) == "" { // not the server's answer
		return fmt.Errorf("read pg_stat_statements: %w", err)
	}
	w.u.Unknown = append(w.u.Unknown, "pg_stat_statements cannot be read: "+err.Error())
	return nil
}

func (w *watcher) compare(ctx context.Context, schema string, reset *time.Time, now time.Time) error {
	words := make([]string, len(w.columns))
	for i, c := range w.columns {
		words[i] = c.name
	}
	return pgx.BeginFunc(ctx, w.s.Conn, func(tx pgx.Tx) error {
		var before *time.Time
		err := tx.QueryRow(ctx, `select max(seen_at) from gapless.statement_seen where change = $1`, w.c.ID).Scan(&before)
		if err != nil {
			return fmt.Errorf("read the last look at statements: %w", err)
		}
		if before != nil && reset != nil && reset.After(*before) {
			w.u.Unknown = append(w.u.Unknown, fmt.Sprintf("pg_stat_statements was reset at %s, after the look before", reset.UTC().Format(time.RFC3339)))
			w.used(*reset)
		}
		_, err = tx.Exec(ctx, `insert into gapless.statement_seen (change, userid, queryid, calls, used_at, seen_at) values ($1, 0, 0, 0, $2, $2)
			on conflict (change, userid, queryid) do update set seen_at = excluded.seen_at`, w.c.ID, now)
		if err != nil {
			return fmt.Errorf("note this look at statements: %w", err)
		}
		rows, err := tx.Query(ctx, fmt.Sprintf(`
			with now as (
			  select userid, queryid, sum(calls)::bigint as calls, 
			    min(case when query ~* '^\s*(select|insert|update|delete|merge|with)\M' then left(query, 300) else 'statement ' || queryid end) as query
			  from %s.pg_stat_statements
			  where dbid = (select oid from pg_database where datname = current_database()) and queryid is not null
			    and query !~* '\mgapless' and (exists (select from unnest($5::text[]) name where query ~* ('(^|\W)' || regexp_replace(name, '(\W)', '\\\1', 'g') || '(\W|$)'))
			      or query ~* ('(^|\W)' || regexp_replace($2, '(\W)', '\\\1', 'g') || '(\W|$)') and exists (select from unnest($3::text[]) name where query ~* ('(^|\W)' || regexp_replace(name, '(\W)', '\\\1', 'g') || '(\W|$)')))
			  group by userid, queryid),
			seen as (
			  insert into gapless.statement_seen as s (change, userid, queryid, calls, used_at, seen_at)
			  select $1, userid, queryid, calls, $4, $4 from now
			  on conflict (change, userid, queryid) do update set seen_at = excluded.seen_at, calls = excluded.calls,
			    used_at = case when s.calls <> excluded.calls then excluded.used_at else s.used_at end
			  returning userid, queryid, used_at)
			select now.query, seen.used_at from seen join now using (userid, queryid) order by seen.used_at desc, now.query`, schema),
			w.c.ID, w.table.name, words, now, w.objects)
		if err != nil {
			return fmt.Errorf("read pg_stat_statements: %w", err)
		}
		var query string
		var at time.Time
		_, err = pgx.ForEachRow(rows, []any{&query, &at}, func() error {
			w.used(at)
			// One that has not run again for quiet_for is history; the first look
			// cannot tell history from use, and waits as long.
			if at.After(w.since) && now.Sub(at) < w.c.QuietFor && len(w.u.Statements) < 20 {
				w.u.Statements = append(w.u.Statements, strings.Join(strings.Fields(query), " "))
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read pg_stat_statements: %w", err)
		}
		return nil
	})
}
