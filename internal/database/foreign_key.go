package database

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// addForeignKey adds a foreign key. Each of its statements locks both tables for
// an instant; reading the rows lets everybody go on.
type addForeignKey struct{}

// partitionedForeignKey is the version from which on a partitioned table may
// have a foreign key that is not valid yet.
const partitionedForeignKey = 18

// foreignKey is what PostgreSQL makes of a foreign key, or why it cannot be.
func (s *session) foreignKey(ctx context.Context, t table, a change.AddForeignKey) (want wanted, to table, refusal string, err error) {
	want = wanted{name: a.Name, what: fmt.Sprintf("add_foreign_key %q", a.Name)}
	to, there, err := s.tableNamed(ctx, a.References.Table)
	switch {
	case err != nil:
		return want, to, "", err
	case !there:
		return want, to, fmt.Sprintf("there is no table %q", a.References.Table), nil
	}
	for _, name := range a.References.Columns {
		if _, ok := to.column(name); !ok {
			return want, to, fmt.Sprintf("table %s has no column %q", to.ident(), name), nil
		}
	}
	// As PostgreSQL writes it itself, so that the two can be compared.
	err = s.QueryRow(ctx, `
		select format('FOREIGN KEY (%s) REFERENCES %I.%I(%s)', (select string_agg(quote_ident(c), ', ' order by n) from unnest($1::text[]) with ordinality u(c, n)),
		  $2::text, $3::text, (select string_agg(quote_ident(c), ', ' order by n) from unnest($4::text[]) with ordinality u(c, n)))`,
		a.Columns, to.schema, to.name, a.References.Columns).Scan(&want.definition)
	if err != nil {
		return want, to, "", fmt.Errorf("write foreign key %s: %w", ident(a.Name), err)
	}
	for _, on := range []struct{ event, action string }{{"UPDATE", a.OnUpdate}, {"DELETE", a.OnDelete}} {
		if on.action != "" && on.action != "no action" {
			want.definition += fmt.Sprintf(" ON %s %s", on.event, strings.ToUpper(on.action))
		}
	}
	want.offenders = func(ctx context.Context) (offenders, error) {
		return s.orphans(ctx, t, a.Columns, to.ident(), a.References.Columns)
	}
	return want, to, "", nil
}

// orphans are the rows whose columns refer to nothing.
func (s *session) orphans(ctx context.Context, t table, columns []string, to string, keys []string) (offenders, error) {
	var set, join []string
	for n, name := range columns {
		set = append(set, "a."+ident(name)+" is not null")
		join = append(join, fmt.Sprintf("a.%s = b.%s", ident(name), ident(keys[n])))
	}
	return s.offenders(ctx, t, fmt.Sprintf("select %s as key from %s a where %s and not exists (select from %s b where %s)",
		keyText(t, "a."), t.ident(), strings.Join(set, " and "), to, strings.Join(join, " and ")))
}

// tableNamed finds a table by its name, on the application's search path where
// that has no schema.
func (s *session) tableNamed(ctx context.Context, text string) (t table, there bool, err error) {
	name, err := change.ParseTable(text)
	if err != nil {
		return t, false, err
	}
	parts := pgx.Identifier{name.Name}
	if name.Schema != "" {
		parts = pgx.Identifier{name.Schema, name.Name}
	}
	err = s.look(ctx, func(tx pgx.Tx) error {
		if err := s.asApplication(ctx, tx); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `select c.oid, n.nspname, c.relname, c.relkind::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where c.oid = to_regclass($1) and c.relkind in ('r', 'p')`, parts.Sanitize()).Scan(&t.oid, &t.schema, &t.name, &t.kind)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return t, false, nil
	}
	if err != nil {
		return t, false, fmt.Errorf("find table %s: %w", text, err)
	}
	return t, true, s.describe(ctx, s, &t)
}

func (addForeignKey) look(ctx context.Context, i *inspector, o change.Operation) error {
	if !i.there() {
		return nil
	}
	a := *o.AddForeignKey
	want, to, refusal, err := i.s.foreignKey(ctx, i.t, a)
	if err != nil {
		return err
	}
	if refusal != "" {
		i.refuse("%s: %s", want.what, refusal)
		return nil
	}
	major, err := i.s.major(ctx, i.s)
	if err != nil {
		return err
	}
	if i.t.kind == "p" && major < partitionedForeignKey {
		i.refuse("%s: table %s is partitioned; before PostgreSQL %d (this is %d) its foreign keys are checked at once, while nobody can write; add one to each partition", want.what, i.t.ident(), partitionedForeignKey, major)
	}
	now := i.usable(want.what, a.Columns)
	if err := i.referable(ctx, want.what, a, to); err != nil || !now || len(i.facts.Refusals) > 0 {
		return err
	}
	if err := i.comparable(ctx, want.what, a, to); err != nil || len(i.facts.Refusals) > 0 {
		return err
	}
	if err := i.free(ctx, want); err != nil {
		return err
	}
	return i.foresee(ctx, want.what, want.offenders)
}

// referable refuses columns that no unique index keeps apart, and a table that
// the role may not refer to.
func (i *inspector) referable(ctx context.Context, what string, a change.AddForeignKey, to table) error {
	var unique, may bool
	sorted := slices.Sorted(slices.Values(a.References.Columns))
	err := i.s.QueryRow(ctx, `
		select exists (select from pg_index i where i.indrelid = $1 and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
		    and array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality k(attnum, n) join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
		      where k.n <= i.indnkeyatts order by a.attname::text collate "C") = $2),
		  has_table_privilege($1::oid, 'references')`, to.oid, sorted).Scan(&unique, &may)
	if err != nil {
		return fmt.Errorf("look at table %s: %w", to.ident(), err)
	}
	if !unique {
		i.refuse("%s: no unique constraint of table %s is on exactly %s", what, to.ident(), comma(a.References.Columns))
	}
	if !may {
		i.refuse("%s: the role may not refer to table %s", what, to.ident())
	}
	return nil
}

// comparable refuses columns of types that cannot be compared with those that
// they refer to.
func (i *inspector) comparable(ctx context.Context, what string, a change.AddForeignKey, to table) error {
	return i.s.look(ctx, func(tx pgx.Tx) error {
		q := qualifier{tx: tx, s: i.s, c: i.c, t: i.t}
		for n, name := range a.Columns {
			refusal, err := q.try(ctx, fmt.Sprintf("explain select from %s a join %s b on a.%s = b.%s", i.t.ident(), to.ident(), ident(name), ident(a.References.Columns[n])))
			if err != nil {
				return err
			}
			if refusal != "" {
				i.refuse("%s: column %q: %s", what, name, refusal)
			}
		}
		return nil
	})
}

func (addForeignKey) want(ctx context.Context, w work) (t table, want wanted, err error) {
	if t, err = w.table(ctx); err != nil {
		return t, want, err
	}
	want, _, refusal, err := w.s.foreignKey(ctx, t, *w.step.Operation.AddForeignKey)
	if err == nil && refusal != "" {
		err = &RefusedError{Change: w.change.ID, Reasons: []string{want.what + ": " + refusal}}
	}
	return t, want, err
}

func (r addForeignKey) do(ctx context.Context, w work) (change.Evidence, error) {
	t, want, err := r.want(ctx, w)
	if err != nil {
		return change.Evidence{}, err
	}
	return w.addConstraint(ctx, t, want)
}

func (r addForeignKey) undo(ctx context.Context, w work) (change.Evidence, error) {
	t, want, err := r.want(ctx, w)
	if err != nil {
		return change.Evidence{}, err
	}
	return w.withdraw(ctx, t, want)
}

func (r addForeignKey) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	t, want, err := r.want(ctx, w)
	if err != nil {
		return nil, err
	}
	return w.standsFor(ctx, t, want)
}
