package database

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// addition is a column that expand adds, as PostgreSQL reads it.
type addition struct {
	column
	expression string // that a generated one is computed by
	synced     bool
	// inline tells that the column can be added whole without a rewrite of the
	// table: its default, if it has one, is the same for all rows.
	inline bool
}

// declaration is the column as ADD COLUMN takes it at once. A synced one gets
// its default together with the trigger, and one whose default gives another
// value each time gets it after it: rows that are there stay empty until they
// are filled in.
func (a addition) declaration() string {
	text := a.ident() + " " + a.sqlType
	if a.collate != defaultCollation {
		text += a.collate
	}
	switch {
	case a.generated:
		text += " generated always as (" + a.expression + ") virtual"
	case a.inline && !a.synced && a.def != "":
		text += " default " + a.def
		if a.notNull {
			text += " not null"
		}
	}
	return text
}

const defaultCollation = ` collate pg_catalog."default"`

func (a addition) setDefault() string { return "alter column " + a.ident() + " set default " + a.def }

// virtualMajor is the version from which on a generated column need not be
// stored.
const virtualMajor = 18

// major is the server's version.
func (s *session) major(ctx context.Context, q querier) (n int, err error) {
	if err := q.QueryRow(ctx, `select current_setting('server_version_num')::int / 10000`).Scan(&n); err != nil {
		return 0, fmt.Errorf("ask the server for its version: %w", err)
	}
	return n, nil
}

// additions lets PostgreSQL read the columns that the change adds, on a
// temporary table like the real one, which also tells whether it would rewrite
// the table. What cannot be added comes back as refusals.
func (s *session) additions(ctx context.Context, c change.Change, t table) (list []addition, refusals []string, err error) {
	if len(c.Added()) == 0 {
		return nil, nil, nil
	}
	err = s.look(ctx, func(tx pgx.Tx) error {
		q := qualifier{tx: tx, s: s, c: c, t: t}
		if err := q.copyTable(ctx); err != nil {
			return err
		}
		for _, a := range c.Added() {
			if _, there := t.column(a.Name); there {
				if _, err := tx.Exec(ctx, fmt.Sprintf("alter table %s drop column %s", q.temp(), ident(a.Name))); err != nil {
					return fmt.Errorf("make a table like %s: %w", t.ident(), err)
				}
			}
		}
		for _, a := range c.Added() {
			added, refusal, err := q.addition(ctx, a)
			if err != nil {
				return err
			}
			if refusal != "" {
				refusals = append(refusals, refusal)
				continue
			}
			list = append(list, added)
		}
		return nil
	})
	return list, refusals, err
}

// addition adds one column to the temporary table and reads it back.
func (q *qualifier) addition(ctx context.Context, a change.AddColumn) (added addition, refusal string, err error) {
	like, isLike := q.t.column(a.Like)
	if a.Like != "" && !isLike {
		return added, fmt.Sprintf("table %s has no column %q", q.t.ident(), a.Like), nil
	}
	sqlType := a.Type + "\n"
	if isLike {
		sqlType = like.declared()
	}
	added.synced = slices.Contains(q.c.NewColumns(), a.Name)
	if added.inline, refusal, err = q.add(ctx, a, sqlType); err != nil || refusal != "" {
		return added, refusal, err
	}
	if added.column, err = q.describe(ctx, a.Name); err != nil {
		return added, "", err
	}
	added.notNull = a.NotNull
	if added.synced && a.Default != "" && !added.inline {
		return added, fmt.Sprintf("column %q is under sync and has a default that gives another value each time: what the running revision leaves out could not be told from what it wrote", a.Name), nil
	}
	if added.generated {
		added.expression, err = q.generatedBy(ctx, a.Name)
	}
	return added, "", err
}

// add adds the column as a whole where that leaves the table's rows alone, and
// else with its default set afterwards.
func (q *qualifier) add(ctx context.Context, a change.AddColumn, sqlType string) (inline bool, refusal string, err error) {
	refuse := func(reason string) (bool, string, error) {
		return false, fmt.Sprintf("column %q cannot be added: %s", a.Name, reason), nil
	}
	whole := fmt.Sprintf("alter table %s add column %s %s", q.temp(), ident(a.Name), sqlType)
	switch {
	case a.Generated != "":
		major, err := q.s.major(ctx, q.tx)
		if err != nil {
			return false, "", err
		}
		if major < virtualMajor {
			return refuse(fmt.Sprintf("PostgreSQL %d stores generated columns, which rewrites the table; from %d on they can be virtual. Add an ordinary column and keep it in step with sync", major, virtualMajor))
		}
		whole += " generated always as (" + a.Generated + "\n) virtual"
	case a.Default != "":
		whole += " default (" + a.Default + "\n)"
	}
	rewrites, refusal, err := q.rewrites(ctx, whole)
	switch {
	case err != nil:
		return false, "", err
	case refusal != "":
		return refuse(refusal)
	case !rewrites:
		return true, "", nil
	}
	bare := fmt.Sprintf("alter table %s drop column %[2]s, add column %[2]s %[3]s", q.temp(), ident(a.Name), sqlType)
	if rewrites, refusal, err = q.rewrites(ctx, bare); err != nil {
		return false, "", err
	}
	if rewrites || refusal != "" || a.Default == "" {
		return refuse("PostgreSQL would rewrite the table, as it does for a domain with a constraint; give it the domain's base type")
	}
	refusal, err = q.try(ctx, fmt.Sprintf("alter table %s alter column %s set default (%s\n)", q.temp(), ident(a.Name), a.Default))
	if refusal != "" {
		return refuse(refusal)
	}
	return false, "", err
}

// rewrites runs a statement on the temporary table and tells whether it would
// rewrite every row: it then gives the table, which has none, another file.
func (q *qualifier) rewrites(ctx context.Context, statement string) (yes bool, refusal string, err error) {
	file := func() (n uint32, err error) {
		err = q.tx.QueryRow(ctx, `select pg_relation_filenode($1::regclass)`, q.temp()).Scan(&n)
		if err != nil {
			return 0, fmt.Errorf("look at the file of a table like %s: %w", q.t.ident(), err)
		}
		return n, nil
	}
	before, err := file()
	if err != nil {
		return false, "", err
	}
	if refusal, err = q.try(ctx, statement); err != nil || refusal != "" {
		return false, refusal, err
	}
	after, err := file()
	return before != after, "", err
}

// copied is the temporary table.
func (q *qualifier) copied(ctx context.Context) (table, error) {
	temp := table{schema: "pg_temp", name: q.t.name}
	if err := q.tx.QueryRow(ctx, `select $1::regclass::oid`, q.temp()).Scan(&temp.oid); err != nil {
		return temp, fmt.Errorf("find a table like %s: %w", q.t.ident(), err)
	}
	return temp, nil
}

// describe reads a column of the temporary table with every name qualified.
func (q *qualifier) describe(ctx context.Context, name string) (column, error) {
	temp, err := q.copied(ctx)
	if err != nil {
		return column{}, err
	}
	if err := q.asOurselves(ctx); err != nil {
		return column{}, err
	}
	if err := q.s.describe(ctx, q.tx, &temp); err != nil {
		return column{}, err
	}
	c, there := temp.column(name)
	if !there {
		return column{}, fmt.Errorf("a table like %s has no column %q", q.t.ident(), name)
	}
	return c, q.s.asApplication(ctx, q.tx)
}

func (q *qualifier) generatedBy(ctx context.Context, name string) (expression string, err error) {
	temp, err := q.copied(ctx)
	if err != nil {
		return "", err
	}
	if err := q.asOurselves(ctx); err != nil {
		return "", err
	}
	if expression, err = q.s.generatedBy(ctx, q.tx, temp.oid, name); err != nil {
		return "", err
	}
	return expression, q.s.asApplication(ctx, q.tx)
}

// asOurselves gives the transaction the search path of our own sessions, under
// which what is read back has every name qualified.
func (q *qualifier) asOurselves(ctx context.Context) error {
	if _, err := q.tx.Exec(ctx, `set local search_path = pg_catalog, pg_temp`); err != nil {
		return fmt.Errorf("set the search path: %w", err)
	}
	return nil
}

// syncDefaults gives the table's columns under sync the defaults that the change
// wants for them, by which the trigger tells what was written, and the
// statements that set those that are not in force yet. They belong into the
// trigger's transaction: before it a default would pass for a new form, after
// it for a value that somebody wrote.
func (s *session) syncDefaults(ctx context.Context, c change.Change, t *table) (statements []string, err error) {
	wanted, _, err := s.additions(ctx, c, *t)
	if err != nil {
		return nil, err
	}
	for _, a := range wanted {
		i := slices.IndexFunc(t.columns, func(c column) bool { return c.name == a.name })
		if i < 0 || !a.synced || a.def == "" || t.columns[i].def != "" {
			continue
		}
		t.columns[i].def, t.columns[i].volatileDef = a.def, a.volatileDef
		statements = append(statements, fmt.Sprintf("alter table %s %s", t.ident(), a.setDefault()))
	}
	return statements, nil
}
