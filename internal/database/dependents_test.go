package database_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

// What is told of a dependent is what makes it again: it is dropped, its
// definition is run, and the same is told.
func TestADependentsDefinitionMakesItAgain(t *testing.T) {
	t.Parallel()
	const function = `create function loud() returns text language plpgsql as $$ begin return (select upper(a.street) from address a limit 1); end $$;`
	cases := []struct{ kind, fate, make, drop string }{
		{"view", "blocks", `create view mailing with (security_barrier) as select street from address; comment on view mailing is 'it''s'; grant select on mailing to public`, `drop view mailing`},
		{"materialized view", "blocks", `create materialized view mailing as select street from address; create index on mailing (street)`, `drop materialized view mailing`},
		{"rule", "blocks", `create rule loud as on delete to address where old.street = 'x' do also nothing`, `drop rule loud on address`},
		{"function", "blocks", function + ` revoke all on function loud() from public; comment on function loud() is 'loud'`, `drop function loud()`},
		{"generated column", "blocks", `alter table address add column loud text generated always as (upper(street)) stored`, `alter table address drop column loud`},
		{"policy", "blocks", `create policy own on address as restrictive for update to public using (street <> '') with check (street <> 'x')`, `drop policy own on address`},
		{"trigger", "blocks", `create function f() returns trigger language plpgsql as $$ begin return new; end $$; create trigger x before update of street on address for each row when (old.phone is null) execute function f()`, `drop trigger x on address`},
		{"constraint", "blocks", `create unique index u on address (street); create table other (street text constraint refers references address (street) on delete cascade)`, `alter table other drop constraint refers`},
		{"constraint", "dropped", `alter table address add constraint no_y check (street <> 'y') not valid; comment on constraint no_y on address is 'no y'`, `alter table address drop constraint no_y`},
		{"constraint", "dropped", `alter table address add constraint one unique (street, phone) deferrable initially deferred`, `alter table address drop constraint one`},
		{"constraint", "dropped", `create table town (name text primary key); alter table address add constraint in_town foreign key (street) references town`, `alter table address drop constraint in_town`},
		{"index", "dropped", `create unique index by_street on address (lower(street) desc) include (phone) where phone is null; comment on index by_street is 'by'`, `drop index by_street`},
		{"index", "blocks", `alter table address alter street set not null; create unique index by_street on address (street); alter table address replica identity using index by_street`, ``},
		{"statistics", "dropped", `create statistics both_columns (mcv) on street, phone from address`, `drop statistics both_columns`},
		{"default", "dropped", `alter table address alter street set default 'x''y'`, `alter table address alter street drop default`},
		{"sequence", "dropped", `create sequence s increment by 3 owned by address.street; alter table address alter street set default nextval('s')::text`, ``},
		{"sequence", "blocks", `create sequence s owned by address.street; create table other (id int default nextval('s'))`, ``},
	}
	s := newStage(t, database.Options{})
	if one[int](t, s, `select current_setting('server_version_num')::int`) >= 150000 {
		cases = append(cases, struct{ kind, fate, make, drop string }{"publication", "blocks",
			`create publication p for table address (id, street) where (street <> 'x')`, `alter publication p drop table address`})
	}
	for _, k := range cases {
		t.Run(k.kind+", "+k.make[:min(len(k.make), 60)], func(t *testing.T) {
			s.reset(t)
			s.exec(t, `create table address (id int primary key, street text, phone text)`)
			c := parse(t, exampleID, example)
			s.expand(t, c)
			s.exec(t, k.make)
			look := func() (string, change.Dependent) {
				t.Helper()
				facts, err := s.db.Inspect(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				n := slices.IndexFunc(facts.Dependents, func(d change.Dependent) bool { return d.Kind == k.kind && string(d.Fate) == k.fate })
				if n < 0 {
					t.Fatalf("no %s that %s among %+v", k.kind, k.fate, facts.Dependents)
				}
				return fmt.Sprintf("%+v", facts.Dependents), facts.Dependents[n]
			}
			all, d := look()
			if k.drop == "" {
				return
			}
			s.exec(t, k.drop)
			s.exec(t, d.Definition)
			if again, _ := look(); again != all {
				t.Errorf("made again is\n%s\nwas\n%s", again, all)
			}
		})
	}
}

// What the same contract drops by name does not block it.
func TestWhatContractDropsByNameDoesNotBlockIt(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.exec(t, `create table address (id int primary key, street text constraint no_y check (street <> 'y'), phone text); insert into address values (1, 'Main 12');
		create view mailing as select street from address; create index by_street on address (street);
		create function loud() returns text language plpgsql as $$ begin return (select upper(a.street) from address a limit 1); end $$`)
	c := parse(t, exampleID, strings.Replace(example, "  - drop_column: street\n",
		"  - drop_column: street\n  - drop_view: mailing\n  - drop_function: loud()\n  - drop_index: by_street\n  - drop_constraint: {name: no_y}\n", 1))
	s.expand(t, c)
	s.contract(t, c)
	s.run(t, c, change.RestoreSteps(c))
	if got := one[string](t, s, `select concat_ws(' ', (select street from mailing), loud(), to_regclass('by_street'), (select pg_get_constraintdef(oid) from pg_constraint where conname = 'no_y'))`); got != "Main 12 MAIN 12 by_street CHECK ((street <> 'y'::text))" {
		t.Errorf("brought back is %q", got)
	}
}

// What contract drops by name is told at plan like what goes with a column.
func TestWhatIsDroppedByNameIsToldAtPlan(t *testing.T) {
	s := newStage(t, database.Options{})
	s.exec(t, `create table address (id int primary key, n int constraint "No 0" check (n <> 0)); create index "By n" on address (n)`)
	c := parse(t, "0001-x", "name: x\ntable: address\ncontract: [{drop_constraint: {name: No 0}}, {drop_index: By n}]\n")
	facts, err := s.db.Inspect(t.Context(), c)
	if err != nil || len(facts.Refusals) > 0 {
		t.Fatalf("%v %q", err, facts.Refusals)
	}
	want := []change.Dependent{
		{Kind: "constraint", Name: `"No 0" on "public"."address"`, Definition: "CHECK ((n <> 0))", Fate: change.Dropped},
		{Kind: "index", Name: `"public"."By n"`, Definition: `CREATE INDEX "By n" ON public.address USING btree (n)`, Fate: change.Dropped},
	}
	if diff := cmp.Diff(want, facts.Dependents); diff != "" {
		t.Error(diff)
	}
}
