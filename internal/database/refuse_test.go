package database_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

func TestInspectRefusesWhatItCannotDo(t *testing.T) {
	const columns = `(id int primary key, street text, born date, at timestamptz, price float8, day int)`
	cases := []struct{ name, setup, old, forward, backward, want string }{
		{"volatile", ``, "street", "street || random()::text", "", "function \"pg_catalog\".\"random\" is volatile"},
		{"stable", ``, "day", "to_char(day, '999')", "", "\"to_char\" is stable"},
		{"own volatile function", `create function wild(text) returns text language sql as $$ select $1 $$`, "street", "wild(street)", "", "function \"public\".\"wild\" is volatile"},
		{"date written as text", ``, "born", "born::text", "", "writing as text a value of type date depends"},
		{"date joined to text", ``, "born", "concat_ws(' ', born)", "", "writing as text a value of type date depends"},
		{"date assigned to text", ``, "born", "born", "", "writing as text a value of type date depends"},
		{"date read", ``, "street", "(street::date - date '2000-01-01')::text", "", "reading text as type date depends"},
		{"time zone", ``, "at", "(extract(epoch from date_trunc('day', at)))::text", "", "\"date_trunc\" is stable"},
		{"float written", ``, "price", "price::text", "", "writing as text a value of type double precision depends"},
		{"does not fit", ``, "day", "day::text", "n2", "column \"day\" is of type integer but expression is of type text"},
		{"no such function", ``, "street", "splt(street)", "", "function splt(text) does not exist"},
		{"no such column", ``, "strt", "n2", "", "has no column \"strt\""},
		{"partitioned", `drop table address; create table address (id int primary key, street text) partition by range (id)`, "street", "street", "", "partitioned"},
		{"a partition's parent", `create table child () inherits (address)`, "street", "street", "", "inheritance"},
		{"no key", `alter table address drop constraint address_pkey`, "street", "street", "", "neither a primary key nor"},
		{"partial key", `alter table address drop constraint address_pkey; create unique index on address (id) where id > 0`, "street", "street", "", "neither a primary key nor"},
		{"the key itself", ``, "id", "id::text", "n2::int", "part of the key"},
		{"generated", `alter table address add column loud text generated always as (upper(street)) stored`, "loud", "loud", "", "is generated"},
		{"published", `create publication p for table address`, "street", "street", "", "published"},
		{"row security", `alter table address enable row level security`, "street", "street", "", "row-level security"},
		{"touched by a trigger", `create function touch() returns trigger language plpgsql as $$ begin return new; end $$;
			create trigger touch before update on address for each row execute function touch()`, "street", "street", "", "trigger \"touch\" of table"},
		{"a later trigger", `create function touch() returns trigger language plpgsql as $$ begin return new; end $$;
			create trigger "~z" before insert on address for each row execute function touch()`, "street", "street", "", "fires after the sync trigger"},
		{"taken column", `alter table address add column n2 text`, "street", "street", "", "column \"n2\" is there already"},
		{"a view", `alter table address rename to a2; create view address as select * from a2`, "street", "street", "", "no ordinary table"},
	}
	s := newStage(t, database.Options{})
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			s.reset(t)
			s.exec(t, `create table address `+columns)
			s.exec(t, k.setup)
			backward := k.backward
			if backward == "" {
				backward = "null"
			}
			c := parse(t, "0001-x", fmt.Sprintf("name: x\ntable: address\nexpand:\n  - add_column: {name: n2, type: text}\nsync:\n  forward: {n2: %q}\n  backward: {%s: %q}\n", k.forward, k.old, backward))
			facts, err := s.db.Inspect(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(facts.Refusals, func(r string) bool { return strings.Contains(r, k.want) }) {
				t.Errorf("want %q, refused: %q", k.want, facts.Refusals)
			}
			var refused *database.RefusedError
			if _, err := s.db.Apply(t.Context(), c, change.ExpandSteps(c)[0], nil); !errors.As(err, &refused) {
				t.Errorf("prepare: %v", err)
			}
			if one[bool](t, s, `select to_regnamespace('gapless') is not null`) {
				t.Error("something was left behind")
			}
		})
	}
}

func TestSettledExpressionsPass(t *testing.T) {
	s := newStage(t, database.Options{})
	s.exec(t, `create type mood as enum ('good', 'bad'); create table address (id int primary key, street text, day int, feels mood, price numeric(8, 2))`)
	for old, forward := range map[string]string{
		"street": "concat(street, ':', length(street), format('%s', street))",
		"day":    "day::text || (day + 1)::bigint",
		"feels":  "feels::text",
		"price":  "case when price > 1.5 then coalesce(price::text, '') else greatest('a', 'b') end",
	} {
		c := parse(t, "0001-x", fmt.Sprintf("name: x\ntable: address\nexpand: [{add_column: {name: n2, type: text}}]\nsync:\n  forward: {n2: %q}\n  backward: {%s: \"null\"}\n", forward, old))
		facts, err := s.db.Inspect(t.Context(), c)
		if err != nil || len(facts.Refusals) > 0 {
			t.Errorf("%s: %v %q", forward, err, facts.Refusals)
		}
	}
}

func TestATableThatIsNotThere(t *testing.T) {
	s := newStage(t, database.Options{})
	s.exec(t, `create table "Address" (id int primary key, street text)`)
	_, err := s.db.Inspect(t.Context(), parse(t, exampleID, example))
	var missing *database.NoTableError
	if !errors.As(err, &missing) || !strings.Contains(missing.Hint(), `public."Address"`) {
		t.Errorf("%v", err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	var unreachable *database.UnreachableError
	_, err := database.Open(t.Context(), "postgres://nobody:secret@127.0.0.1:1/none", database.Options{})
	if !errors.As(err, &unreachable) || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
	if _, err := database.Open(context.Background(), "postgres://u:secret@h:port/x", database.Options{}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

// Contract names what hangs on the old form, takes along only what it named and
// is refused while something would break.
func TestContractNamesDependents(t *testing.T) {
	blocking := map[string]string{
		"view mailing":      `create view mailing as select street from address`,
		"materialized view": `create materialized view mailing as select street from address`,
		"function loud":     `create function loud() returns text language plpgsql as $$ begin return (select upper(a.street) from address a limit 1); end $$`,
		"function parsed":   `create function parsed() returns text language sql begin atomic select street from address limit 1; end`,
		"generated column":  `alter table address add column loud text generated always as (upper(street)) stored`,
		"policy":            `create policy own on address using (street <> '')`,
		"trigger":           `create function f() returns trigger language plpgsql as $$ begin return new; end $$; create trigger x before delete on address for each row when (old.street is null) execute function f()`,
		"constraint":        `alter table address add unique (street); create table other (street text references address (street))`,
	}
	s := newStage(t, database.Options{})
	for what, sql := range blocking {
		t.Run(what, func(t *testing.T) {
			s.reset(t)
			s.exec(t, `create table address (id int primary key, street text, phone text)`)
			c := parse(t, exampleID, example)
			s.expand(t, c)
			s.exec(t, sql)
			facts, err := s.db.Inspect(t.Context(), c)
			if err != nil || !slices.ContainsFunc(facts.Dependents, func(d change.Dependent) bool { return d.Fate == change.Blocks }) {
				t.Fatalf("%v %+v", err, facts.Dependents)
			}
			_, err = s.db.Apply(t.Context(), c, change.ContractSteps(c)[0], nil)
			var refused *database.RefusedError
			if kind, _, _ := strings.Cut(what, " "); !errors.As(err, &refused) || !strings.Contains(err.Error(), kind) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestContractTakesAlongWhatItNamed(t *testing.T) {
	s := newStage(t, database.Options{})
	s.exec(t, `create table address (id int primary key, street text default 'x' check (street <> 'y'), phone text);
		create index by_street on address (street); create index two on address (phone, street); create statistics st on phone, street from address;
		create role reader_of_archives; alter default privileges grant select on tables to reader_of_archives`)
	t.Cleanup(func() {
		if _, err := s.app.Exec(context.Background(), `drop owned by reader_of_archives; drop role reader_of_archives`); err != nil {
			t.Error(err)
		}
	})
	s.exec(t, `insert into address values (1, 'Main 12')`)
	c := parse(t, exampleID, example)
	s.expand(t, c)
	steps := change.ContractSteps(c)
	s.run(t, c, steps[:3])
	if one[bool](t, s, `select to_regclass('by_street') is not null or to_regclass('two') is not null`) {
		t.Error("an index is left")
	}
	s.exec(t, `create index late on address (street)`)
	var refused *database.RefusedError
	if _, err := s.db.Apply(t.Context(), c, steps[3], nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), "late") {
		t.Fatalf("an index that nobody was told of: %v", err)
	}
	s.exec(t, `drop index late`)
	e := s.run(t, c, steps[3:])
	for _, want := range []string{"column street", "default of column street"} {
		if !slices.Contains(e.Dropped, want) {
			t.Errorf("%q is not among %q", want, e.Dropped)
		}
	}
	definitions := one[string](t, s, `select string_agg(definition, E'\n') from gapless.archived_definition`)
	for _, want := range []string{"CREATE INDEX by_street", "CREATE INDEX two", "CREATE STATISTICS", "CHECK", "'x'::text"} {
		if !strings.Contains(definitions, want) {
			t.Errorf("no %q in\n%s", want, definitions)
		}
	}
	if one[bool](t, s, `select has_table_privilege('reader_of_archives', $1, 'select')`, e.ArchiveTable) {
		t.Error("others may read the archive")
	}
}
