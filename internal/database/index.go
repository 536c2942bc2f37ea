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
	name := t.name + "_" + strings.Join(index.Columns, "_") + "_idx"
	const most = 63
	if len(name) <= most {
		return name
	}
	return base(t.name)[:min(len(base(t.name)), 40)] + "_" + hash(name)[:12] + "_idx"
}

// foundIndex is what stands under an index's name.
type foundIndex struct {
	there, valid bool
	like         bool // on the table, on these columns, and nothing else
	builder      int32
}

func (s *session) findIndex(ctx context.Context, t table, name string, columns []string) (f foundIndex, err error) {
	err = s.QueryRow(ctx, `
		select true, i.indisvalid and i.indisready,
		  i.indrelid = $3 and not i.indisunique and i.indpred is null and i.indexprs is null and i.indnatts = i.indnkeyatts
		    and array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality k(attnum, n)
		              join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum order by k.n) = $4,
		  coalesce((select p.pid from pg_stat_progress_create_index p where p.index_relid = i.indexrelid limit 1), 0)
		from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = $2`, t.schema, name, t.oid, columns).Scan(&f.there, &f.valid, &f.like, &f.builder)
	if errors.Is(err, pgx.ErrNoRows) {
		return foundIndex{}, nil
	}
	if err != nil {
		return f, fmt.Errorf("look for index %s: %w", ident(name), err)
	}
	return f, nil
}

// createIndex builds an index without blocking writers. What an attempt before
// left invalid is dropped first; one that another session is still building,
// such as that of a runner that was killed, is waited for.
type createIndex struct{ unbuilt }

func (createIndex) look(_ context.Context, i *inspector, o change.Operation) error {
	index := *o.CreateIndex
	if index.Unique || index.Where != "" || len(index.On)+len(index.Include) > 0 || index.Method != "" {
		i.refuse("create_index %s: only plain indexes on columns are supported yet", o.Name())
	}
	for _, name := range index.Columns {
		_, there := i.t.column(name)
		if !there && !slices.ContainsFunc(i.c.Added(), func(a change.AddColumn) bool { return a.Name == name }) {
			i.refuse("create_index: table %s has no column %q", i.t.ident(), name)
		}
	}
	return nil
}

func (createIndex) do(ctx context.Context, w work) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	t, err := w.table(ctx)
	if err != nil {
		return e, err
	}
	index := *w.step.Operation.CreateIndex
	name := indexName(t, index)
	object := pgx.Identifier{t.schema, name}.Sanitize()
	create := fmt.Sprintf("create index concurrently %s on %s (%s)", ident(name), t.ident(), quoted(index.Columns))
	begun := w.db.options.Now()
	for n := 1; ; n++ {
		found, err := w.s.findIndex(ctx, t, name, index.Columns)
		switch {
		case err != nil:
			return e, err
		case found.there && !found.like:
			return e, &RefusedError{Change: w.change.ID, Reasons: []string{fmt.Sprintf("index %s is there already, and another one", object)},
				Remedy: "give the index another name"}
		case found.valid:
			e.Detail, e.Seconds = create, w.db.options.Now().Sub(begun).Seconds()
			return w.done(ctx, e)
		case found.builder != 0:
			w.progress(change.Progress{Step: w.step.ID, Note: fmt.Sprintf("pid %d is still building it", found.builder)})
			if err := pause(ctx, time.Second); err != nil {
				return e, fmt.Errorf("wait for pid %d to build index %s: %w", found.builder, object, err)
			}
			continue
		case n > w.db.options.Attempts:
			return e, fmt.Errorf("index %s is still invalid after %d attempts", object, n-1)
		}
		statement := create
		if found.there {
			statement = "drop index concurrently " + object
		}
		if err := w.concurrently(ctx, object, statement); err != nil {
			return e, err
		}
	}
}

func (createIndex) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	t, err := w.table(ctx)
	if err != nil {
		return nil, err
	}
	index := *w.step.Operation.CreateIndex
	name := indexName(t, index)
	f, err := w.s.findIndex(ctx, t, name, index.Columns)
	if err != nil {
		return nil, err
	}
	return []change.CheckResult{inForce("index "+name+" is valid", f.valid && f.like)}, nil
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

// concurrently runs a statement that waits for the transactions of others. It
// holds up nobody by that, so that it waits as long as ctx allows and names
// whom it waits for; with a lock timeout it would fail and leave its half.
func (db *DB) concurrently(ctx context.Context, s *session, step, object, statement string, progress func(change.Progress)) (err error) {
	if _, err := s.Exec(ctx, `select set_config('lock_timeout', '0', false), set_config('statement_timeout', '0', false)`); err != nil {
		return fmt.Errorf("wait without limit: %w", err)
	}
	begun := db.options.Now()
	var seen blockers
	stop := db.watch(ctx, s, time.Second, &seen)
	watching, quit := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		for pause(watching, time.Second) == nil {
			p := change.Progress{Step: step}
			if by := seen.list(); len(by) > 0 {
				p.Note = "waits for " + by[0].String()
			}
			progress(p)
		}
	}()
	_, err = s.Exec(ctx, statement)
	quit()
	<-told
	stop()
	if err != nil {
		if ctx.Err() != nil || metLock(err) {
			return &LockedError{Object: "index " + object, Attempts: 1, Wait: db.options.Now().Sub(begun).Round(time.Second),
				Blockers: seen.list(), Err: errors.Join(err, seen.failure())}
		}
		return fmt.Errorf("%s: %w", statement, err)
	}
	_, err = s.Exec(ctx, `select set_config('lock_timeout', $1, false), set_config('statement_timeout', $2, false)`,
		milliseconds(s.options.LockTimeout), milliseconds(s.options.StatementTimeout))
	if err != nil {
		return fmt.Errorf("limit waiting again: %w", err)
	}
	return nil
}
