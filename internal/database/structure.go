package database

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// structure digests what the table consists of and gapless did not add, so that
// an approval does not outlive what was approved. What expand itself changes
// (a default, a NOT NULL, a constraint) is left out: it is as the change file
// says, before or after.
func (i *inspector) structure(ctx context.Context) error {
	own := i.owned()
	// Under its name in the file, whether or not the change has renamed it.
	called, of := i.c.Table, i.t.oid
	if name, err := change.ParseTable(i.c.Table); err == nil {
		called = pgx.Identifier{i.t.schema, name.Name}.Sanitize()
	}
	if i.c.Creates() { // all of it is gapless's own
		called, of = i.c.Table, 0
	}
	rows, err := i.s.Query(ctx, `
		select replace(line, ' ON ' || $1::oid::regclass::text || ' ', ' ON it ') from (
		  select format('column %I %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull or attname = any($5),
		    case when attname <> all($6) then (select pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = attrelid and adnum = attnum) end) as line
		  from pg_attribute where attrelid = $1 and attnum > 0 and not attisdropped and attname <> all($2)
		  union all select format('constraint %I %s', conname, pg_get_constraintdef(oid)) from pg_constraint
		    where conrelid = $1 and contype <> 'n' and conname <> all($4) and conname not like '~gapless\_%'
		  union all select format('trigger %s', pg_get_triggerdef(oid)) from pg_trigger where tgrelid = $1 and not tgisinternal and tgname not like '~gapless\_%'
		  union all select format('index %s', pg_get_indexdef(indexrelid)) from pg_index join pg_class c on c.oid = indexrelid where indrelid = $1 and c.relname <> all($3)
		) as lines order by line collate "C"`, of, own.columns, own.indexes, own.constraints, own.nullable, own.defaults)
	if err != nil {
		return fmt.Errorf("read the structure of %s: %w", i.t.ident(), err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("read the structure of %s: %w", i.t.ident(), err)
	}
	if err := i.asNamed(ctx, lines); err != nil {
		return err
	}
	i.facts.StructureDigest = hash(called + "\n" + strings.Join(append(lines, i.touched...), "\n"))
	return nil
}

// asNamed gives hidden columns their own names in lines, so that hiding is no
// change of what was approved.
func (i *inspector) asNamed(ctx context.Context, lines []string) error {
	for _, name := range i.c.Dropped() {
		c, there := i.t.seen(i.c.ID, name)
		if !there || c.hidden == "" {
			continue
		}
		var named string
		if err := i.s.QueryRow(ctx, `select quote_ident($1)`, name).Scan(&named); err != nil {
			return fmt.Errorf("name column %q: %w", name, err)
		}
		for n := range lines {
			lines[n] = strings.ReplaceAll(lines[n], ident(c.hidden), named)
		}
	}
	slices.Sort(lines)
	return nil
}

// owned is what expand itself makes or changes, by name.
type owned struct {
	columns, indexes, constraints []string
	nullable, defaults            []string // columns that get NULL allowed, or a default
}

func (i *inspector) owned() owned {
	own := owned{[]string{}, []string{}, []string{}, []string{}, []string{}}
	for _, o := range i.c.Expand {
		switch {
		case o.AddColumn != nil:
			own.columns = append(own.columns, o.AddColumn.Name)
		case o.CreateIndex != nil:
			own.indexes = append(own.indexes, indexName(i.t, *o.CreateIndex))
		case o.AddUnique != nil:
			own.indexes, own.constraints = append(own.indexes, o.AddUnique.Name), append(own.constraints, o.AddUnique.Name)
		case o.AddCheck != nil:
			own.constraints = append(own.constraints, o.AddCheck.Name)
		case o.AddForeignKey != nil:
			own.constraints = append(own.constraints, o.AddForeignKey.Name)
		case o.DropConstraint != nil:
			own.indexes, own.constraints = append(own.indexes, o.DropConstraint.Name), append(own.constraints, o.DropConstraint.Name)
		case o.DropNotNull != nil:
			own.nullable = append(own.nullable, o.DropNotNull.Column)
		case o.SetDefault != nil:
			own.defaults = append(own.defaults, o.SetDefault.Column)
		}
	}
	return own
}

// dependents names what contract would drop or trip over.
func (i *inspector) dependents(ctx context.Context) (err error) {
	if len(i.c.Dropped()) == 0 || i.st.state == rollout.Contracted {
		return nil
	}
	hanging, err := i.s.dependents(ctx, i.s, i.c, i.t, true)
	i.facts.Dependents = append(i.facts.Dependents, hanging...)
	for _, d := range hanging {
		if d.Fate == change.Blocks {
			i.warn("contract waits for %s %s to let go of what it drops", d.Kind, d.Name)
		}
	}
	return err
}
