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

// dumpQuery is what a database consists of besides gapless's own, as text.
const dumpQuery = `
with spaces as (select oid, nspname from pg_namespace where nspname not in ('gapless', 'cut', 'information_schema') and nspname not like 'pg\_%'),
rels as (select c.*, format('%I.%I', nspname, relname) as label from pg_class c join spaces s on s.oid = relnamespace)
select coalesce(string_agg(line, E'\n' order by line collate "C"), '') from (
  select format('%s %s owner %s acl %s options %s rls %s: %s', relkind, label, pg_get_userbyid(relowner),
    (select string_agg(a::text, ' ' order by a::text) from unnest(coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner))) a), reloptions, relrowsecurity, obj_description(oid, 'pg_class')) as line from rels where relkind <> 't'
  union all select format('column %s.%s %s %s %s %s %s acl %s default %s', label, attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
      col_description(attrelid, attnum), attacl, (select pg_get_expr(adbin, adrelid) from pg_attrdef d where d.adrelid = attrelid and d.adnum = attnum))
    from pg_attribute join rels on rels.oid = attrelid where attnum > 0 and not attisdropped
  union all select format('constraint %s of %s %s valid %s', conname, label, pg_get_constraintdef(k.oid), convalidated) from pg_constraint k join rels on rels.oid = conrelid
  union all select format('index %s valid %s', pg_get_indexdef(indexrelid), indisvalid) from pg_index join rels on rels.oid = indrelid
  union all select format('query %s %s', label, pg_get_viewdef(oid)) from rels where relkind in ('v', 'm')
  union all select format('trigger %s %s', pg_get_triggerdef(t.oid), tgenabled) from pg_trigger t join rels on rels.oid = tgrelid where not tgisinternal
  union all select format('rule %s', pg_get_ruledef(w.oid)) from pg_rewrite w join rels on rels.oid = ev_class
  union all select format('function %s %s', p.oid::regprocedure, prosrc) from pg_proc p join spaces s on s.oid = pronamespace
  union all select format('type %s %s %s', s.nspname, typname, (select string_agg(enumlabel, ',' order by enumsortorder) from pg_enum where enumtypid = t.oid))
    from pg_type t join spaces s on s.oid = typnamespace
  union all select format('statistics %s', pg_get_statisticsobjdef(e.oid)) from pg_statistic_ext e join spaces s on s.oid = stxnamespace
  union all select format('published %s', to_jsonb(p)) from pg_publication_tables p where schemaname in (select nspname from spaces)
) as lines`

func (s *stage) dump(t testing.TB) string {
	t.Helper()
	return one[string](t, s, dumpQuery)
}

// clean empties the database of all but gapless's roles.
func (s *stage) clean(t testing.TB) {
	t.Helper()
	s.reset(t)
	s.exec(t, `drop schema if exists sales cascade; drop schema if exists cut cascade; alter default privileges revoke all on tables from public; reset search_path`)
}

// cutAfter lets gapless change n definitions more, and then fails what it does:
// the transaction of the next one is rolled back, and what went before stays.
func (s *stage) cutAfter(t testing.TB, n int) {
	t.Helper()
	s.exec(t, fmt.Sprintf(`
		create schema cut;
		create function cut.cut() returns trigger language plpgsql as $$
		begin
		  if (select count(*) from gapless.log) >= %d + (select count(*) from cut.before) then raise exception 'cut'; end if;
		  return new;
		end $$;
		create table cut.before as select from gapless.log;
		create trigger cut before insert on gapless.log for each row execute function cut.cut()`, n))
}

func (s *stage) uncut(t testing.TB) {
	t.Helper()
	s.exec(t, `drop schema cut cascade`)
}

// undo takes expand back, each step twice, and gives what the steps observed.
func (s *stage) undo(t testing.TB, c change.Change) (all []change.Evidence) {
	t.Helper()
	steps := change.RevertSteps(c)
	last := len(steps) - 1
	for range 2 {
		for _, step := range steps[:last] {
			all = append(all, s.run(t, c, []change.Step{step}))
		}
	}
	return append(all, s.run(t, c, steps[last:]))
}

// life is an operation's: what it meets, what it does and what is true then.
type life struct {
	name, setup, change string
	then                string // a query that gives true once it is done
	stays               bool   // the way back leaves something behind
}

func lives() []life {
	return []life{
		{name: "create_table", setup: `create table customer (id int primary key, region text, unique (id, region)); insert into customer values (1, 'n')`,
			change: `name: x
table: Order
expand:
  - create_table:
      columns:
        - {name: id, type: bigint, identity: by default}
        - {name: Customer, type: int, not_null: true}
        - {name: region, type: text, default: "'n'"}
        - {name: n, type: "numeric(8, 2)", default: "1"}
        - {name: twice, type: "numeric(8, 2)", generated: n * 2}
        - {name: parent, type: bigint}
      primary_key: [id]
      checks: [{name: positive, expression: n > 0}]
      unique: [{name: once, columns: [Customer, n]}]
      foreign_keys:
        - {name: of_customer, columns: [Customer, region], references: {table: customer, columns: [id, region]}, on_delete: cascade}
        - {name: of_parent, columns: [parent], references: {table: Order, columns: [id]}}
  - sql: {run: grant select on "Order" to public; comment on table "Order" is 'x', undo: none}
`, then: `select count(*) = 2 and bool_and(convalidated) from pg_constraint where conrelid = to_regclass('"Order"') and contype = 'f'`},
		{name: "create_table elsewhere", setup: `create schema sales; create type sales.mood as enum ('a')`,
			change: `name: x
table: 'sales."Odd ""name"""'
expand:
  - create_table: {columns: [{name: id, type: uuid, default: gen_random_uuid()}, {name: feels, type: sales.mood}], primary_key: [id]}
`, then: `select to_regclass('sales."Odd ""name"""') is not null`},
		{name: "rename_table", setup: `create table address (id bigint generated by default as identity primary key, "Street" text default 'x' unique);
			create view mailing as select "Street" from address; grant select, insert on address to public; grant update ("Street") on address to public; comment on table address is 'where'`,
			change: "name: x\ntable: address\nexpand: [{rename_table: {to: Place}}]\n",
			then:   `select (select relkind from pg_class where oid = 'address'::regclass) = 'v' and (select relkind from pg_class where oid = '"Place"'::regclass) = 'r'`},
		{name: "create_view", setup: `create table address (id int, street text)`,
			change: `name: x
expand:
  - create_view: {name: "Mailing", query: "select id, street from address -- all"}
  - create_view: {name: public.second, query: 'select * from "Mailing";'}
`, then: `select count(*) = 2 from information_schema.views where table_schema = 'public'`},
		{name: "replace_view", setup: `create table address (id int, street text); create view v with (security_barrier = true) as select id from address; grant select on v to public; comment on view v is 'v'`,
			change: "name: x\nexpand: [{replace_view: {name: v, query: select id + 1 as id from address}}]\n", then: `select pg_get_viewdef('v'::regclass) ~ '1'`},
		{name: "replace_view with another column", setup: `create table address (id int, street text); create view v with (security_barrier = true) as select id from address;
			create view w as select id * 2 as id from v; create view x as select w.id from w join v using (id); grant select on v, x to public; grant select (id) on w to public; comment on column w.id is 'id';
			alter view w alter column id set default 3; alter default privileges grant insert on tables to public`,
			change: "name: x\nexpand: [{replace_view: {name: v, query: \"select id, street from address\"}}]\n", then: `select count(*) = 2 from pg_attribute where attrelid = 'v'::regclass`},
		{name: "add_enum_value", setup: `create schema sales; create type sales."Mood" as enum ('good', 'bad'); create type mood as enum ()`, stays: true,
			change: `name: x
expand:
  - add_enum_value: {type: sales.Mood, value: "it's", before: bad}
  - add_enum_value: {type: sales.Mood, value: worst}
  - add_enum_value: {type: mood, value: only}
`, then: `select enum_range(null::sales."Mood")::text = '{good,it''s,bad,worst}' and enum_range(null::mood)::text = '{only}'`},
		{name: "sql", setup: `create table address (id int)`,
			change: `name: x
expand:
  - sql:
      run: |
        create function a() returns int language sql as 'select 1; select 2'; -- one
        create function b() returns int language sql as $$ select a() $$;
        grant select on address to public
      undo: revoke select on address from public; drop function b(); drop function a()
`, then: `select b() = 2 and has_table_privilege('public', 'address', 'select')`},
		{name: "sql with fewer statements back", setup: `create table address (id int)`,
			change: `name: x
expand:
  - sql: {run: "create sequence a; create sequence b; alter sequence a increment by 2", undo: "drop sequence a; drop sequence b"}
`, then: `select seqincrement = 2 from pg_sequence where seqrelid = to_regclass('a')`},
	}
}

// Each operation can be repeated, ended at any statement and gone on with, and
// taken back, also twice and from wherever it ended: then nothing is left of it.
func TestObjectsLiveAndDie(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	for _, l := range lives() {
		t.Run(l.name, func(t *testing.T) {
			c := parse(t, "0001-x", l.change)
			begin := func(t *testing.T) (before string) {
				t.Helper()
				s.clean(t)
				s.exec(t, l.setup)
				s.exec(t, `set search_path = public`)
				before = s.dump(t)
				facts, err := s.db.Inspect(t.Context(), c)
				if err != nil || len(facts.Refusals) > 0 {
					t.Fatalf("%v %q", err, facts.Refusals)
				}
				return before
			}
			there := func(t *testing.T) {
				t.Helper()
				if !one[bool](t, s, l.then) {
					t.Fatalf("not done:\n%s", s.dump(t))
				}
			}
			back := func(t *testing.T, before string) {
				t.Helper()
				s.undo(t, c)
				if diff := cmp.Diff(before, s.dump(t)); diff != "" && !l.stays {
					t.Fatalf("the way back left: %s", diff)
				}
			}
			before := begin(t)
			for range 2 { // repeated
				if e := s.expand(t, c); !e.Passed() {
					t.Fatalf("%+v", e)
				}
				there(t)
			}
			back(t, before)
			s.expand(t, c)
			there(t)
			for n := 0; ; n += thinned(1, 4) {
				before := begin(t)
				steps := change.ExpandSteps(c)
				s.run(t, c, steps[:1])
				s.cutAfter(t, n)
				err := applyAll(t.Context(), s, c)
				s.uncut(t)
				if err == nil {
					if n < 1 {
						t.Error("nothing was noted")
					}
					break
				}
				if !strings.Contains(err.Error(), "cut") {
					t.Fatal(err)
				}
				back(t, before)
				s.run(t, c, steps[:1])
				s.cutAfter(t, n)
				err = applyAll(t.Context(), s, c)
				s.uncut(t)
				if err == nil && !l.stays {
					t.Fatal("the way back did not leave all to do again")
				}
				s.expand(t, c)
				there(t)
				back(t, before)
			}
		})
	}
}

func refusedBy(facts change.Facts, want string) bool {
	return slices.ContainsFunc(facts.Refusals, func(r string) bool { return strings.Contains(r, want) })
}
