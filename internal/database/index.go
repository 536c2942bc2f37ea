package database

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// indexName is the name that an index of the change has.
func indexName(t table, index change.CreateIndex) string {
	if index.Name != "" {
		return index.Name
	}
	return fitted(t.name, strings.Join(index.Columns, "_")+"_idx")
}

// maxName is the longest name that PostgreSQL keeps whole.
const maxName = 63

// fitted joins names; a name that would be too long is cut and given a hash.
func fitted(prefix, suffix string) string {
	name := prefix + "_" + suffix
	if len(name) <= maxName {
		return name
	}
	const hashed = 12
	return base(prefix) + "_" + hash(name)[:hashed] + "_idx"
}

// indexSpec is an index as PostgreSQL reads it.
type indexSpec struct {
	name   string
	unique bool
	// tail is the definition from USING on, every name qualified.
	tail  string
	parts []string // what is indexed
	where string   // the condition for a row to be in it, empty for none
}

func (ix indexSpec) create(how, on string) string {
	unique := ""
	if ix.unique {
		unique = "unique "
	}
	return fmt.Sprintf("create %sindex %s%s on %s %s", unique, how, ident(ix.name), on, ix.tail)
}

// tailOf cuts an index's definition, of the index i on the table c in the schema
// n, before USING: what is left names neither the index nor the table. Some
// versions call any temporary schema pg_temp.
const tailOf = `(select substr(def, 1 + length(format('%s%s.%I ', head, case when starts_with(def, head || 'pg_temp.') then 'pg_temp' else quote_ident(n.nspname) end, c.relname)))
	from (select pg_get_indexdef(i.indexrelid) as def, format('CREATE %sINDEX %I ON %s', case when i.indisunique then 'UNIQUE ' end,
	  (select relname from pg_class where oid = i.indexrelid), case when c.relkind = 'p' then 'ONLY ' end) as head) as written)`

// index lets PostgreSQL read an index on a table like the real one.
func (s *session) index(ctx context.Context, c change.Change, t table, index change.CreateIndex) (ix indexSpec, refusal string, err error) {
	ix = indexSpec{name: indexName(t, index), unique: index.Unique}
	on := slices.Clone(index.On)
	for _, name := range index.Columns {
		on = append(on, ident(name))
	}
	method := "btree"
	if index.Method != "" {
		method = index.Method
	}
	tail := fmt.Sprintf("using %s (%s\n)", method, strings.Join(on, "\n, "))
	if len(index.Include) > 0 {
		tail += " include (" + quoted(index.Include) + ")"
	}
	if index.Where != "" {
		tail += " where (" + index.Where + "\n)"
	}
	err = s.look(ctx, func(tx pgx.Tx) (err error) {
		q := qualifier{tx: tx, s: s, c: c, t: t}
		if refusal, err = q.likeTable(ctx); err != nil || refusal != "" {
			return err
		}
		refusal, err = q.try(ctx, indexSpec{name: probe, unique: ix.unique, tail: tail}.create("", q.temp()))
		if err != nil || refusal != "" {
			return err
		}
		if err := q.asOurselves(ctx); err != nil {
			return err
		}
		if err := q.readIndex(ctx, &ix); err != nil {
			return err
		}
		ix.tail, err = steady(ix.tail, func(tail string) (string, error) {
			again := indexSpec{name: probe, unique: ix.unique, tail: tail}
			if _, err := tx.Exec(ctx, "drop index pg_temp."+probe+"; "+again.create("", q.temp())); err != nil {
				return "", fmt.Errorf("read index %s again: %w", ident(ix.name), err)
			}
			err := q.readIndex(ctx, &ix)
			return ix.tail, err
		})
		return err
	})
	return ix, refusal, err
}

// readIndex reads the only index of the temporary table.
func (q *qualifier) readIndex(ctx context.Context, into *indexSpec) error {
	err := q.tx.QueryRow(ctx, `select `+tailOf+`, coalesce(pg_get_expr(i.indpred, i.indrelid), ''),
		array(select pg_get_indexdef(i.indexrelid, k, false) from generate_series(1, i.indnkeyatts) k order by k)
		from pg_index i join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace
		where i.indrelid = $1::regclass`, q.temp()).Scan(&into.tail, &into.where, &into.parts)
	if err != nil {
		return fmt.Errorf("read index %s: %w", ident(into.name), err)
	}
	return nil
}

// duplicates finds rows of which a unique index allows one only. NULL is like
// nothing else.
func (s *session) duplicates(ctx context.Context, t table, ix indexSpec) (offenders, error) {
	conditions := make([]string, 0, len(ix.parts)+1)
	for _, part := range ix.parts {
		conditions = append(conditions, "("+part+") is not null")
	}
	if ix.where != "" {
		conditions = append(conditions, "("+ix.where+")")
	}
	return s.offenders(ctx, t, fmt.Sprintf("select key from (select %s as key, count(*) over (partition by %s) as n from %s where %s) as alike where n > 1",
		keyText(t, ""), comma(ix.parts), t.ident(), strings.Join(conditions, " and ")))
}

// foundIndex is what stands under an index's name.
type foundIndex struct {
	oid        uint32
	table      uint32
	unique     bool
	valid      bool
	tail       string
	builder    int32  // the process that is building it, 0 for none
	parent     uint32 // the index of a partitioned table that it is attached to, 0 for none
	constraint string // that stands on it, empty for none
	primary    bool
	identity   bool // replication tells rows apart by it
}

func (f foundIndex) there() bool { return f.oid != 0 }

// like tells whether it is the index that is wanted on a table.
func (f foundIndex) like(t table, ix indexSpec) bool {
	return f.there() && f.table == t.oid && f.unique == ix.unique && f.tail == ix.tail
}

const foundQuery = `
	select i.indexrelid, i.indrelid, i.indisunique, i.indisvalid and i.indisready, ` + tailOf + `,
	  coalesce((select p.pid from pg_stat_progress_create_index p where p.index_relid = i.indexrelid limit 1), 0),
	  coalesce((select inhparent from pg_inherits where inhrelid = i.indexrelid), 0::oid),
	  coalesce((select conname::text from pg_constraint where conindid = i.indexrelid and contype in ('p', 'u', 'x') and conrelid = i.indrelid), ''),
	  i.indisprimary, i.indisreplident
	from pg_index i join pg_class x on x.oid = i.indexrelid
	join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace `

func scanIndex(row pgx.Row) (f foundIndex, err error) {
	err = row.Scan(&f.oid, &f.table, &f.unique, &f.valid, &f.tail, &f.builder, &f.parent, &f.constraint, &f.primary, &f.identity)
	if errors.Is(err, pgx.ErrNoRows) {
		return foundIndex{}, nil
	}
	return f, err
}

// findIndex finds what has an index's name; an index is in its table's schema.
func (s *session) findIndex(ctx context.Context, q querier, t table, name string) (foundIndex, error) {
	f, err := scanIndex(q.QueryRow(ctx, foundQuery+`where x.relnamespace = (select relnamespace from pg_class where oid = $1) and x.relname = $2`, t.oid, name))
	if err != nil {
		return f, fmt.Errorf("look for index %s: %w", ident(name), err)
	}
	return f, nil
}

// ensureIndex builds an index without blocking writers. What an attempt before
// left invalid is dropped first; one that another session is still building,
// such as that of a runner that was killed, is waited for.
func (w work) ensureIndex(ctx context.Context, t table, ix indexSpec) error {
	object := pgx.Identifier{t.schema, ix.name}.Sanitize()
	for n := 1; ; n++ {
		found, err := w.s.findIndex(ctx, w.s, t, ix.name)
		switch {
		case err != nil:
			return err
		case found.there() && !found.like(t, ix):
			return &RefusedError{Change: w.change.ID, Reasons: []string{fmt.Sprintf("index %s is there already, and another one", object)},
				Remedy: "give the index another name"}
		case found.valid:
			return nil
		case found.builder != 0:
			w.progress(change.Progress{Step: w.step.ID, Note: fmt.Sprintf("pid %d is still building it", found.builder)})
			if err := pause(ctx, time.Second); err != nil {
				return fmt.Errorf("wait for pid %d to build index %s: %w", found.builder, object, err)
			}
			n--
			continue
		case n > w.db.options.Attempts:
			return fmt.Errorf("index %s is still invalid after %d attempts", object, n-1)
		}
		statement := ix.create("concurrently ", t.ident())
		if found.there() {
			statement = "drop index concurrently " + object
		}
		if err := w.concurrently(ctx, object, statement); err != nil {
			return w.notUnique(ctx, t, ix, err)
		}
	}
}

// notUnique tells which rows kept a unique index from being built, and takes
// away its half, which would reject what is written meanwhile.
func (w work) notUnique(ctx context.Context, t table, ix indexSpec, err error) error {
	if !violated(err) {
		return err
	}
	readErr := w.s.QueryRow(ctx, `select array(select pg_get_indexdef(indexrelid, k, false) from generate_series(1, indnkeyatts) k order by k)
		from pg_index where indexrelid = $1::regclass`, pgx.Identifier{t.schema, ix.name}.Sanitize()).Scan(&ix.parts)
	if dropErr := errors.Join(readErr, w.removeIndex(ctx, t, ix)); dropErr != nil {
		return errors.Join(err, dropErr)
	}
	bad, lookErr := w.s.duplicates(ctx, t, ix)
	if lookErr != nil || bad.count == 0 {
		return errors.Join(err, lookErr)
	}
	return w.rejected(fmt.Sprintf("index %s is unique", ident(ix.name)), bad)
}

// unlessDuplicates refuses a unique index before it is begun, where the rows
// that keep it from being built can be found in time; else building it tells.
func (w work) unlessDuplicates(ctx context.Context, t table, ix indexSpec) error {
	if !ix.unique {
		return nil
	}
	if found, err := w.s.findIndex(ctx, w.s, t, ix.name); err != nil || found.there() {
		return err
	}
	bad, err := w.s.duplicates(ctx, t, ix)
	if sqlState(err) == queryCanceled && ctx.Err() == nil {
		return nil
	}
	if err != nil || bad.count == 0 {
		return err
	}
	return w.rejected(fmt.Sprintf("index %s is unique", ident(ix.name)), bad)
}

// removeIndex drops an index that ensureIndex made, valid or not, and no other.
func (w work) removeIndex(ctx context.Context, t table, ix indexSpec) error {
	found, err := w.s.findIndex(ctx, w.s, t, ix.name)
	if err != nil || !found.like(t, ix) || found.constraint != "" {
		return err
	}
	object := pgx.Identifier{t.schema, ix.name}.Sanitize()
	return w.concurrently(ctx, object, "drop index concurrently "+object)
}

// inForce is a check of something that is there or not.
func inForce(name string, is bool) change.CheckResult {
	r := change.CheckResult{Name: name, Allowed: "1", Passed: is}
	if is {
		r.Observed = 1
	}
	return r
}

func quoted(names []string) string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = ident(name)
	}
	return comma(list)
}
