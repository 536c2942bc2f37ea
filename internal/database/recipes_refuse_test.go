package database_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

// refusals are told at plan, before anything is done.
func TestOperationsAreRefusedAtPlan(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, setup, body, want string }{
		{"a domain with a constraint", `create domain few as int check (value < 9)`, `expand: [{add_column: {name: n, type: few}}]`, "PostgreSQL would rewrite the table, as it does for a domain with a constraint"},
		{"a default that does not fit", ``, `expand: [{add_column: {name: n, type: int, default: "'x'"}}]`, "invalid input syntax for type integer"},
		{"a default that reads a column", ``, `expand: [{add_column: {name: n, type: int, default: "a"}}]`, "cannot use column reference in DEFAULT"},
		{"a synced column with a volatile default", ``, `
expand: [{add_column: {name: n, type: text, default: "random()::text"}}]
sync: {forward: {n: b}, backward: {b: n}}`, "is under sync and has a default that gives another value each time"},
		{"a fill without a key", `alter table t drop constraint t_pkey`, `expand: [{add_column: {name: n, type: uuid, default: gen_random_uuid()}}]`, "cannot be filled in"},
		{"a fill through a trigger", `create function touch() returns trigger language plpgsql as $$ begin return new; end $$;
			create trigger touch before update on t for each row execute function touch()`, `expand: [{add_column: {name: n, type: uuid, default: gen_random_uuid()}}]`, `trigger "touch" of table`},
		{"a fill through a broken check", `insert into t values (1, 1, 'x'); alter table t add constraint small check (a > 5) not valid`,
			`expand: [{add_column: {name: n, type: uuid, default: gen_random_uuid()}}]`, `constraint "small" of table "public"."t" is not valid: 1 row (with key 1)`},
		{"a fill that does not fit", ``, `contract: [{set_not_null: {column: a, fill: b}}]`, "column \"a\" is of type integer but expression is of type text"},
		{"no such column", ``, `contract: [{set_not_null: {column: c}}]`, `table "public"."t" has no column "c"`},
		{"NULL is allowed already", ``, `expand: [{drop_not_null: {column: a, because: x}}]`, "it takes NULL already"},
		{"NULL in the primary key", ``, `expand: [{drop_not_null: {column: id, because: x}}]`, "part of the primary key"},
		{"a default of an identity column", `alter table t add column i int generated always as identity`, `expand: [{set_default: {column: i, value: "1"}}]`, "identity"},
		{"a check's name is taken", `alter table t add constraint small check (a > 5)`, `contract: [{add_check: {name: small, expression: "a > 5"}}]`, "has a constraint of this name already"},
		{"a check of nothing", ``, `contract: [{add_check: {name: small, expression: "c > 5"}}]`, `column "c" does not exist`},
		{"a unique constraint's name is taken", `create index taken on t (a)`, `contract: [{add_unique: {name: taken, columns: [a]}}]`, `"public"."taken" is there already, and another one`},
		{"a type that cannot be unique", `alter table t add column j json`, `contract: [{add_unique: {name: u, columns: [j]}}]`, "no default operator class"},
		{"a foreign key to nothing", ``, `contract: [{add_foreign_key: {name: f, columns: [a], references: {table: other, columns: [id]}}}]`, `there is no table "other"`},
		{"a foreign key to what is not unique", `create table other (id int)`, `contract: [{add_foreign_key: {name: f, columns: [a], references: {table: other, columns: [id]}}}]`, "no unique constraint of table"},
		{"a foreign key of another type", `create table other (id uuid primary key)`, `contract: [{add_foreign_key: {name: f, columns: [a], references: {table: other, columns: [id]}}}]`, "operator does not exist: integer = uuid"},
		{"no such constraint", ``, `contract: [{drop_constraint: {name: u}}]`, "has no constraint of this name"},
		{"the primary key", ``, `contract: [{drop_constraint: {name: t_pkey}}]`, "neither a check nor a unique constraint nor a foreign key"},
		{"a constraint that a foreign key needs", `alter table t add constraint u unique (a); create table other (a int references t (a))`, `contract: [{drop_constraint: {name: u}}]`, "foreign keys refer to it"},
		{"an index expression that varies", ``, `expand: [{create_index: {name: x, on: ["(now())"]}}]`, "functions in index expression must be marked IMMUTABLE"},
		{"a column that an index cannot hold", `alter table t add column j json`, `expand: [{create_index: {columns: [j]}}]`, "no default operator class"},
		{"an index of another table", `create table other (id int); create index x on other (id)`, `contract: [{drop_index: x}]`, `table "public"."t" has no index of this name`},
		{"an index that a constraint stands on", `alter table t add constraint u unique (a)`, `contract: [{drop_index: u}]`, "use drop_constraint"},
		{"an index that replication needs", `alter table t alter column a set not null; create unique index x on t (a); alter table t replica identity using index x`, `contract: [{drop_index: x}]`, "replication tells rows apart by it"},
		{"a default that partitions differ in", `drop table t; create table t (id int primary key, a int default 1, b text) partition by range (id);
			create table t1 partition of t (a default 2) for values from (0) to (9)`, `expand: [{set_default: {column: a, value: "3"}}]`, `partitions have a default of their own, which would be lost: public.t1`},
		{"a unique index without the partition key", `drop table t; create table t (id int primary key, a int, b text) partition by range (id)`, `contract: [{add_unique: {name: u, columns: [a]}}]`, `is partitioned by id, which a unique index must hold`},
	}
	s := newStage(t, database.Options{})
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			s.reset(t)
			s.exec(t, `create table t (id int primary key, a int, b text)`)
			s.exec(t, k.setup)
			c, err := change.Parse("0001-x.yaml", []byte("name: x\ntable: t\n"+k.body+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			before := s.shape(t)
			facts, err := s.db.Inspect(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(facts.Refusals, func(r string) bool { return strings.Contains(r, k.want) }) {
				t.Errorf("want %q, refused: %q", k.want, facts.Refusals)
			}
			s.same(t, "looked at", before)
		})
	}
}

// Rows that an operation would reject are told by their keys, at plan and again
// before anything is done; what is corrected is then accepted.
func TestRowsThatAreInTheWayAreNamed(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, body, told, remedy string }{
		{"NULL", `contract: [{set_not_null: {column: a}}]`, "2 rows (with key 7, 8)", `update t set a = id where a is null`},
		{"a check", `contract: [{add_check: {name: x, expression: "b <> 'bad'"}}]`, "1 row (with key 3)", `update t set b = 'good' where b = 'bad'`},
		{"a unique constraint", `contract: [{add_unique: {name: x, columns: [b]}}]`, "4 rows (with key 1, 2, 5, 6)", `update t set b = b || id`},
		{"a unique index", `contract: [{create_index: {name: x, unique: true, on: ["upper(b)"], where: "id > 1"}}]`, "2 rows (with key 5, 6)", `update t set b = b || id`},
		{"a foreign key", `contract: [{add_foreign_key: {name: x, columns: [a], references: {table: other, columns: [id]}}}]`, "2 rows (with key 4, 6)", `insert into other values (4), (6)`},
	}
	s := newStage(t, database.Options{})
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			s.reset(t)
			s.exec(t, `create table other (id int primary key); insert into other values (1), (2), (3), (5);
				create table t (id int primary key, a int, b text);
				insert into t values (1, 1, 'p'), (2, 2, 'p'), (3, 3, 'bad'), (4, 4, 'x'), (5, 5, 'q'), (6, 6, 'q'), (7, null, null), (8, null, null)`)
			c, err := change.Parse("0001-x.yaml", []byte("name: x\ntable: t\nquiet_for: 0s\n"+k.body+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			facts, err := s.db.Inspect(t.Context(), c)
			if err != nil || len(facts.Refusals) > 0 {
				t.Fatalf("%v %q", err, facts.Refusals)
			}
			if !slices.ContainsFunc(facts.Warnings, func(w string) bool { return strings.Contains(w, k.told) }) {
				t.Errorf("want %q, warned: %q", k.told, facts.Warnings)
			}
			s.expand(t, c)
			before := s.shape(t)
			steps := change.ContractSteps(c)
			s.run(t, c, steps[:1])
			var refused *database.RefusedError
			if _, err := s.db.Apply(t.Context(), c, steps[1], nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), k.told) || refused.Hint() == "" {
				t.Errorf("%v", err)
			}
			s.same(t, "refused", before)
			s.exec(t, k.remedy)
			s.contract(t, c)
		})
	}
}
