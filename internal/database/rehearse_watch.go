package database

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// onlooker is told of every statement of a rehearsal, and looks from a connection
// of its own at the locks that it took, while its transaction is still open.
type onlooker struct {
	now func() time.Time

	mu    sync.Mutex // the connection, and all below
	conn  *pgx.Conn
	files map[uint32]tableFile
	under map[*pgx.Conn]*underway
	step  change.Step
	seen  []*change.Rehearsed
	err   error
}

// tableFile is the file that a table is kept in.
type tableFile struct {
	name string
	node uint32
}

// underway is what a connection has done in its transaction.
type underway struct {
	sql   string
	since time.Time
	known map[change.TableLock]bool
	noted []noted
	stop  func() []change.TableLock // ends the looking at a statement that has no transaction around it
}

type noted struct {
	*change.Rehearsed
	since time.Time
}

var _ pgx.QueryTracer = (*onlooker)(nil)

func newOnlooker(ctx context.Context, config *pgx.ConnConfig, now func() time.Time) (*onlooker, error) {
	config = config.Copy()
	config.RuntimeParams["application_name"] = "gapless/rehearse"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, &UnreachableError{Err: err}
	}
	w := &onlooker{now: now, conn: conn, under: map[*pgx.Conn]*underway{}}
	if w.files, err = w.tableFiles(ctx); err != nil {
		return nil, errors.Join(err, w.close(ctx))
	}
	return w, nil
}

func (w *onlooker) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	return w.conn.Close(ctx)
}

func (w *onlooker) begin(step change.Step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.step, w.seen = step, nil
}

// end gives the statements that took a strong lock since begin.
func (w *onlooker) end() ([]change.Rehearsed, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []change.Rehearsed
	for _, s := range w.seen {
		all = append(all, *s)
	}
	return all, w.err
}

// TraceQueryStart implements pgx.QueryTracer.
func (w *onlooker) TraceQueryStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	u := w.under[conn]
	if u == nil {
		u = &underway{known: map[change.TableLock]bool{}}
		w.under[conn] = u
	}
	u.sql, u.since = data.SQL, w.now()
	if conn.PgConn().TxStatus() == 'I' && definition(data.SQL) {
		u.stop = w.keepLooking(ctx, conn.PgConn().PID())
	}
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (w *onlooker) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	w.mu.Lock()
	u := w.under[conn]
	w.mu.Unlock()
	if u == nil {
		return
	}
	ended := w.now()
	var locks []change.TableLock
	alone := u.stop != nil
	if alone {
		locks, u.stop = u.stop(), nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	status := conn.PgConn().TxStatus()
	if status == 'T' {
		var err error
		locks, err = w.locks(ctx, conn.PgConn().PID())
		w.failed(ctx, err)
	}
	locks = slices.DeleteFunc(locks, func(l change.TableLock) bool { return u.known[l] })
	if data.Err == nil && (len(locks) > 0 || alone || len(u.known) > 0 && definition(u.sql) && !ours(u.sql)) {
		s := &change.Rehearsed{
			Part: w.step.Part, Step: w.step.ID, Statement: brief(u.sql), Locks: locks, Under: len(u.known) > 0, Took: ended.Sub(u.since),
		}
		w.seen = append(w.seen, s)
		u.noted = append(u.noted, noted{s, u.since})
	}
	for _, l := range locks {
		u.known[l] = true
	}
	if status != 'T' && status != 'E' {
		w.over(ctx, conn, ended)
	}
}

// over takes note that a transaction has released its locks, and of the tables
// that it has rewritten.
func (w *onlooker) over(ctx context.Context, conn *pgx.Conn, ended time.Time) {
	u := w.under[conn]
	delete(w.under, conn)
	if len(u.noted) == 0 {
		return
	}
	for _, s := range u.noted {
		s.Held = ended.Sub(s.since)
	}
	files, err := w.tableFiles(ctx)
	if err != nil {
		w.failed(ctx, err)
		return
	}
	for oid, before := range w.files {
		after, there := files[oid]
		if !there || after.node == before.node {
			continue
		}
		by := u.noted[len(u.noted)-1]
		for _, s := range u.noted {
			if slices.Contains(s.Locks, change.TableLock{Table: before.name, Mode: accessExclusive}) {
				by = s
			}
		}
		by.Rewrites = append(by.Rewrites, before.name)
	}
	w.files = files
}

func (w *onlooker) failed(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		w.err = errors.Join(w.err, err)
	}
}

// keepLooking looks at a backend's locks again and again until it is stopped: a
// statement that has no transaction around it has released them when it ends.
func (w *onlooker) keepLooking(ctx context.Context, pid uint32) (stop func() []change.TableLock) {
	ended := make(chan struct{})
	var all []change.TableLock
	var done sync.WaitGroup
	done.Go(func() {
		for {
			select {
			case <-ended:
				return
			default:
			}
			w.mu.Lock()
			now, err := w.locks(ctx, pid)
			w.failed(ctx, err)
			w.mu.Unlock()
			for _, l := range now {
				if !slices.Contains(all, l) {
					all = append(all, l)
				}
			}
			if err != nil {
				return
			}
		}
	})
	return func() []change.TableLock {
		close(ended)
		done.Wait()
		return all
	}
}

const accessExclusive = "ACCESS EXCLUSIVE"

// applications is a condition on a relation c and its schema n: it is not the
// server's nor gapless's own.
const applications = `n.nspname not in ('gapless', 'information_schema') and n.nspname !~ '^pg_'`

// locks are the strong locks that a backend holds. What it has made itself in
// its open transaction is not seen from here, and holds nobody up.
func (w *onlooker) locks(ctx context.Context, pid uint32) ([]change.TableLock, error) {
	rows, err := w.conn.Query(ctx, `
		select format('%I.%I', n.nspname, c.relname), l.mode
		from pg_catalog.pg_locks l join pg_catalog.pg_class c on c.oid = l.relation join pg_catalog.pg_namespace n on n.oid = c.relnamespace
		where l.pid = $1 and l.granted and l.locktype = 'relation' and c.relkind in ('r', 'p', 'm', 'v', 'f', 'S')
		  and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
		  and l.mode not in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock') and `+applications+`
		order by 1, 2`, int32(pid))
	if err != nil {
		return nil, fmt.Errorf("look at the locks: %w", err)
	}
	locks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l change.TableLock, err error) {
		err = row.Scan(&l.Table, &l.Mode)
		l.Mode = strings.ToUpper(strings.TrimSpace(regexp.MustCompile(`[A-Z][a-z]+`).ReplaceAllString(strings.TrimSuffix(l.Mode, "Lock"), "$0 ")))
		return l, err
	})
	if err != nil {
		return nil, fmt.Errorf("look at the locks: %w", err)
	}
	return locks, nil
}

func (w *onlooker) tableFiles(ctx context.Context) (map[uint32]tableFile, error) {
	rows, err := w.conn.Query(ctx, `
		select c.oid, format('%I.%I', n.nspname, c.relname), pg_catalog.pg_relation_filenode(c.oid)
		from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'm') and `+applications)
	if err != nil {
		return nil, fmt.Errorf("look at the tables' files: %w", err)
	}
	files := map[uint32]tableFile{}
	var oid uint32
	var file tableFile
	if _, err = pgx.ForEachRow(rows, []any{&oid, &file.name, &file.node}, func() error { files[oid] = file; return nil }); err != nil {
		return nil, fmt.Errorf("look at the tables' files: %w", err)
	}
	return files, nil
}

// definition tells whether a statement changes a definition, or the like.
func definition(sql string) bool {
	word, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(sql)), " ")
	return slices.Contains([]string{"create", "drop", "alter", "reindex", "refresh", "cluster", "vacuum", "truncate"}, word)
}

// ours tells of statements on what is in gapless's own schema.
func ours(sql string) bool {
	return strings.Contains(sql, `gapless.`) || strings.Contains(sql, `"gapless".`)
}

// brief is a statement on one line that can be read.
func brief(sql string) string {
	const most = 200
	text := []rune(strings.Join(strings.Fields(sql), " "))
	if len(text) > most {
		return string(text[:most-3]) + "..."
	}
	return string(text)
}
