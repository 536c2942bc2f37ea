package database_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

// A statement that fails is named; those before it ran, and are not run again.
func TestPlainSQLGoesOnAtTheStatementThatFailed(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.exec(t, `create schema sales`)
	s.exec(t, fmt.Sprintf(`alter database %s set search_path = sales, public`, pgx.Identifier{one[string](t, s, `select current_database()`)}.Sanitize()))
	c := parse(t, "0001-x", `name: x
expand:
  - sql:
      run: |
        create table first (id int);
        insert into first values (1);
        create view second as select id from missing; create table third (id int)
      undo: drop table third; drop view second; delete from first; drop table first
`)
	err := applyAll(t.Context(), s, c)
	if err == nil || !strings.Contains(err.Error(), `statement 3 of 4: create view second`) {
		t.Fatalf("%v", err)
	}
	if log := one[[]string](t, s, `select array_agg(statement order by n) from gapless.log where step = 'sql/1'`); len(log) != 2 || log[0] != "create table first (id int)" {
		t.Errorf("%q", log)
	}
	s.exec(t, `create table sales.missing (id int)`)
	s.expand(t, c)
	s.expand(t, c)
	if n := one[int](t, s, `select count(*) from sales.first`); n != 1 {
		t.Errorf("%d rows: the first statements ran again", n)
	}
	s.undo(t, c)
	if n := one[int](t, s, `select count(*) from pg_class where relnamespace = 'sales'::regnamespace and relkind in ('r', 'v')`); n != 1 {
		t.Errorf("%d are left", n)
	}
}

// Plain SQL waits for a lock no longer than any other statement of ours, also
// where it says otherwise.
func TestPlainSQLWaitsNoLonger(t *testing.T) {
	const timeout = 300 * time.Millisecond
	s := newStage(t, database.Options{LockTimeout: timeout, Attempts: 2})
	s.exec(t, `create table address (id int primary key)`)
	c := parse(t, "0001-x", `name: x
expand: [{sql: {run: "select set_config('lock_timeout', '0', false); comment on table address is 'x'; alter table address add column n int", undo: none}}]
`)
	lazy := s.connect(t)
	if _, err := lazy.Exec(t.Context(), `set application_name = 'lazy report'; begin; select count(*) from address`); err != nil {
		t.Fatal(err)
	}
	err := applyAll(t.Context(), s, c)
	var locked *database.LockedError
	if !errors.As(err, &locked) || locked.Wait != timeout || !strings.Contains(locked.Hint(), "lazy report") {
		t.Fatalf("%v", err)
	}
	if _, err := lazy.Exec(t.Context(), `commit`); err != nil {
		t.Fatal(err)
	}
	s.expand(t, c)
}

// What expand cannot make is refused before it begins.
func TestObjectsThatCannotBeMadeAreRefused(t *testing.T) {
	t.Parallel()
	const setup = `create table address (id int primary key, street text); create view v as select id, street from address; create type mood as enum ('good', 'bad'); create materialized view m as select 1 as id;`
	s := newStage(t, database.Options{})
	for _, k := range []struct{ name, operation, want string }{
		{"table there", `create_table: {columns: [{name: id, type: int}]}`, `"public"."address" is there already`},
		{"view there", `create_view: {name: v, query: select 1}`, `"public"."v" is there already`},
		{"view under a table's name", `create_view: {name: address, query: select 1}`, `"public"."address" is there already`},
		{"view of nonsense", `create_view: {name: n, query: select id from address where id}`, "argument of WHERE must be type boolean"},
		{"no schema", `create_view: {name: nowhere.n, query: select 1}`, `there is no schema "nowhere"`},
		{"fewer columns", `replace_view: {name: v, query: select id from address}`, "it has 2 columns, the new query 1"},
		{"another type", `replace_view: {name: v, query: "select id::bigint as id, street from address"}`, `column 1 is "id" integer, in the new query "id" bigint`},
		{"another order", `replace_view: {name: v, query: "select street, id from address"}`, `column 1 is "id" integer`},
		{"no view", `replace_view: {name: m, query: select 1 as id}`, `"public"."m" is no view`},
		{"no type", `add_enum_value: {type: moods, value: x}`, "there is no enum type moods"},
		{"no neighbour", `add_enum_value: {type: mood, value: x, after: worst}`, "has no value 'worst'"},
		{"elsewhere", `add_enum_value: {type: mood, value: good, after: bad}`, "has the value 'good' already, and it stands before 'bad'"},
	} {
		t.Run(k.name, func(t *testing.T) {
			s.clean(t)
			s.exec(t, setup)
			c := parse(t, "0001-x", "name: x\ntable: address\nexpand: [{"+k.operation+"}]\n")
			before := s.dump(t)
			facts, err := s.db.Inspect(t.Context(), c)
			if err != nil || !refusedBy(facts, k.want) {
				t.Errorf("want %q, refused %v %q", k.want, err, facts.Refusals)
			}
			var refused *database.RefusedError
			if err := applyAll(t.Context(), s, c); !errors.As(err, &refused) || s.dump(t) != before {
				t.Errorf("%v", err)
			}
		})
	}
	for _, k := range []struct{ name, operation, want string }{
		{"view", `drop_view: address`, "there is no address"},
		{"function", `drop_function: f()`, "there is no f()"},
		{"sequence", `drop_sequence: v`, "there is no v"},
		{"identity", `drop_sequence: n_id_seq`, "numbers the identity column id of public.n"},
		{"aggregate", `drop_function: total(int)`, "is an aggregate"},
	} {
		t.Run("drop "+k.name, func(t *testing.T) {
			s.clean(t)
			s.exec(t, setup+`create table n (id int generated always as identity); create aggregate total(int) (sfunc = int4pl, stype = int)`)
			facts, err := s.db.Inspect(t.Context(), parse(t, "0001-x", "name: x\ncontract: [{"+k.operation+"}]\n"))
			if err != nil || !refusedBy(facts, k.want) {
				t.Errorf("want %q, refused %v %q", k.want, err, facts.Refusals)
			}
		})
	}
}

// A new table that holds rows is put away, not dropped, and one that others
// refer to by then is left.
func TestANewTableWithRowsIsArchived(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	clerk := s.role(t, "clerk")
	s.exec(t, `create table customer (id int primary key); insert into customer values (1)`)
	c := parse(t, "0001-x", `name: x
table: orders
expand:
  - create_table:
      columns: [{name: id, type: bigint, identity: always}, {name: customer, type: int}]
      primary_key: [id]
      foreign_keys: [{name: of_customer, columns: [customer], references: {table: customer, columns: [id]}}]
  - sql: {run: 'grant select, insert on orders to `+clerk+`', undo: none}
`)
	before := s.dump(t)
	for n := range 2 {
		s.expand(t, c)
		s.exec(t, `insert into orders (customer) values (1), (null)`)
		s.exec(t, `create table other (id bigint references orders)`)
		var refused *database.RefusedError
		if _, err := s.applySteps(t, c, change.RevertSteps(c)); !errors.As(err, &refused) || !strings.Contains(err.Error(), "other_id_fkey") {
			t.Fatalf("%v", err)
		}
		s.exec(t, `drop table other`)
		var archive string
		for _, e := range s.undo(t, c) {
			if e.ArchiveTable != "" {
				archive = e.ArchiveTable
			}
		}
		if after := s.dump(t); after != before {
			t.Errorf("left behind:\n%s\n%s", before, after)
		}
		if rows := one[int](t, s, `select count(*) from `+archive); rows != 2 {
			t.Errorf("round %d: %d rows in %s", n, rows, archive)
		}
		if one[bool](t, s, `select has_table_privilege($1, $2, 'select')`, clerk, archive) {
			t.Error("the archive can be read by others")
		}
	}
}

// Those who use either table of a foreign key wait for its making and dropping
// no longer than the lock timeout.
func TestForeignKeysOfTablesHoldUpNobody(t *testing.T) {
	const timeout, slack = 500 * time.Millisecond, 200 * time.Millisecond
	s := newStage(t, database.Options{LockTimeout: timeout, Attempts: 2})
	for _, k := range []struct{ name, setup, change string }{
		{"create_table", ``, `name: x
table: orders
expand: [{create_table: {columns: [{name: customer, type: int}], foreign_keys: [{name: f, columns: [customer], references: {table: address, columns: [id]}}]}}]
`},
		{"drop_table", `create table orders (customer int references address)`, "name: x\ntable: orders\ncontract: [{drop_table: true}]\n"},
	} {
		t.Run(k.name, func(t *testing.T) {
			s.clean(t)
			s.exec(t, `create table address (id int primary key); insert into address values (1)`)
			s.exec(t, k.setup)
			c := parse(t, "0001-x", k.change)
			lazy := s.connect(t)
			if _, err := lazy.Exec(t.Context(), `set application_name = 'lazy report'; begin; update address set id = id`); err != nil {
				t.Fatal(err)
			}
			steps := append(change.ExpandSteps(c), change.ContractSteps(c)...)
			longest := time.Hour
			for try := 0; try < 3 && longest > timeout+slack; try++ {
				stop := make(chan struct{})
				waited := s.slowestRead(t, stop)
				_, err := s.applySteps(t, c, steps[done(t, s, c):])
				close(stop)
				longest = min(longest, <-waited)
				var locked *database.LockedError
				if !errors.As(err, &locked) || !strings.Contains(locked.Hint(), "lazy report") {
					t.Fatalf("not locked: %v", err)
				}
			}
			if longest > timeout+slack {
				t.Errorf("a reader waited %s behind us", longest)
			}
			if _, err := lazy.Exec(t.Context(), `commit`); err != nil {
				t.Fatal(err)
			}
			s.run(t, c, steps[done(t, s, c):])
		})
	}
}

// done is how many steps of a change are done.
func done(t *testing.T, s *stage, c change.Change) int {
	t.Helper()
	if _, digest, err := s.db.State(t.Context(), c.ID); err != nil || digest == "" {
		return 0
	}
	return one[int](t, s, `select count(*) from gapless.step where change = $1 and done_at is not null`, c.ID)
}
