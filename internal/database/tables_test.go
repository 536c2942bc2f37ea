package database_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

// kind is a table of some kind with a change to it, taken through everything.
type kind struct {
	name, setup, table, change string
	// old and new are writes by the two revisions, after expand; shown is what
	// the table must hold then, in both forms.
	old, new, shown, want string
	// blocked names what keeps contract from it, until free lets it go.
	blocked, free string
}

func kinds() []kind {
	return []kind{{
		name: "quoted names, another schema, composite key",
		setup: `create schema "My Shop"; create type "My Shop".mood as enum ('good', 'bad');
			create table "My Shop"."Order ""Lines""" ("Order" int, "Line-No" text collate "C", "Full Name" text, "E'x\" int, primary key ("Line-No", "Order"));
			insert into "My Shop"."Order ""Lines""" select i % 7, 'l' || i, 'N' || i || ' M', i from generate_series(1, 300) i`,
		table: `"My Shop"."Order ""Lines"""`,
		change: `
expand: [{add_column: {name: "First Name", type: varchar(20)}}, {add_column: {name: "select", type: text}}, {create_index: {columns: ["select", "First Name"]}}]
sync:
  forward: {"First Name": "split_part(\"Full Name\", ' ', 1)", "select": "nullif(split_part(\"Full Name\", ' ', 2), '')"}
  backward: {"Full Name": "concat_ws(' ', \"First Name\", \"select\")"}
contract: [{drop_column: "Full Name"}]
`,
		old:   `update "My Shop"."Order ""Lines""" set "Full Name" = 'Ann Lee' where "Line-No" = 'l1'`,
		new:   `insert into "My Shop"."Order ""Lines""" ("Order", "Line-No", "First Name", "select") values (99, 'x', 'Bo', 'Ek')`,
		shown: `select string_agg(concat_ws('/', "Full Name", "First Name", "select"), ' ' order by "Order" desc, "Line-No") from "My Shop"."Order ""Lines""" where "Line-No" in ('x', 'l1')`,
		want:  `Bo Ek/Bo/Ek Ann Lee/Ann/Lee`,
	}, {
		name: "two old columns, one new, types whose equal values differ",
		setup: `create table reading (at timestamptz primary key, whole int not null default 0, fraction numeric, note text);
			insert into reading select timestamptz '2026-03-29 00:00+00' + i * interval '17 minutes', i, i / 100.0, 'n' from generate_series(1, 400) i`,
		table: "reading",
		change: `
expand: [{add_column: {name: sum, type: jsonb}}]
sync:
  forward: {sum: "('[' || whole::text || ',' || coalesce(fraction::text, 'null') || ']')::jsonb"}
  backward: {whole: "(sum->>0)::int", fraction: "(sum->>1)::numeric"}
contract: [{drop_column: whole}, {drop_column: fraction}]
`,
		old:   `update reading set fraction = 0.0100 where at = '2026-03-29 00:17+00'`,
		new:   `insert into reading (at, sum) values ('2030-01-01', '[7, 0.50]')`,
		shown: `select string_agg(concat_ws('/', whole, fraction, sum), ' ' order by at desc) from reading where at in ('2030-01-01', '2026-03-29 00:17+00')`,
		want:  `7/0.50/[7, 0.50] 1/0.0100/[1, 0.0100]`,
	}, {
		name: "no primary key, but a unique one; a type that narrows",
		setup: `create table tag (code uuid not null unique, label text); create table other (id int);
			insert into tag select gen_random_uuid(), 'label ' || i from generate_series(1, 300) i; insert into tag values ('00000000-0000-0000-0000-000000000001', null)`,
		table: "tag",
		change: `
expand: [{add_column: {name: short, type: varchar(12)}}]
sync:
  forward: {short: "tag.label"}
  backward: {label: "short"}
contract: [{drop_column: label}]
`,
		old:   `update tag set label = 'far too long for this' where code = '00000000-0000-0000-0000-000000000001'`,
		new:   `update tag set short = 'fits' where code = '00000000-0000-0000-0000-000000000001'`,
		shown: `select concat_ws('/', label, short, (select why || (value->>'label') from gapless.kept order by n limit 1)) from tag where code = '00000000-0000-0000-0000-000000000001'`,
		want:  `fits/fits/unmappedfar too long for this`,
	}, {
		name: "an empty table, an application's function",
		setup: `create function clean(text) returns text language sql immutable as $$ select trim($1) $$;
			create table slip (id smallint primary key, body text)`,
		table: "slip",
		change: `
expand: [{add_column: {name: tidy, type: text}}]
sync:
  forward: {tidy: clean(body)}
  backward: {body: tidy}
contract: [{drop_column: body}]
`,
		old: `insert into slip values (1, '  a ')`, new: `insert into slip (id, tidy) values (2, 'b')`,
		shown: `select string_agg(concat_ws('/', body, tidy), ' ' order by id) from slip`, want: `  a /a b/b`,
	}}
}

func TestEveryKindOfTable(t *testing.T) {
	t.Parallel()
	for _, k := range append(kinds(), special()...) {
		t.Run(k.name, func(t *testing.T) {
			s := newStage(t, database.Options{Workers: 2})
			s.exec(t, k.setup)
			c, err := change.Parse("0001-x.yaml", []byte(fmt.Sprintf("name: x\ntable: %q\n%s\nquiet_for: 0\n", k.table, k.change)))
			if err != nil {
				t.Fatal(err)
			}
			facts, err := s.db.Inspect(t.Context(), c)
			if err != nil || len(facts.Refusals) > 0 {
				t.Fatalf("%v %q", err, facts.Refusals)
			}
			s.expand(t, c)
			// Whatever the session's settings, the same is written.
			s.exec(t, `set standard_conforming_strings = off; set DateStyle = 'SQL, DMY'; set TimeZone = 'Asia/Tokyo'; set search_path = pg_temp`)
			s.exec(t, `reset DateStyle; reset TimeZone; reset search_path`)
			s.exec(t, k.old)
			s.exec(t, k.new)
			if got := one[string](t, s, k.shown); got != k.want {
				t.Errorf("holds %q, wanted %q", got, k.want)
			}
			if k.blocked != "" {
				var refused *database.RefusedError
				if _, err := s.db.Apply(t.Context(), c, change.ContractSteps(c)[0], nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), k.blocked) {
					t.Fatalf("not blocked by %s: %v", k.blocked, err)
				}
				s.exec(t, k.free)
			}
			rows := one[int64](t, s, "select count(*) from "+k.table)
			forms := one[string](t, s, k.shown)
			if e := s.contract(t, c); e.ArchiveRows != rows {
				t.Errorf("%d rows archived, %d there: %+v", e.ArchiveRows, rows, e)
			}
			s.run(t, c, change.RestoreSteps(c))
			if got := one[string](t, s, k.shown); got != forms {
				t.Errorf("brought back is %q, dropped was %q", got, forms)
			}
		})
	}
}

// A changed image under an equal value is a change: 1.0 and 1.00 are equal.
func TestEqualIsNotTheSame(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.exec(t, `create table price (id int primary key, amount numeric); insert into price values (1, 1.0)`)
	c := parse(t, "0001-price", `name: x
table: price
expand: [{add_column: {name: written, type: text}}]
sync: {forward: {written: "amount::text"}, backward: {amount: "written::numeric"}}
`)
	s.expand(t, c)
	s.exec(t, `update price set amount = 1.00`)
	if got := one[string](t, s, `select written from price`); got != "1.00" {
		t.Errorf("the new form is %q", got)
	}
}

// A column's own collation decides what lower() makes of it, for the backfill,
// the trigger and the verification alike.
func TestExpressionsFollowTheColumnsCollation(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.exec(t, `create table word (id int primary key, a text collate "C", b varchar(30) collate "C"); insert into word values (1, 'ÄB', 'ÖX'), (2, 'ÄX', 'none')`)
	c := parse(t, "0001-words", `name: x
table: word
expand: [{add_column: {name: la, type: text}}, {add_column: {name: lb, type: integer}}]
sync:
  forward: {la: "lower(a) || lower(b)", lb: "case when b = 'none' then b::integer else length(b) end"}
  backward: {a: "la", b: "lb::text"}
verify: {lossy_max: 10}
`)
	var unverified *change.UnverifiedError
	if err := applyAll(t.Context(), s, c); !errors.As(err, &unverified) || unverified.Evidence.Violations != 0 || unverified.Evidence.Unmapped != 1 {
		t.Fatalf("%v", err)
	}
	s.exec(t, `insert into word (id, a, b) values (3, 'ÄB', 'ÖX'); update word set b = 'ÖY' where id = 2`)
	if e, err := s.db.Verify(t.Context(), c, change.ScopeRelease); err != nil || !e.Passed() {
		t.Errorf("%v %+v", err, e)
	}
	if got := one[string](t, s, `select string_agg(la, ' ' order by id) from word`); got != "ÄbÖx ÄxÖy ÄbÖx" {
		t.Errorf("the new form is %q", got)
	}
}

// The backfill and the trigger read the expressions as the application did at
// plan, whatever later stands in the way.
func TestExpressionsKeepTheirMeaning(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.addresses(t, 10)
	c := parse(t, exampleID, strings.Replace(example, `"regexp_replace(street, ' (\\d+\\s*[[:alpha:]]?)$', '')"`,
		`"upper(regexp_replace(street, ' (\\d+\\s*[[:alpha:]]?)$', ''))"`, 1))
	c.Verify.LossyMax = 1000
	s.expand(t, c)
	s.exec(t, `create schema evil; create function evil.upper(text) returns text language sql immutable as $$ select 'evil' $$;
		create function evil.is_distinct(text, text) returns bool language sql as $$ select true $$`)
	s.exec(t, `set search_path = evil, pg_catalog, public`)
	s.exec(t, `insert into address (id, street) values (5000, 'main 12')`)
	s.exec(t, `reset search_path`)
	if got := one[string](t, s, `select street_name from address where id = 5000`); got != "MAIN" {
		t.Errorf("the new form is %q", got)
	}
}
