package database

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// synchronise makes the functions and triggers that keep R from then on.
func (w work) synchronise(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	t, err := w.table(ctx)
	if err != nil {
		return e, err
	}
	m := w.standing.mapping
	if m.Forward == nil { // once read, an expression keeps its meaning
		var refusals []string
		if m, refusals, err = w.db.qualify(ctx, w.s, w.change, t); err != nil {
			return e, err
		}
		if len(refusals) > 0 {
			return e, &RefusedError{Change: w.change.ID, Reasons: refusals}
		}
	}
	defaults, err := w.s.syncDefaults(ctx, w.change, &t)
	if err != nil {
		return e, err
	}
	r, err := relationOf(w.change, t, m)
	if err != nil {
		return e, err
	}
	return w.install(ctx, r, defaults, r.triggers(), func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `update gapless.change set mapping = $2 where id = $1`, w.change.ID, m); err != nil {
			return fmt.Errorf("keep the mapping: %w", err)
		}
		return nil
	})
}

// watch makes the triggers that note who writes what contract drops without a
// new form.
func (w work) watch(ctx context.Context) (change.Evidence, error) {
	r, err := w.s.relation(ctx, w.change, w.standing)
	if err != nil {
		return change.Evidence{}, err
	}
	return w.install(ctx, r, nil, r.watches(), func(context.Context, pgx.Tx) error { return nil })
}

// install makes triggers and the functions that they call, unless they are
// there already, the same and in force. What comes first locks the table more
// than they do: a lock that grows in a transaction meets others who wait.
func (w work) install(ctx context.Context, r relation, first []string, triggers []trigger, then func(context.Context, pgx.Tx) error) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	functions, err := r.functions()
	if err != nil {
		return e, err
	}
	all := functions
	for _, t := range triggers {
		all = append(all, t.create)
	}
	e.Detail = hash(strings.Join(all, "\n"))
	before, done, err := finished(ctx, w.s, w.change.ID, e.Step)
	if err != nil {
		return e, err
	}
	if done && before.Detail == e.Detail {
		if there, err := w.s.triggersThere(ctx, r.table, triggers); err != nil || there == len(triggers) {
			return e, err
		}
	}
	mode := noWriters
	if len(first) > 0 {
		mode = nobody
	}
	return e, w.onTable(ctx, mode, []table{r.table}, func(tx pgx.Tx) error {
		if err := w.make(ctx, tx, r.table, slices.Concat(first, functions), triggers); err != nil {
			return err
		}
		if err := then(ctx, tx); err != nil {
			return err
		}
		return finish(ctx, tx, w.change.ID, e)
	})
}

// make runs statements, those that make functions among them, and makes
// triggers that fire for everyone: also for what a subscription applies.
func (w work) make(ctx context.Context, tx pgx.Tx, t table, statements []string, triggers []trigger) error {
	for _, statement := range statements {
		if err := w.run(ctx, tx, statement); err != nil {
			return err
		}
	}
	for _, g := range triggers {
		if err := w.run(ctx, tx, g.create); err != nil {
			return err
		}
		if err := w.run(ctx, tx, fmt.Sprintf("alter table %s enable always trigger %s", t.ident(), ident(g.name))); err != nil {
			return err
		}
		if err := w.always(ctx, tx, t, g.name); err != nil {
			return err
		}
	}
	return w.cloneable(ctx, tx, t, triggers)
}

// cloneable lets those who own partitioned tables go on making partitions: each
// gets the triggers of its parent, for which PostgreSQL asks whether its owner
// may execute their functions.
func (w work) cloneable(ctx context.Context, tx pgx.Tx, t table, triggers []trigger) error {
	grants, err := lines(ctx, tx, "look who owns "+t.ident(), `
		select distinct format('grant execute on function %s to %I', g.tgfoid::regprocedure, pg_get_userbyid(c.relowner))
		from pg_partition_tree($1::oid::regclass) p join pg_class c on c.oid = p.relid and c.relkind = 'p'
		join pg_trigger g on g.tgrelid = $1 and g.tgname = any($2) and g.tgtype & 1 = 1 join pg_proc f on f.oid = g.tgfoid
		where c.relowner <> f.proowner order by 1`, t.oid, triggerNames(triggers))
	if err != nil {
		return err
	}
	return w.runAll(ctx, tx, grants...)
}

func triggerNames(triggers []trigger) []string {
	names := make([]string, len(triggers))
	for i, g := range triggers {
		names[i] = g.name
	}
	return names
}

// always has the clones of a trigger on partitions fire for everyone, too:
// early releases of 14 leave them as they were.
func (w work) always(ctx context.Context, tx pgx.Tx, t table, name string) error {
	rows, err := tx.Query(ctx, `select format('%I.%I', n.nspname, c.relname)
		from pg_partition_tree($1::oid::regclass) p join pg_class c on c.oid = p.relid join pg_namespace n on n.oid = c.relnamespace
		join pg_trigger g on g.tgrelid = c.oid and g.tgname = $2 and g.tgenabled <> 'A' where c.oid <> $1`, t.oid, name)
	if err != nil {
		return fmt.Errorf("look for the partitions of %s: %w", t.ident(), err)
	}
	partitions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for the partitions of %s: %w", t.ident(), err)
	}
	for _, partition := range partitions {
		if err := w.run(ctx, tx, fmt.Sprintf("alter table %s enable always trigger %s", partition, ident(name))); err != nil {
			return err
		}
	}
	return nil
}

// triggersThere counts those that are on the table and fire always, and on each
// of its partitions.
func (s *session) triggersThere(ctx context.Context, t table, triggers []trigger) (n int, err error) {
	err = s.QueryRow(ctx, `
		select count(*) from pg_trigger g where g.tgrelid = $1 and g.tgname = any($2) and g.tgenabled = 'A'
		  and (g.tgtype & 1 = 0 or not exists (select from pg_partition_tree($1::oid::regclass) p where p.relid <> $1
		    and not exists (select from pg_trigger k where k.tgrelid = p.relid and k.tgname = g.tgname and k.tgenabled = 'A')))`,
		t.oid, triggerNames(triggers)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("look for the triggers of %s: %w", t.ident(), err)
	}
	return n, nil
}
