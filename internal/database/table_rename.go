package database

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// renameTable renames the change's table and puts a view that can be written
// under its old name, in one transaction: whoever waits for the table's lock
// then finds one or the other, and both are the same rows.
type renameTable struct{}

// securityInvoker is the first version whose views can leave it to whoever uses
// them what they may do.
const securityInvoker = 15

func (r renameTable) look(ctx context.Context, i *inspector, o change.Operation) error {
	t, to := i.t, o.RenameTable.To
	name, err := change.ParseTable(i.c.Table)
	if err != nil {
		return err
	}
	if i.st.relation == t.oid && t.name == to {
		return nil // done
	}
	if t.name != name.Name {
		i.refuse("rename_table: the table is called %s, neither %s nor %s", t.ident(), ident(name.Name), ident(to))
		return nil
	}
	if !strings.Contains("rp", t.kind) {
		i.refuse("rename_table: %s is no table", t.ident())
		return nil
	}
	taken, err := lines(ctx, i.s, "look whether the new name is free", `
		select format('%s %I.%I', case c.relkind when 'v' then 'view' when 'S' then 'sequence' when 'i' then 'index' else 'table' end, n.nspname, c.relname)
		from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2 and c.relkind <> 'c'
		union all
		select format('type %I.%I', n.nspname, y.typname) from pg_type y join pg_namespace n on n.oid = y.typnamespace
		where n.nspname = $1 and y.typname = $2 and y.typelem = 0 and y.typtype <> 'c'`, t.schema, to)
	if err != nil {
		return err
	}
	if len(taken) > 0 {
		i.refuse("rename_table: the name %s is taken by %s", ident(to), comma(taken))
	}
	if other, err := i.s.findObject(ctx, i.s, ident(to)); err != nil {
		return err
	} else if other.there() && other.schema != t.schema {
		i.refuse("rename_table: %s on the search path could be taken for the new table", other.ident())
	}
	return r.through(ctx, i)
}

// through looks at what does not work through a view.
func (renameTable) through(ctx context.Context, i *inspector) error {
	t := i.t
	version, err := i.s.major(ctx, i.s)
	if err != nil {
		return err
	}
	if t.rowSecurity && version < securityInvoker {
		i.refuse("rename_table: %s has row-level security, which a view of PostgreSQL %d would apply to its owner and not to whoever uses it", t.ident(), version)
	}
	taking, err := lines(ctx, i.s, "look for functions of its row type", `
		select p.oid::regprocedure::text from pg_proc p, pg_class c where c.oid = $1 and c.reltype = any(p.proargtypes::oid[]) order by 1`, t.oid)
	if err != nil {
		return err
	}
	if len(taking) > 0 {
		i.refuse("rename_table: %s takes rows of %s, and the view's rows are of another type", comma(taking), t.ident())
	}
	telling, err := lines(ctx, i.s, "look for triggers that ask for the name", `
		select distinct p.oid::regprocedure::text from pg_trigger g join pg_proc p on p.oid = g.tgfoid
		where g.tgrelid = $1 and not g.tgisinternal and p.prosrc ~* '\m(tg_table_name|tg_relname)\M' order by 1`, t.oid)
	if err != nil {
		return err
	}
	if len(telling) > 0 {
		i.warn("rename_table: %s asks for the table's name and will get the new one", comma(telling))
	}
	what := "COPY, TRUNCATE, ON CONFLICT ON CONSTRAINT, TABLESAMPLE, WHERE CURRENT OF, columns such as xmin or ctid, pg_get_serial_sequence and GROUP BY the key alone"
	if version < 17 {
		what += ", MERGE"
	}
	i.warn("rename_table: the running revision uses %s through a view, where these fail: %s", t.ident(), what)
	return i.statements(ctx, version)
}

// statements warns of statements that were seen and would fail through a view.
func (i *inspector) statements(ctx context.Context, version int) error {
	var schema string
	var may bool
	err := i.s.QueryRow(ctx, `
		select coalesce((select quote_ident(n.nspname) from pg_extension e join pg_namespace n on n.oid = e.extnamespace where extname = 'pg_stat_statements'), ''),
		  pg_has_role('pg_read_all_stats', 'usage')`).Scan(&schema, &may)
	if err != nil {
		return fmt.Errorf("look for pg_stat_statements: %w", err)
	}
	if schema == "" || !may {
		i.warn("rename_table: pg_stat_statements cannot be read: whether any such statement runs is not known")
		return nil
	}
	words := `\m(copy|truncate|on\s+conflict\s+on\s+constraint|tablesample|current\s+of|xmin|ctid|pg_get_serial_sequence|group\s+by`
	if version < 17 {
		words += `|merge\s+into`
	}
	return i.s.look(ctx, func(tx pgx.Tx) error {
		seen, err := lines(ctx, tx, "read pg_stat_statements", fmt.Sprintf(`
			select distinct left(regexp_replace(query, '\s+', ' ', 'g'), 200) from %s.pg_stat_statements
			where dbid = (select oid from pg_database where datname = current_database()) and query !~* '\mgapless'
			  and query ~* $1 and query ~* ('\m' || regexp_replace($2, '(\W)', '\\\1', 'g') || '\M') limit 5`, schema), words+`)\M`, i.t.name)
		if err != nil && sqlState(err) != "" { // not preloaded
			i.warn("rename_table: pg_stat_statements cannot be read: %v", err)
			return nil
		}
		for _, s := range seen {
			i.warn("rename_table: this statement may fail through a view: %s", s)
		}
		return err
	})
}

// viewComment marks the view as the change's own.
func viewComment(id string) string {
	return "The old name of a table that change " + id + " of gapless renamed. It goes when the change is contracted."
}

// oldView finds the view under the old name, if it is the change's own.
func (renameTable) oldView(ctx context.Context, q querier, w work, schema string) (v named, err error) {
	name, err := change.ParseTable(w.change.Table)
	if err != nil {
		return v, err
	}
	rows, err := q.Query(ctx, objectQuery+` where n.nspname = $1 and c.relname = $2 and c.relkind = 'v' and obj_description(c.oid, 'pg_class') = $3`,
		schema, name.Name, viewComment(w.change.ID))
	if err != nil {
		return v, fmt.Errorf("look for the view of the old name: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o named, err error) {
		return o, row.Scan(&o.oid, &o.schema, &o.name, &o.kind, &o.mine)
	})
	if err != nil || len(found) == 0 {
		return named{schema: schema, name: name.Name}, err
	}
	return found[0], nil
}

func (r renameTable) do(ctx context.Context, w work) (change.Evidence, error) {
	t, err := w.table(ctx)
	if err != nil {
		return change.Evidence{Step: w.step.ID}, err
	}
	version, err := w.s.major(ctx, w.s)
	if err != nil {
		return change.Evidence{Step: w.step.ID}, err
	}
	to := w.step.Operation.RenameTable.To
	return w.within(ctx, "table "+t.ident(), func(tx pgx.Tx, e *change.Evidence) error {
		now, err := objectOf(ctx, tx, t.oid)
		if err != nil {
			return err
		}
		view, err := r.oldView(ctx, tx, w, t.schema)
		if err != nil {
			return err
		}
		e.Detail = fmt.Sprintf("table %s with view %s", pgx.Identifier{t.schema, to}.Sanitize(), view.ident())
		switch {
		case now.name == to && view.there():
			return nil
		case now.name != view.name:
			return w.refused("give it its old name back", "the table is called %s", now.ident())
		}
		return r.rename(ctx, tx, w, now, version)
	})
}

// rename renames the table and makes the view, which those who could use the
// table can use, and nobody else.
func (renameTable) rename(ctx context.Context, tx pgx.Tx, w work, t named, version int) error {
	to := pgx.Identifier{t.schema, w.step.Operation.RenameTable.To}.Sanitize()
	full := table{oid: t.oid, schema: t.schema, name: t.name}
	if err := w.s.describe(ctx, tx, &full); err != nil {
		return err
	}
	if err := w.s.calm(ctx, tx, t); err != nil {
		return err
	}
	option := ""
	if version >= securityInvoker {
		option = " with (security_invoker = true)"
	}
	err := w.runAll(ctx, tx,
		fmt.Sprintf("alter table %s rename to %s", t.ident(), ident(w.step.Operation.RenameTable.To)),
		fmt.Sprintf("create view %s%s as select %s from %s", t.ident(), option, comma(idents(full.columns, "")), to),
		fmt.Sprintf("comment on view %s is %s", t.ident(), literal(viewComment(w.change.ID))))
	if err != nil {
		return err
	}
	var view, me uint32
	err = tx.QueryRow(ctx, `select to_regclass($1)::oid, (select oid from pg_roles where rolname = current_user)`, t.ident()).Scan(&view, &me)
	if err != nil {
		return fmt.Errorf("look at the view %s: %w", t.ident(), err)
	}
	byDefault, err := revocations(ctx, tx, view, t.ident())
	if err != nil {
		return err
	}
	given, err := grants(ctx, tx, t.oid, t.ident(), me)
	if err != nil {
		return err
	}
	return w.runAll(ctx, tx, append(byDefault, given...)...)
}

// undo drops the view and gives the table its name back. It locks the view
// before the table, as those do who use the view.
func (r renameTable) undo(ctx context.Context, w work) (change.Evidence, error) {
	t, err := w.table(ctx)
	if err != nil {
		return change.Evidence{Step: w.step.ID}, err
	}
	return w.within(ctx, "table "+t.ident(), func(tx pgx.Tx, _ *change.Evidence) error {
		now, err := objectOf(ctx, tx, t.oid)
		if err != nil {
			return err
		}
		view, err := r.oldView(ctx, tx, w, t.schema)
		if err != nil {
			return err
		}
		if now.name == view.name || !view.there() {
			return w.forget(ctx, tx)
		}
		if err := w.free(ctx, tx, target{inClass, view.oid, view.schema, view.name}, false); err != nil {
			return err
		}
		if err := w.s.calm(ctx, tx, now); err != nil {
			return err
		}
		if err := w.share(ctx, tx, 2); err != nil {
			return err
		}
		err = w.runAll(ctx, tx, "drop view "+view.ident(), fmt.Sprintf("alter table %s rename to %s", now.ident(), ident(view.name)))
		if err != nil {
			return err
		}
		return w.forget(ctx, tx)
	})
}

func (r renameTable) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	t, err := w.table(ctx)
	if err != nil {
		return nil, err
	}
	view, err := r.oldView(ctx, w.s, w, t.schema)
	if err != nil {
		return nil, err
	}
	to := w.step.Operation.RenameTable.To
	return []change.CheckResult{
		inForce("table "+to+" is there", t.name == to),
		inForce("its old name is a view", view.there() || w.standing.state == rollout.Contracting),
	}, nil
}
