package lifecycletest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// revision is what one release of the application reads and writes.
type revision struct {
	table   string // template; by default the change's table
	columns []column
	also    []string // templates: what it runs besides, which must not fail
}

// column is one that a revision knows, with the values that it writes.
type column struct {
	name   string
	values values
	always bool // an INSERT names it: it takes no NULL and has no default
}

// values gives one for row n.
type values func(pick pick, n int) string

// pick chooses a number from 0 to below n.
type pick func(n int) int

// null stands for NULL among a column's values.
const null = "\x00"

func oneOf(all ...string) values {
	return func(pick pick, _ int) string { return all[pick(len(all))] }
}

// distinct gives each row and each time another value.
func distinct(_ pick, n int) string { return fmt.Sprintf("%d-%d", n, rand.Int64()) }

func (r revision) names() []string {
	names := make([]string, len(r.columns))
	for i, c := range r.columns {
		names[i] = c.name
	}
	return names
}

// client is an instance of a revision: a connection in the application's role.
type client struct {
	cell *cell
	conn *pgx.Conn
	revision
	ident string
	whole bool // an INSERT names every column
	pick  pick
	// numbers is how many rows it writes; all others stay as they are.
	numbers int
}

// apart is how far the rows that are written are from each other: the backfill
// meets them on all its way.
const apart = 150

// leave ends the connection.
func (c *client) leave(t testing.TB) {
	t.Helper()
	if err := c.conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// draw chooses columns to write.
func (c *client) draw(n int, least func(column) bool) row {
	drawn := row{}
	for len(drawn) == 0 {
		for _, column := range c.columns {
			if least(column) || c.pick(2) == 0 {
				drawn[column.name] = column.values(c.pick, n)
			}
		}
	}
	return drawn
}

// apply gives r with what was drawn.
func apply(r, drawn row) row {
	next := row{}
	maps.Copy(next, r)
	for name, value := range drawn {
		if next[name] = value; value == null {
			delete(next, name)
		}
	}
	return next
}

func sql(value string) string {
	if value == null {
		return "null"
	}
	return literal(value)
}

// act writes or reads one row as the application does, and tells the model.
func (c *client) act(ctx context.Context) error {
	if len(c.columns) == 0 { // the revision does not know the table
		return ctx.Err()
	}
	n := apart * (1 + c.pick(c.numbers))
	e := c.cell.world.rows[n]
	e.Lock()
	defer e.Unlock()
	switch chance := c.pick(10); {
	case e.row == nil:
		return c.insert(ctx, n, e)
	case chance == 0:
		e.row = nil
		return c.exec(ctx, fmt.Sprintf("delete from %s where %s", c.ident, c.cell.k.where(n)))
	case chance < 3:
		return c.read(ctx, n, e)
	case chance == 3 && c.cell.k.name != noKey:
		return c.upsert(ctx, n, e)
	}
	return c.update(ctx, n, e)
}

// write is what the rules make of a write; ok is false where the database must
// reject it.
func (c *client) write(n int, was, next row) (after row, aside []kept, ok bool) {
	after, aside, ok = c.cell.world.mapping.write(n, was, next, c.cell.defaults)
	for _, name := range c.cell.o.required {
		_, there := after[name]
		ok = ok && there
	}
	return after, aside, ok
}

// did runs a statement and tells the model, where it is not to be rejected.
func (c *client) did(ctx context.Context, statement string, e *entry, after row, aside []kept, ok bool) error {
	err := c.exec(ctx, statement)
	if !ok {
		if _, rejected := errors.AsType[*pgconn.PgError](err); !rejected {
			return fmt.Errorf("%s: expected to be rejected, observed %w", statement, err)
		}
		return nil
	}
	if err == nil {
		e.row = after
		c.cell.world.keep(aside)
	}
	return err
}

// values are the INSERT of what was drawn for row n.
func (c *client) values(n int, drawn row) string {
	names, values := []string{}, []string{}
	for i, value := range c.cell.k.key(n) {
		names, values = append(names, c.cell.k.c(c.cell.k.keys[i])), append(values, literal(value))
	}
	for name, value := range drawn {
		names, values = append(names, c.cell.k.c(name)), append(values, sql(value))
	}
	return fmt.Sprintf("insert into %s (%s) values (%s)", c.ident, strings.Join(names, ", "), strings.Join(values, ", "))
}

func (c *client) needs(column column) bool { return c.whole || column.always }

func (c *client) insert(ctx context.Context, n int, e *entry) error {
	drawn := c.draw(n, c.needs)
	after, aside, ok := c.write(n, nil, apply(c.cell.defaults, drawn))
	return c.did(ctx, c.values(n, drawn), e, after, aside, ok)
}

// upsert proposes a row that is there already: the triggers see it as an INSERT
// and then as an UPDATE to what they made of it.
func (c *client) upsert(ctx context.Context, n int, e *entry) error {
	drawn := c.draw(n, c.needs)
	proposed, aside, ok := c.write(n, nil, apply(c.cell.defaults, drawn))
	var sets, keys []string
	next := e.row
	for name := range drawn {
		sets = append(sets, fmt.Sprintf("%[1]s = excluded.%[1]s", c.cell.k.c(name)))
		next = next.with([]string{name}, proposed)
	}
	for _, name := range c.cell.k.keys {
		keys = append(keys, c.cell.k.c(name))
	}
	var after row
	if ok {
		var more []kept
		after, more, ok = c.write(n, e.row, next)
		aside = append(aside, more...)
	}
	statement := fmt.Sprintf("%s on conflict (%s) do update set %s", c.values(n, drawn), strings.Join(keys, ", "), strings.Join(sets, ", "))
	return c.did(ctx, statement, e, after, aside, ok)
}

func (c *client) update(ctx context.Context, n int, e *entry) error {
	drawn := c.draw(n, func(column) bool { return false })
	after, aside, ok := c.write(n, e.row, apply(e.row, drawn))
	var sets []string
	for name, value := range drawn {
		sets = append(sets, c.cell.k.c(name)+" = "+sql(value))
	}
	return c.did(ctx, fmt.Sprintf("update %s set %s where %s", c.ident, strings.Join(sets, ", "), c.cell.k.where(n)), e, after, aside, ok)
}

// exec runs a statement that must write one row.
func (c *client) exec(ctx context.Context, statement string) error {
	tag, err := c.conn.Exec(ctx, statement)
	if err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	if tag.RowsAffected() != 1 {
		return fmt.Errorf("%s: wrote %d rows", statement, tag.RowsAffected())
	}
	return nil
}

func (c *client) read(ctx context.Context, n int, e *entry) error {
	for _, statement := range c.also {
		if _, err := c.conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	seen, err := rowsOf(ctx, c.conn, c.cell.k, c.ident, c.names(), c.cell.k.where(n))
	if err != nil {
		return err
	}
	if want := e.row.of(c.names()); len(seen) != 1 || !maps.Equal(seen[n], want) {
		return fmt.Errorf("row %d of %s is %v, wanted %v", n, c.ident, seen, want)
	}
	return nil
}

// rowsOf reads columns of rows by their numbers.
func rowsOf(ctx context.Context, conn *pgx.Conn, k kind, ident string, columns []string, where string) (map[int]row, error) {
	texts := make([]string, len(columns))
	for i, name := range columns {
		texts[i] = k.c(name) + "::text"
	}
	statement := fmt.Sprintf("select %s, array[%s]::text[] from %s where %s", k.numberSQL(), strings.Join(texts, ", "), ident, where)
	rows, err := conn.Query(ctx, statement)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", statement, err)
	}
	found := map[int]row{}
	var n int
	var values []*string
	_, err = pgx.ForEachRow(rows, []any{&n, &values}, func() error {
		if found[n] != nil {
			return fmt.Errorf("row %d is there twice", n)
		}
		found[n] = row{}
		for i, value := range values {
			if value != nil {
				found[n][columns[i]] = *value
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", statement, err)
	}
	return found, nil
}

// play has each client act so often, one after the other.
func play(t testing.TB, times int, clients ...*client) {
	t.Helper()
	for i := range times * len(clients) {
		if err := clients[i%len(clients)].act(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// crew is clients at work at the same time.
type crew struct {
	stop context.CancelFunc
	done sync.WaitGroup
	mu   sync.Mutex
	acts int
	errs []error
}

// work has the clients act until halt, or until the test ends.
func work(t testing.TB, clients ...*client) *crew {
	ctx, cancel := context.WithCancel(context.Background())
	w := &crew{stop: cancel}
	t.Cleanup(func() { cancel(); w.done.Wait() })
	for _, c := range clients {
		w.done.Go(func() {
			acts := 0
			var err error
			for err == nil && ctx.Err() == nil {
				err = c.act(context.WithoutCancel(ctx))
				acts++
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.acts += acts; err != nil {
				w.errs = append(w.errs, err)
			}
		})
	}
	return w
}

// halt ends the work. No write may have failed.
func (w *crew) halt(t testing.TB) {
	t.Helper()
	w.stop()
	w.done.Wait()
	for _, err := range w.errs {
		t.Errorf("of %d acts: %v", w.acts, err)
	}
}
