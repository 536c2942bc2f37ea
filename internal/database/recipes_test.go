package database_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

// shape is every definition outside of gapless's own schema, as text: columns in
// order, constraints, indexes, triggers and sequences.
func (s *stage) shape(t testing.TB) string {
	t.Helper()
	return one[string](t, s, `
		with rel as (select c.oid, c.relkind, format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
		  where n.nspname not in ('pg_catalog', 'information_schema', 'gapless', 'pg_toast') and n.nspname not like 'pg\_temp%')
		select coalesce(string_agg(line, E'\n' order by line collate "C"), '') from (
		  select format('%s column %s %I %s %s %s %s %s', name, lpad((row_number() over (partition by rel.oid order by attnum))::text, 2, '0'), attname,
		    format_type(atttypid, atttypmod), case when attnotnull then 'not null' end, attgenerated,
		    (select collname from pg_collation l where l.oid = attcollation), pg_get_expr(d.adbin, d.adrelid)) as line
		  from rel join pg_attribute a on attrelid = rel.oid left join pg_attrdef d on d.adrelid = rel.oid and d.adnum = attnum
		  where relkind in ('r', 'p') and attnum > 0 and not attisdropped
		  union all select format('%s constraint %I %s %s', name, conname, pg_get_constraintdef(k.oid), convalidated) from rel join pg_constraint k on conrelid = rel.oid
		  union all select format('%s index %s %s', name, pg_get_indexdef(indexrelid), indisvalid) from rel join pg_index i on indrelid = rel.oid
		  union all select format('%s trigger %s', name, pg_get_triggerdef(t.oid)) from rel join pg_trigger t on tgrelid = rel.oid and not tgisinternal
		  union all select format('%s sequence', name) from rel where relkind = 'S'
		) as lines`)
}

// stride leaves out statements to be killed at: 1 kills before each of them,
// which takes minutes.
func stride() int { return thinned(3, 15) }

// killer ends the run before its nth statement that changes something.
type killer struct {
	n, seen int64
	kill    context.CancelFunc
}

func (k *killer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	word, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(strings.TrimPrefix(q.SQL, "/* gapless */"))), " ")
	own := strings.Contains(q.SQL, "temp table") || strings.Contains(q.SQL, "pg_temp") // a look, which is undone
	switch word {
	case "alter", "create", "drop", "update", "commit":
		if !own && atomic.AddInt64(&k.seen, 1) == k.n {
			k.kill()
		}
	}
	return ctx
}

func (*killer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// killed applies steps and is ended before the nth statement; false if there
// were not so many.
func (s *stage) killed(t testing.TB, c change.Change, steps []change.Step, n int64) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	k := &killer{n: n, kill: cancel}
	s.db.Trace(k)
	defer s.db.Trace(nil)
	for _, step := range steps {
		_, err := s.db.Apply(ctx, c, step, nil)
		if ctx.Err() != nil {
			return true
		}
		if err != nil {
			t.Fatalf("killed before statement %d: %v", n, err)
		}
	}
	return false
}

// takeBack takes expand back.
func (s *stage) takeBack(t testing.TB, c change.Change) {
	t.Helper()
	s.run(t, c, change.RevertSteps(c))
}

// begin registers the change.
func (s *stage) begin(t testing.TB, c change.Change) {
	t.Helper()
	s.run(t, c, change.ExpandSteps(c)[:1])
}

func (s *stage) same(t testing.TB, what, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(s.shape(t), "\n")); diff != "" {
		t.Fatalf("%s:\n%s", what, diff)
	}
}

// lines are awkward on purpose: another schema, quoted and mixed-case names, a
// key of two columns. shop is what the foreign keys refer to.
const lines = `
	create schema "My Shop";
	create table "My Shop"."Shop" ("Id" int primary key, "Code" text unique);
	insert into "My Shop"."Shop" select i, 'c' || i from generate_series(1, 20) i;
	create sequence "My Shop"."Tickets";
	create domain "My Shop"."Label" as text;
	create table "My Shop"."Order ""Lines""" (
	  "Order" int, "Line-No" text collate "C", "Full Name" text default 'n/a', amount numeric not null default 1, shop int, email text, note text not null,
	  tags jsonb, primary key ("Line-No", "Order"));
	insert into "My Shop"."Order ""Lines""" ("Order", "Line-No", "Full Name", amount, shop, email, note)
	  select i % 7, 'l' || i, 'N' || i, i, i % 20 + 1, 'e' || i || '@x', 'n' from generate_series(1, 400) i;
	create index "Old ""Index""" on "My Shop"."Order ""Lines""" (amount desc, lower(email)) where amount > 5;
	alter table "My Shop"."Order ""Lines""" add constraint "Positive" check (amount > 0), add constraint "Odd" check (amount <> -3) not valid,
	  add constraint "One Mail" unique (email) deferrable initially deferred,
	  add constraint "Of Shop" foreign key (shop) references "My Shop"."Shop" on update cascade on delete set null`

const linesTable = `"My Shop"."Order ""Lines"""`

// linesChange is a change of that table.
func linesChange(t testing.TB, body string) change.Change {
	t.Helper()
	c, err := change.Parse("0001-lines.yaml", []byte("name: x\ntable: '"+linesTable+"'\nquiet_for: 0s\n"+body))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// operationsOfExpand are taken through everything that may happen to them; holds
// is what must be true once expand is done.
var operationsOfExpand = []struct{ name, body, holds string }{{
	name: "columns",
	body: `expand:
  - add_column: {name: plain, type: text}
  - add_column: {name: "Constant Value", type: varchar(10), default: "'it''s'", not_null: true}
  - add_column: {name: stamped, type: timestamptz, default: now()}
  - add_column: {name: ticket, type: bigint, default: "nextval('\"My Shop\".\"Tickets\"')"}
  - add_column: {name: token, type: uuid, default: gen_random_uuid(), not_null: true}
  - add_column: {name: label, type: '"My Shop"."Label"', default: "'none'"}
`,
	holds: `select count(distinct token) = 400 and count(distinct ticket) = 400 and min("Constant Value") = 'it''s' and count(stamped) = 400
		and count(distinct stamped) = 1 and min(label) = 'none' from "My Shop"."Order ""Lines"""`,
}, {
	name: "defaults and NULL",
	body: `expand:
  - set_default: {column: "Full Name", value: "'x' || 'y'"}
  - set_default: {column: shop, value: "7"}
  - drop_not_null: {column: amount, because: it is read with coalesce}
  - drop_not_null: {column: note, because: nobody reads it}
`,
	holds: `select not exists (select from pg_attribute where attrelid = '"My Shop"."Order ""Lines"""'::regclass and attname in ('amount', 'note') and attnotnull)`,
}, {
	name: "constraints that go",
	body: `expand:
  - drop_constraint: {name: Positive, because: x}
  - drop_constraint: {name: Odd, because: x}
  - drop_constraint: {name: One Mail, because: x}
  - drop_constraint: {name: Of Shop, because: x}
`,
	holds: `select count(*) = 0 from pg_constraint where conrelid = '"My Shop"."Order ""Lines"""'::regclass and contype in ('c', 'u', 'f')`,
}, {
	name: "constraints and indexes on new columns",
	body: `expand:
  - add_column: {name: "Shop Code", type: text}
  - add_column: {name: size, type: int, default: "3"}
  - add_check: {name: "Right Size", expression: "size between 1 and 9 and size <> all (array[4, 5])"}
  - add_unique: {name: "One Code", columns: ["Shop Code"]}
  - add_foreign_key: {name: "Coded", columns: ["Shop Code"], references: {table: '"My Shop".Shop', columns: [Code]}, on_delete: set null, on_update: cascade}
  - create_index: {columns: [size, "Full Name"]}
  - create_index: {name: "By Mail", on: ["lower(email) desc nulls last", "(size + 1)"], where: "amount > 5 and email <> ''", include: [note]}
  - create_index: {name: tagged, columns: [tags], method: gin}
  - create_index: {name: once, columns: ["Shop Code"], unique: true, where: '"Shop Code" <> '''''}
`,
	holds: `select (select count(*) = 3 from pg_constraint where conname in ('Right Size', 'One Code', 'Coded') and convalidated)
		and (select count(*) = 5 from pg_index where indrelid = '"My Shop"."Order ""Lines"""'::regclass and indisvalid and indexrelid::regclass::text ~ 'size_Full Name_idx|By Mail|tagged|once|One Code')`,
}}

func TestOperationsOfExpand(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	for _, k := range operationsOfExpand {
		t.Run(k.name, func(t *testing.T) {
			c := linesChange(t, k.body)
			s.exec(t, `drop schema if exists "My Shop" cascade; drop schema if exists gapless cascade`)
			s.exec(t, lines)
			before := s.shape(t)
			facts, err := s.db.Inspect(t.Context(), c)
			if err != nil || len(facts.Refusals) > 0 {
				t.Fatalf("%v %q", err, facts.Refusals)
			}
			e := s.expand(t, c)
			want := s.shape(t)
			if !one[bool](t, s, k.holds) {
				t.Fatalf("does not hold:\n%s", want)
			}
			if before == want || !e.Passed() {
				t.Fatalf("nothing was done: %+v", e)
			}
			again, err := s.db.Inspect(t.Context(), c)
			if err != nil || len(again.Refusals) > 0 || again.StructureDigest != facts.StructureDigest {
				t.Errorf("after expand: %v %q, structure %s, was %s", err, again.Refusals, again.StructureDigest, facts.StructureDigest)
			}
			s.expand(t, c)
			s.same(t, "repeated", want)
			back := change.RevertSteps(c)
			s.run(t, c, back[:len(back)-1]) // each step twice
			s.takeBack(t, c)
			s.same(t, "undone", before)
			s.expand(t, c)
			s.same(t, "expanded again", want)
			s.takeBack(t, c)
			steps, n := change.ExpandSteps(c)[1:], int64(1)
			for s.begin(t, c); s.killed(t, c, steps, n); n += int64(stride()) {
				half := s.shape(t)
				if n/int64(stride())%2 == 1 { // the others are undone from where they stand
					s.expand(t, c)
					s.same(t, "resumed from\n"+half+"\n", want)
					if !one[bool](t, s, k.holds) {
						t.Fatalf("does not hold, resumed from\n%s", half)
					}
				}
				s.takeBack(t, c)
				s.same(t, "undone from\n"+half+"\n", before)
				s.begin(t, c)
			}
			t.Logf("killed up to statement %d", n-1)
			if n < 5 {
				t.Errorf("only %d statements", n-1)
			}
		})
	}
}

// operationsOfContract are cut short before each statement and go on.
var operationsOfContract = []struct{ name, setup, body, holds string }{{
	name:  "what rows to come must have",
	setup: `update "My Shop"."Order ""Lines""" set email = null where "Order" = 3`,
	body: `contract:
  - set_not_null: {column: shop}
  - set_not_null: {column: email, fill: "'none@' || \"Line-No\""}
  - drop_default: amount
  - set_default: {column: "Full Name", value: "'new'"}
`,
	holds: `select count(email) = 400 and count(*) filter (where email = 'none@' || "Line-No") = (select count(*) from "My Shop"."Order ""Lines""" where "Order" = 3)
		and (select count(*) = 2 from pg_attribute where attrelid = '"My Shop"."Order ""Lines"""'::regclass and attname in ('shop', 'email') and attnotnull)
		from "My Shop"."Order ""Lines"""`,
}, {
	name: "constraints",
	body: `contract:
  - add_check: {name: "Named", expression: "length(\"Full Name\") > 1"}
  - add_unique: {name: "One Name", columns: ["Full Name", amount]}
  - add_foreign_key: {name: "Of Shop Too", columns: [shop], references: {table: '"My Shop".Shop', columns: [Id]}}
  - create_index: {name: uniquely, columns: [email], unique: true}
  - drop_constraint: {name: "One Mail"}
  - drop_constraint: {name: "Of Shop"}
  - drop_index: 'Old "Index"'
`,
	holds: `select (select count(*) = 3 from pg_constraint where conname in ('Named', 'One Name', 'Of Shop Too') and convalidated)
		and (select count(*) = 0 from pg_constraint where conname in ('One Mail', 'Of Shop'))
		and (select count(*) = 4 from gapless.archived_definition)`,
}}

func TestOperationsOfContract(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	for _, k := range operationsOfContract {
		t.Run(k.name, func(t *testing.T) {
			c := linesChange(t, k.body)
			want := ""
			n := int64(0) // the first time nothing is killed
			for killed := true; killed; n += int64(stride()) {
				s.exec(t, `drop schema if exists "My Shop" cascade; drop schema if exists gapless cascade`)
				s.exec(t, lines)
				if k.setup != "" {
					s.exec(t, k.setup)
				}
				s.expand(t, c)
				killed = s.killed(t, c, change.ContractSteps(c), n) || n == 0
				half := s.shape(t)
				s.contract(t, c)
				s.contract(t, c)
				if n == 0 {
					want = s.shape(t)
				}
				s.same(t, "resumed from\n"+half+"\n", want)
				if !one[bool](t, s, k.holds) {
					t.Fatalf("does not hold:\n%s\nresumed from\n%s", want, half)
				}
			}
			t.Logf("killed up to statement %d", n-int64(stride()))
			if strings.Contains(want, "gapless") {
				t.Errorf("left behind:\n%s", want)
			}
		})
	}
}
