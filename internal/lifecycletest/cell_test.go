package lifecycletest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/pgtest"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// ground is a database with a role for the application, which may nothing but
// use the tables.
type ground struct {
	url   string
	admin *pgx.Conn
	role  string
	db    *database.DB
}

func newGround(t testing.TB, options database.Options) *ground {
	t.Helper()
	g := &ground{url: pgtest.New(t), role: "app_" + strings.ToLower(rand.Text())}
	g.admin = g.connect(t)
	g.exec(t, "create role "+g.role)
	t.Cleanup(func() {
		// The database is still there: it is dropped by the cleanup before.
		for _, statement := range []string{"drop owned by " + g.role, "drop role " + g.role} {
			_, err := g.admin.Exec(context.Background(), statement)
			var server *pgconn.PgError
			for tries := 0; errors.As(err, &server) && server.Code == "40P01" && tries < 5; tries++ { // two that drop a role each may meet in what all databases share
				_, err = g.admin.Exec(context.Background(), statement)
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	var err error
	if g.db, err = database.Open(t.Context(), g.url, options); err != nil {
		t.Fatal(err)
	}
	return g
}

// reset empties the database: a new one takes longer.
func (g *ground) reset(t testing.TB) {
	t.Helper()
	g.exec(t, `drop publication if exists items; drop schema if exists gapless, "My Shop", public cascade; create schema public`)
}

// cell is one operation on one kind of table, in a database of its own.
type cell struct {
	*ground
	k kind
	o operation

	rows int // to begin with, numbered from 1
	file string
	c    change.Change

	world    *world
	defaults row // what an INSERT gives to columns that it does not name
}

// reporter is a test, or one run of a property.
type reporter interface {
	Helper()
	Context() context.Context
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Failed() bool
	FailNow()
}

// base is how many rows there are: more than the backfill takes at once.
const base = 6_000

// hidden is the row that row-level security hides from the application.
const hidden = 5_999

// changeID names the change of every cell.
const changeID = "0042-harness"

func (g *ground) cell(t testing.TB, o operation, k kind, rows int) *cell {
	t.Helper()
	c := &cell{ground: g, k: k, o: o, rows: rows}
	c.make(t)
	c.parse(t)
	return c
}

func (g *ground) connect(t testing.TB) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), g.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// serverMajor is the PostgreSQL that the tests run on.
func serverMajor(t testing.TB) (major int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pgtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.QueryRow(t.Context(), `select current_setting('server_version_num')::int / 10000`).Scan(&major); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
	return major
}

func (g *ground) exec(t testing.TB, statement string) {
	t.Helper()
	if _, err := g.admin.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// make makes the table, with what the operation needs beside it, and fills it.
func (c *cell) make(t testing.TB) {
	t.Helper()
	schema := pgx.Identifier{c.k.schema}.Sanitize()
	c.exec(t, "create schema if not exists "+schema)
	c.exec(t, c.k.render(t, c.role, c.k.create))
	c.exec(t, c.k.render(t, c.role, c.o.setup))
	c.exec(t, fmt.Sprintf("grant usage on schema %[1]s to %[2]s; grant select, insert, update, delete on all tables in schema %[1]s to %[2]s", schema, c.role))
	if c.o.creates {
		c.exec(t, fmt.Sprintf("alter default privileges in schema %s grant select, insert, update, delete on tables to %s", schema, c.role))
	}
	c.world = &world{rows: map[int]*entry{}}
	rows := make([]string, 0, c.rows)
	columns := c.o.old.names()
	for n := 1; n <= c.rows; n++ {
		r := row{}
		values := []string{}
		for _, value := range c.k.key(n) {
			values = append(values, literal(value))
		}
		for _, column := range c.o.old.columns {
			value := column.values(mathrand.IntN, n)
			if values = append(values, sql(value)); value != null {
				r[column.name] = value
			}
		}
		c.world.rows[n] = &entry{row: r}
		rows = append(rows, "("+strings.Join(values, ",")+")")
	}
	var names []string
	for _, name := range slices.Concat(c.k.keys, columns) {
		names = append(names, c.k.c(name))
	}
	c.exec(t, fmt.Sprintf("insert into %s (%s) values %s", c.k.ident(), strings.Join(names, ", "), strings.Join(rows, ",")))
	c.exec(t, "analyze "+c.k.ident())
	c.defaults = c.o.before
}

func (c *cell) parse(t testing.TB) {
	t.Helper()
	table := c.o.table
	if table == "" {
		table = "{{yt}}"
	}
	c.file = "name: harness\ntable: " + c.k.render(t, c.role, table) + "\n" + c.k.render(t, c.role, c.o.change) + "\nquiet_for: 0s\n"
	if c.k.accept != "" {
		c.file += "accept:\n" + c.k.accept
	}
	var err error
	if c.c, err = change.Parse(changeID+".yaml", []byte(c.file)); err != nil {
		t.Fatalf("%v\n%s", err, c.file)
	}
}

// client is an instance of a revision.
func (c *cell) client(t testing.TB, r revision) *client {
	t.Helper()
	conn := c.connect(t)
	if _, err := conn.Exec(t.Context(), "set session authorization "+c.role); err != nil {
		t.Fatal(err)
	}
	r.also = slices.Clone(r.also)
	for i := range r.also {
		r.also[i] = c.k.render(t, c.role, r.also[i])
	}
	ident := c.k.ident()
	if r.table != "" {
		ident = c.k.render(t, c.role, r.table)
	}
	return &client{cell: c, conn: conn, revision: r, ident: ident, pick: mathrand.IntN, numbers: base / apart}
}

// run applies steps, as the only runner.
func (c *cell) run(t testing.TB, steps []change.Step) {
	t.Helper()
	unlock, err := lock(t.Context(), c.db, "the harness")
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		if _, err := c.db.Apply(t.Context(), c.c, step, nil); err != nil {
			t.Fatalf("%v\nhint: %s\n%s", err, rollout.HintOf(err), c.file)
		}
	}
	if err := unlock(t.Context()); err != nil {
		t.Error(err)
	}
}

// lock waits until a runner that has ended is gone for the server too.
func lock(ctx context.Context, db *database.DB, holder string) (unlock func(context.Context) error, err error) {
	deadline := time.Now().Add(20 * time.Second)
	for {
		unlock, err = db.Lock(ctx, holder)
		if _, busy := errors.AsType[*database.BusyError](err); !busy || time.Now().After(deadline) {
			return unlock, err
		}
	}
}

// compare holds what the clients and the administrator see against the model.
// Quiet: nobody is at work.
func (c *cell) compare(t reporter, when string, clients ...*client) {
	t.Helper()
	for _, client := range clients {
		if len(client.columns) == 0 {
			continue
		}
		want := map[int]row{}
		for n, e := range c.world.rows {
			if e.row != nil && (c.k.name != rls || n != hidden) {
				want[n] = e.row.of(client.names())
			}
		}
		c.differ(t, when+", as the application", client.conn, client.ident, client.names(), want)
		if c.k.name == rls && c.rows >= hidden {
			want[hidden] = c.world.rows[hidden].row.of(client.names())
			c.differ(t, when+", as the owner", c.admin, client.ident, client.names(), want)
		}
	}
}

func (c *cell) differ(t reporter, when string, conn *pgx.Conn, ident string, columns []string, want map[int]row) {
	t.Helper()
	seen, err := rowsOf(t.Context(), conn, c.k, ident, columns, "true")
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	told := 0
	for n := 1; n <= c.rows && told < 5; n++ {
		if !maps.Equal(seen[n], want[n]) || (seen[n] == nil) != (want[n] == nil) {
			t.Errorf("%s: row %d is %v, wanted %v", when, n, seen[n], want[n])
			told++
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%s: %d rows, wanted %d", when, len(seen), len(want))
	}
	if t.Failed() {
		t.FailNow()
	}
}

// compareKept holds gapless.kept against the model.
func (c *cell) compareKept(t reporter, when string) {
	t.Helper()
	if c.world.mapping == nil {
		return
	}
	logical := map[string]string{}
	for _, name := range slices.Concat(c.world.mapping.old, c.world.mapping.new) {
		logical[c.k.raw(name)] = name
	}
	rows, err := c.admin.Query(t.Context(), `select key, side, why, (select jsonb_object_agg(v.key, v.value) from jsonb_each_text(k.value) v) from gapless.kept k where change = $1`, changeID)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	count := map[string]int{}
	var key, value map[string]any
	var k kept
	if _, err := pgx.ForEachRow(rows, []any{&key, &k.side, &k.why, &value}, func() error {
		r := row{}
		for name, v := range value {
			if v != nil {
				r[logical[name]] = fmt.Sprint(v)
			}
		}
		k.value = r.String()
		count[fmt.Sprint(c.numberOf(key), k.side, k.why, k.value)]++
		key, value = nil, nil
		return nil
	}); err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	for _, k := range c.world.kept {
		n := k.n
		if c.k.name == noKey {
			n = 0
		}
		count[fmt.Sprint(n, k.side, k.why, k.value)]--
	}
	for what, n := range count {
		if n != 0 {
			t.Errorf("%s: gapless.kept has %d too many of %s", when, n, what)
		}
	}
}

// numberOf is a row's number by its key; 0 for a table without one.
func (c *cell) numberOf(key map[string]any) int {
	last := fmt.Sprint(key[c.k.raw(c.k.keys[len(c.k.keys)-1])])
	var n int
	if _, err := fmt.Sscanf(strings.TrimLeft(last[strings.LastIndex(last, "-")+1:], "0"), "%d", &n); err != nil {
		return 0
	}
	return n
}
