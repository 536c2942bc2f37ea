package database

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// rebuild lays on the old columns again what went with them, by the recipes
// that hold nobody up.
func (w work) rebuild(ctx context.Context) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	t, err := w.table(ctx)
	if err != nil {
		return e, err
	}
	list, err := w.archivedOf(ctx, true, "index", "constraint", "statistics")
	if err != nil {
		return e, err
	}
	for _, d := range list {
		switch d.Kind {
		case "index":
			err = w.reindex(ctx, d.Definition)
		case "constraint":
			err = w.reconstrain(ctx, t, d)
		default:
			err = w.unless(ctx, t, `select exists (select from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace
				where format('%I.%I', n.nspname, s.stxname) = $1)`, d.Name, d.Definition)
		}
		if err != nil {
			return e, fmt.Errorf("%s %s: %w", d.Kind, d.Name, err)
		}
	}
	for _, name := range w.change.Dropped() {
		_, taken, err := w.kept(ctx, w.s, "not null", "of column "+ident(name))
		if err == nil && taken {
			_, err = w.forbidNull(ctx, t, name, "", "")
		}
		if err != nil {
			return e, fmt.Errorf("column %s: %w", ident(name), err)
		}
	}
	return w.done(ctx, e)
}

// archivedOf are the definitions of some kinds that contract archived, of what
// went with a column or of what an operation dropped, in the order of the kinds.
func (w work) archivedOf(ctx context.Context, ofColumn bool, kinds ...string) ([]change.Dependent, error) {
	rows, err := w.s.Query(ctx, `select kind, name, definition from gapless.archived_definition
		where change = $1 and of_column = $2 and kind = any($3) order by array_position($3, kind), name`, w.change.ID, ofColumn, kinds)
	if err != nil {
		return nil, fmt.Errorf("read the archived definitions: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d change.Dependent, err error) {
		return d, row.Scan(&d.Kind, &d.Name, &d.Definition)
	})
	if err != nil {
		return nil, fmt.Errorf("read the archived definitions: %w", err)
	}
	return list, nil
}

// unless runs a definition in one transaction, unless what it makes is there.
func (w work) unless(ctx context.Context, t table, there, name, definition string) error {
	return w.onTable(ctx, nobody, []table{t}, func(tx pgx.Tx) error {
		var is bool
		if err := tx.QueryRow(ctx, there, name).Scan(&is); err != nil {
			return fmt.Errorf("look for it: %w", err)
		}
		if is {
			return nil
		}
		return w.run(ctx, tx, definition)
	})
}

// commented cuts a definition before the comments that follow it.
func commented(definition string) (made, comments string) {
	const begins = ";\ncomment on "
	made, rest, has := strings.Cut(definition, begins)
	if has {
		comments = strings.TrimPrefix(begins, ";\n") + rest
	}
	return made, comments
}

// comment gives something its comments again.
func (w work) comment(ctx context.Context, t table, comments string) error {
	if comments == "" {
		return nil
	}
	return w.alterAlone(ctx, t, comments)
}

// defined reads an index's definition as PostgreSQL writes it.
func (w work) defined(ctx context.Context, definition string) (t table, ix indexSpec, err error) {
	head, tail, _ := strings.Cut(definition, " USING ")
	head, on, _ := strings.Cut(head, " ON ")
	head, ix.unique = strings.CutPrefix(head, "CREATE UNIQUE INDEX ")
	name, err := change.ParseTable(strings.TrimPrefix(head, "CREATE INDEX "))
	if err != nil {
		return t, ix, fmt.Errorf("read definition %q: %w", definition, err)
	}
	ix.name, ix.tail = name.Name, "USING "+tail
	on = strings.TrimPrefix(on, "ONLY ")
	err = w.s.QueryRow(ctx, `select c.oid, n.nspname, c.relname, c.relkind::text from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass($1)`, on).
		Scan(&t.oid, &t.schema, &t.name, &t.kind)
	if err != nil {
		return t, ix, fmt.Errorf("find table %s: %w", on, err)
	}
	return t, ix, w.s.describe(ctx, w.s, &t)
}

// reindex builds an index as it was.
func (w work) reindex(ctx context.Context, definition string) error {
	made, comments := commented(definition)
	t, ix, err := w.defined(ctx, made)
	if err != nil {
		return err
	}
	if t.partitioned() {
		err = partitioned{w, t, ix, false}.ensure(ctx)
	} else {
		err = w.ensureIndex(ctx, t, ix)
	}
	if err != nil {
		return err
	}
	return w.comment(ctx, t, comments)
}

// reconstrain adds a constraint as it was.
func (w work) reconstrain(ctx context.Context, t table, d change.Dependent) error {
	made, comments := commented(d.Definition)
	quoted, on, _ := strings.Cut(d.Name, " on ")
	name, err := change.ParseTable(quoted)
	if err != nil {
		return fmt.Errorf("read its name: %w", err)
	}
	if index, add, unique := strings.Cut(made, ";\nalter table "); unique {
		_, ix, err := w.defined(ctx, index)
		if err == nil {
			err = w.ensureUnique(ctx, t, ix, deferral(strings.ToUpper(add)))
		}
		if err != nil {
			return err
		}
		return w.comment(ctx, t, comments)
	}
	definition := strings.TrimPrefix(made, fmt.Sprintf("alter table %s add constraint %s ", on, quoted))
	if strings.HasPrefix(definition, "CHECK ") || strings.HasPrefix(definition, "FOREIGN KEY ") {
		_, err = w.addAgain(ctx, t, name.Name, definition)
	} else {
		err = w.unless(ctx, t, `select exists (select from pg_constraint where conrelid = `+fmt.Sprint(t.oid)+` and conname = $1)`, name.Name, made)
	}
	if err != nil {
		return err
	}
	return w.comment(ctx, t, comments)
}
