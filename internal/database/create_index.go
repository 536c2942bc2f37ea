package database

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// createIndex builds an index while everybody works.
type createIndex struct{}

func (createIndex) look(ctx context.Context, i *inspector, o change.Operation) error {
	if !i.there() {
		return nil
	}
	index := *o.CreateIndex
	what := fmt.Sprintf("create_index %q", indexName(i.t, index))
	if !i.known(what, slices.Concat(index.Columns, index.Include)) {
		return nil
	}
	return i.indexable(ctx, what, index)
}

// known refuses columns that are neither there nor added.
func (i *inspector) known(what string, columns []string) (all bool) {
	all = true
	for _, name := range columns {
		if has, _ := i.has(name); !has {
			i.refuse("%s: table %s has no column %q", what, i.t.ident(), name)
			all = false
		}
	}
	return all
}

// indexable refuses an index that PostgreSQL would not build, or whose name is
// taken, and foresees rows that a unique one would reject.
func (i *inspector) indexable(ctx context.Context, what string, index change.CreateIndex) error {
	ix, refusal, err := i.s.index(ctx, i.c, i.t, index)
	if err != nil {
		return err
	}
	if refusal != "" {
		i.refuse("%s: %s", what, refusal)
		return nil
	}
	if err := i.nameFree(ctx, what, ix); err != nil {
		return err
	}
	if err := i.mayIndex(ctx, what); err != nil {
		return err
	}
	if i.t.kind == "p" {
		if err := i.partitions(ctx, what, ix); err != nil {
			return err
		}
	}
	if !ix.unique || !i.named(index) {
		return nil
	}
	return i.foresee(ctx, what, func(ctx context.Context) (offenders, error) { return i.s.duplicates(ctx, i.t, ix) })
}

// mayIndex refuses where the role may make nothing in the table's schema: the
// table's owner may do all else, but an index stands in the schema.
func (i *inspector) mayIndex(ctx context.Context, what string) error {
	may, err := i.s.mayIndex(ctx, i.t)
	if err == nil && !may {
		i.refuse("%s: the role may not create anything in schema %s, where the index would be", what, ident(i.t.schema))
	}
	return err
}

func (s *session) mayIndex(ctx context.Context, t table) (may bool, err error) {
	if err := s.QueryRow(ctx, `select has_schema_privilege($1, 'create')`, t.schema).Scan(&may); err != nil {
		return false, fmt.Errorf("look up privileges: %w", err)
	}
	return may, nil
}

// unindexable refuses the way back of contract while the role may not build the
// indexes again.
func (w work) unindexable(ctx context.Context) error {
	t, there, err := tableOf(ctx, w.s, w.change)
	if err != nil || !there {
		return err
	}
	var needed bool
	err = w.s.QueryRow(ctx, `select exists (select from gapless.archived_definition
		where change = $1 and (kind = 'index' or kind = 'constraint' and definition ~ '^(CREATE UNIQUE INDEX|UNIQUE) '))`, w.change.ID).Scan(&needed)
	if err != nil {
		return fmt.Errorf("look for archived indexes: %w", err)
	}
	if may, err := w.s.mayIndex(ctx, t); err != nil || may || !needed {
		return err
	}
	return w.refused(fmt.Sprintf("grant create on schema %s to the role, then run restore again", ident(t.schema)),
		"the role may not create anything in schema %s, where the indexes were that contract dropped", ident(t.schema))
}

// named tells whether all columns of an index are there now; what it indexes by
// expressions is looked at when nothing is added.
func (i *inspector) named(index change.CreateIndex) bool {
	return (len(index.On) == 0 && index.Where == "" || len(i.c.Added()) == 0) &&
		!slices.ContainsFunc(index.Columns, func(name string) bool { _, there := i.t.column(name); return !there })
}

// nameFree refuses an index whose name is taken in the table's schema.
func (i *inspector) nameFree(ctx context.Context, what string, ix indexSpec) error {
	var taken bool
	err := i.s.QueryRow(ctx, `select exists (select from pg_class where relnamespace = (select relnamespace from pg_class where oid = $1) and relname = $2)`,
		i.t.oid, ix.name).Scan(&taken)
	if err != nil {
		return fmt.Errorf("look for the name %s: %w", ident(ix.name), err)
	}
	if !taken {
		return nil
	}
	found, err := i.s.findIndex(ctx, i.s, i.t, ix.name)
	if err != nil || i.begun() && found.like(i.t, ix) {
		return err
	}
	i.refuse("%s: %s is there already, and another one", what, pgx.Identifier{i.t.schema, ix.name}.Sanitize())
	return nil
}

func (createIndex) want(ctx context.Context, w work) (t table, ix indexSpec, err error) {
	if t, err = w.table(ctx); err != nil {
		return t, ix, err
	}
	err = w.readIndex(ctx, t, *w.step.Operation.CreateIndex, &ix)
	return t, ix, err
}

// readIndex reads an index that was looked at before.
func (w work) readIndex(ctx context.Context, t table, index change.CreateIndex, into *indexSpec) error {
	ix, refusal, err := w.s.index(ctx, w.change, t, index)
	if err == nil && refusal != "" {
		err = &RefusedError{Change: w.change.ID, Reasons: []string{fmt.Sprintf("index %s: %s", ident(ix.name), refusal)}}
	}
	*into = ix
	return err
}

func (r createIndex) do(ctx context.Context, w work) (change.Evidence, error) {
	t, ix, err := r.want(ctx, w)
	if err != nil {
		return change.Evidence{}, err
	}
	begun := w.db.options.Now()
	if err := w.unlessDuplicates(ctx, t, ix); err != nil {
		return change.Evidence{}, err
	}
	if t.kind == "p" {
		err = partitioned{w, t, ix, false}.ensure(ctx)
	} else {
		err = w.ensureIndex(ctx, t, ix)
	}
	if err != nil {
		return change.Evidence{}, err
	}
	return w.done(ctx, change.Evidence{Detail: ix.create("", t.ident()), Seconds: w.db.options.Now().Sub(begun).Seconds()})
}

func (r createIndex) undo(ctx context.Context, w work) (change.Evidence, error) {
	t, ix, err := r.want(ctx, w)
	if err != nil {
		return change.Evidence{}, err
	}
	if t.kind == "p" {
		err = partitioned{w, t, ix, false}.remove(ctx)
	} else {
		err = w.removeIndex(ctx, t, ix)
	}
	if err != nil {
		return change.Evidence{}, err
	}
	return w.done(ctx, change.Evidence{})
}

func (r createIndex) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	t, ix, err := r.want(ctx, w)
	if err != nil {
		return nil, err
	}
	found, err := w.s.findIndex(ctx, w.s, t, ix.name)
	if err != nil {
		return nil, err
	}
	return []change.CheckResult{inForce("index "+ix.name+" is valid", found.valid && found.like(t, ix))}, nil
}
