package database_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

// death is what contract drops by name.
type death struct {
	name, setup, change string
	gone                string // a query that gives true once it is done
	dropped             []string
}

func deaths() []death {
	return []death{
		{name: "drop_table", setup: `create table "Region" (id int primary key); create schema sales;
			create table sales."Address" (id serial primary key, n bigint generated always as identity, region int references "Region", street text check (street <> ''), parent int references sales."Address");
			create index "by street" on sales."Address" (street); create statistics sales.st on id, street from sales."Address";
			insert into "Region" values (1); insert into sales."Address" (region, street) values (1, 'Main 12');
			grant select, insert on sales."Address" to public; grant update (street) on sales."Address" to public;
			create function f() returns trigger language plpgsql as $$ begin return new; end $$;
			create trigger a before insert on sales."Address" for each row execute function f(); create trigger b before insert on sales."Address" for each row execute function f();
			alter table sales."Address" enable always trigger b; create publication p for table sales."Address"`,
			change: "name: x\ntable: sales.Address\ncontract: [{drop_table: true}]\naccept: {published: the subscriber is gone}\n",
			gone: `select to_regclass('sales."Address"') is null and (select street = 'Main 12' from ARCHIVE)
				and not has_table_privilege('public', (select archive_table from gapless.archive), 'select') and not exists (select from pg_constraint where contype = 'f' and conname like 'Address%')
				and not exists (select from pg_publication_rel)`,
			dropped: []string{`table "sales"."Address"`}},
		{name: "drop_view", setup: `create table address (id int, street text); create view "V" with (security_barrier = true) as select id, street from address;
			create view w as select id from "V"; comment on view "V" is 'it''s'; grant select on "V" to public; alter view "V" alter column id set default 3;
			create function f() returns trigger language plpgsql as $$ begin return new; end $$; create trigger t instead of insert on "V" for each row execute function f();
			create rule r as on update to "V" do instead nothing`,
			change: "name: x\ncontract: [{drop_view: w}, {drop_view: V}]\n", gone: `select count(*) = 0 from pg_views where schemaname = 'public'`,
			dropped: []string{`view "public"."w"`, `view "public"."V"`}},
		{name: "drop_view materialized", setup: `create table address (id int, street text); create materialized view v as select id from address; create unique index on v (id); grant select on v to public`,
			change: "name: x\ncontract: [{drop_view: v}]\n", gone: `select to_regclass('v') is null`, dropped: []string{`materialized view "public"."v"`}},
		{name: "drop_function", setup: `create function "Area"(a integer, b integer default 2) returns int language sql as 'select a * b'; create function "Area"(a text) returns int language sql as 'select 1';
			create procedure p(a int) language plpgsql as $$ begin null; end $$; revoke all on function "Area"(integer, integer) from public; comment on procedure p(int) is 'p'`,
			change: "name: x\ncontract:\n  - drop_function: '\"Area\"(integer, integer)'\n  - drop_function: p(int)\n", gone: `select count(*) = 1 from pg_proc where pronamespace = 'public'::regnamespace`,
			dropped: []string{`function public."Area"(integer,integer)`, `procedure public.p(integer)`}},
		{name: "drop_sequence", setup: `create sequence "Seq" as int increment 5 cache 1; select nextval('"Seq"'); grant usage on sequence "Seq" to public; create table address (id int); alter sequence "Seq" owned by address.id`,
			change: "name: x\ncontract: [{drop_sequence: Seq}]\n", gone: `select to_regclass('"Seq"') is null`, dropped: []string{`sequence "public"."Seq"`}},
		{name: "sql that can be taken back", setup: `create table address (id int); create sequence s`,
			change: "name: x\ncontract: [{sql: {run: 'alter sequence s increment by 5; comment on sequence s is $$x$$', undo: 'comment on sequence s is null; alter sequence s increment by 1'}}]\n",
			gone:   `select seqincrement = 5 from pg_sequence where seqrelid = 's'::regclass`, dropped: []string{}},
		{name: "sql", setup: `create table address (id int, a int, b int)`,
			change: "name: x\ncontract: [{sql: {run: 'alter table address drop column a; alter table address drop column b'}}]\n",
			gone:   `select count(*) = 1 from pg_attribute where attrelid = 'address'::regclass and attnum > 0 and not attisdropped`},
	}
}

func (d death) isGone(t *testing.T, s *stage) string {
	t.Helper()
	if !strings.Contains(d.gone, "ARCHIVE") {
		return d.gone
	}
	return strings.ReplaceAll(d.gone, "ARCHIVE", one[string](t, s, `select archive_table from gapless.archive order by n desc limit 1`))
}

// What contract drops goes step by step, ended at any statement and gone on
// with, and what is archived of it brings it back as it was.
func TestObjectsAreDroppedAndCanBeMadeAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	for _, d := range deaths() {
		t.Run(d.name, func(t *testing.T) {
			c := parse(t, "0001-x", d.change)
			for n := -1; ; n += thinned(1, 4) {
				s.clean(t)
				s.exec(t, d.setup)
				before := s.dump(t)
				facts, err := s.db.Inspect(t.Context(), c)
				if err != nil || len(facts.Refusals) > 0 || slices.ContainsFunc(facts.Dependents, func(d change.Dependent) bool { return d.Fate == change.Blocks }) {
					t.Fatalf("%v %q %v", err, facts.Refusals, facts.Dependents)
				}
				s.expand(t, c)
				if diff := cmp.Diff(before, s.dump(t)); diff != "" {
					t.Fatal(diff)
				}
				if n >= 0 {
					s.cutAfter(t, n)
					_, err := s.applySteps(t, c, change.ContractSteps(c))
					s.uncut(t)
					if err == nil {
						break
					}
				}
				var dropped []string
				for range 2 {
					dropped = []string{}
					for _, step := range change.ContractSteps(c) {
						dropped = append(dropped, s.run(t, c, []change.Step{step}).Dropped...)
					}
					if !one[bool](t, s, d.isGone(t, s)) {
						t.Fatalf("it is there:\n%s", s.dump(t))
					}
				}
				if d.dropped == nil { // it is not taken back
					continue
				}
				if diff := cmp.Diff(d.dropped, dropped); diff != "" {
					t.Error(diff)
				}
				s.run(t, c, change.RestoreSteps(c))
				if diff := cmp.Diff(before, s.dump(t)); diff != "" {
					t.Fatalf("made again it is another: %s", diff)
				}
			}
		})
	}
}

func (s *stage) applySteps(t *testing.T, c change.Change, steps []change.Step) (e change.Evidence, err error) {
	for _, step := range steps {
		if e, err = s.db.Apply(t.Context(), c, step, nil); err != nil {
			return e, err
		}
	}
	return e, nil
}

// What something else depends on is named at plan and not dropped.
func TestWhatIsNeededIsNotDropped(t *testing.T) {
	t.Parallel()
	const table = `create table address (id serial primary key, street text); create view v as select id from address; create sequence seq; create function f() returns int language sql as 'select 1';`
	cases := []struct{ name, setup, contract, want string }{
		{"view of a table", ``, "{drop_table: true}", "view public.v"},
		{"view of what is dropped last", `create sequence other; create view w as select nextval('seq')`, "{drop_sequence: other}, {drop_function: f()}, {drop_sequence: seq}", "view public.w"},
		{"view dropped after it", ``, "{drop_table: true}, {drop_view: v}", "view public.v"},
		{"foreign key", `drop view v; create table other (id int references address)`, "{drop_table: true}", "foreign key other_id_fkey of public.other"},
		{"function by its text", `drop view v; create function g() returns int language plpgsql as $$ begin return (select max(id) from "address"); end $$`, "{drop_table: true}", "function public.g()"},
		{"function by its dynamic SQL", `drop view v; create function g() returns void language plpgsql as $$ begin execute format('delete from public.%I', 'address'); end $$`, "{drop_table: true}", "function public.g()"},
		{"parsed function", `drop view v; create function g() returns int language sql begin atomic select max(id) from address; end`, "{drop_table: true}", "function public.g()"},
		{"row type", `drop view v; create table other (a address)`, "{drop_table: true}", "public.other.a"},
		{"row type of a function", `drop view v; create function g(a address) returns int language sql as 'select 1'`, "{drop_table: true}", "function public.g(public.address)"},
		{"its sequence", `drop view v; create table other (id int default nextval('address_id_seq'))`, "{drop_table: true}", "default value for public.other.id"},
		{"policy of another", `drop view v; create table other (id int); create policy p on other using (exists (select from address))`, "{drop_table: true}", "policy p on public.other"},
		{"view of a view", `create view w as select * from v`, "{drop_view: v}", "view public.w"},
		{"materialized view of a view", `create materialized view w as select * from v`, "{drop_view: v}", "materialized view public.w"},
		{"function on a view", `create function g() returns int language plpgsql as $$ begin return (select max(id) from v); end $$`, "{drop_view: v}", "function public.g()"},
		{"default by a sequence", `create table other (id int default nextval('seq'))`, "{drop_sequence: seq}", "default value for public.other.id"},
		{"function of a sequence", `create function g() returns bigint language plpgsql as $$ begin return nextval('seq'); end $$`, "{drop_sequence: seq}", "function public.g()"},
		{"default by a function", `create table other (id int default f())`, "{drop_function: f()}", "default value for public.other.id"},
		{"index on a function", `alter function f() immutable; create table other (id int); create index i on other ((id + f()))`, "{drop_function: f()}", "index public.i"},
		{"view of a function", `create view w as select f()`, "{drop_function: f()}", "view public.w"},
		{"policy of a function", `create table other (id int); create policy p on other using (f() = 1)`, "{drop_function: f()}", "policy p on public.other"},
		{"function of a function", `create function g() returns int language sql as 'select f() + 1'`, "{drop_function: f()}", "function public.g()"},
		{"trigger of a function", `create function h() returns trigger language plpgsql as $$ begin return new; end $$; create trigger t before insert on address for each row execute function h()`, "{drop_function: h()}", "trigger t on public.address"},
	}
	s := newStage(t, database.Options{})
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			s.clean(t)
			s.exec(t, table)
			s.exec(t, k.setup)
			c := parse(t, "0001-x", "name: x\ntable: address\ncontract: ["+k.contract+"]\n")
			facts, err := s.db.Inspect(t.Context(), c)
			if err != nil || len(facts.Refusals) > 0 {
				t.Fatalf("%v %q", err, facts.Refusals)
			}
			if !slices.ContainsFunc(facts.Dependents, func(d change.Dependent) bool {
				return d.Fate == change.Blocks && d.Kind+" "+d.Name == k.want || d.Fate == change.Blocks && d.Name == k.want
			}) {
				t.Errorf("want %q, named %+v", k.want, facts.Dependents)
			}
			s.expand(t, c)
			before := s.dump(t)
			_, err = s.applySteps(t, c, change.ContractSteps(c))
			var refused *database.RefusedError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), k.want) || refused.Hint() == "" {
				t.Errorf("want %q, got %v", k.want, err)
			}
			if diff := cmp.Diff(before, s.dump(t)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Names that only look like what is to be dropped do not keep it.
func TestNamesakesDoNotKeepATable(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.exec(t, `create table address (id int primary key); create table person (address text); create table addresses (id int);
		create function g() returns text language plpgsql as $$ declare r record; begin select p.address into r from person p; return (select count(*) from addresses); end $$`)
	c := parse(t, "0001-x", "name: x\ntable: address\ncontract: [{drop_table: true}]\n")
	s.expand(t, c)
	s.contract(t, c)
	if one[bool](t, s, `select to_regclass('address') is not null`) {
		t.Error("the table is there")
	}
}

func TestPublishedTablesAreNotDropped(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.exec(t, `create table address (id int primary key); create publication p for table address`)
	c := parse(t, "0001-x", "name: x\ntable: address\ncontract: [{drop_table: true}]\n")
	facts, err := s.db.Inspect(t.Context(), c)
	if err != nil || !refusedBy(facts, "published") {
		t.Errorf("%v %q", err, facts.Refusals)
	}
}
