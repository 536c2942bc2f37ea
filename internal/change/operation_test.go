package change_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/document"
)

// every has each operation once.
const every = `name: everything at once
table: sales."Order"
expand:
  - add_enum_value: {type: mood, value: calm, after: sad}
  - create_view: {name: totals, query: "select id, price from sales.\"Order\""}
  - replace_view: {name: sums, query: "select 1 as n"}
  - drop_not_null: {column: note, because: the running revision reads it with coalesce}
  - set_default: {column: note, value: "''"}
  - drop_constraint: {name: price_positive, because: refunds are negative}
  - sql: {run: "comment on table sales.\"Order\" is 'orders'", undo: none}
  - add_column: {name: token, type: uuid, default: gen_random_uuid()}
  - add_column: {name: source, type: text, default: "'web'", not_null: true}
  - add_column: {name: shop, type: bigint}
  - rename_column: {from: street, to: road}
  - change_type: {column: id, to: id_wide, type: bigint}
  - create_index: {columns: [road]}
  - create_index: {name: order_lower, on: ["lower(road)", "id_wide desc"], where: "shop is not null"}
  - add_check: {name: shop_positive, expression: "shop > 0"}
  - add_foreign_key: {name: of_shop, columns: [shop], references: {table: shop, columns: [id]}, on_delete: set null}
contract:
  - add_unique: {name: one_road, columns: [road, id_wide]}
  - set_not_null: {column: road, fill: "''"}
  - drop_default: note
  - drop_view: old_totals
  - drop_function: "area(integer, integer)"
  - drop_sequence: order_number
  - drop_index: order_street_idx
  - drop_column: old_note
`

func TestEveryOperationHasItsStep(t *testing.T) {
	c, err := change.Parse("0001-all.yaml", []byte(every))
	if err != nil {
		t.Fatal(err)
	}
	ids := func(steps []change.Step) (all []string) {
		for _, s := range steps {
			all = append(all, s.ID)
		}
		return all
	}
	wantExpand := []string{
		"prepare", "add_enum_value/mood.calm", "create_view/totals", "replace_view/sums", "drop_not_null/note", "set_default/note",
		"drop_constraint/price_positive", "sql/7", "add_columns", "sync", "backfill", "watch", "fill/token", "fill/source",
		"create_index/road", "create_index/order_lower", "add_check/shop_positive", "add_foreign_key/of_shop", "verify",
	}
	if diff := cmp.Diff(wantExpand, ids(change.ExpandSteps(c))); diff != "" {
		t.Error(diff)
	}
	wantContract := []string{
		"begin", "contract/add_unique/one_road", "contract/set_not_null/road", "contract/drop_default/note",
		"contract/drop_view/old_totals", "contract/drop_function/area(integer, integer)", "contract/drop_sequence/order_number",
		"contract/drop_index/order_street_idx", "drop_indexes", "archive", "drop",
	}
	if diff := cmp.Diff(wantContract, ids(change.ContractSteps(c))); diff != "" {
		t.Error(diff)
	}
	wantRevert := []string{
		"turn", "keep", "undo/add_foreign_key/of_shop", "undo/add_check/shop_positive", "undo/create_index/order_lower", "undo/create_index/road",
		"undo/watch", "undo/sync", "undo/add_columns", "undo/sql/7", "undo/drop_constraint/price_positive", "undo/set_default/note",
		"undo/drop_not_null/note", "undo/replace_view/sums", "undo/create_view/totals", "undo/add_enum_value/mood.calm", "reverted",
	}
	if diff := cmp.Diff(wantRevert, ids(change.RevertSteps(c))); diff != "" {
		t.Error(diff)
	}
	for _, s := range append(append(change.ExpandSteps(c), change.ContractSteps(c)...), change.RevertSteps(c)...) {
		if s.Lock() == "unknown" || s.Part == "" {
			t.Errorf("step %s: lock %q, part %q", s.ID, s.Lock(), s.Part)
		}
	}
}

func TestShortFormsAreWrittenOut(t *testing.T) {
	c, err := change.Parse("0001-all.yaml", []byte(every))
	if err != nil {
		t.Fatal(err)
	}
	want := &change.Sync{
		Forward:  map[string]string{"road": `"street"`, "id_wide": `"id"::bigint`},
		Backward: map[string]string{"street": `"road"`, "id": `"id_wide"`},
	}
	if diff := cmp.Diff(want, c.Sync); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"old_note", "street", "id"}, c.Dropped()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"old_note"}, c.Abandoned()); diff != "" {
		t.Error(diff)
	}
	again, err := change.Accepted("0001-all.yaml", []byte(every))
	if err != nil || !cmp.Equal(c, again) {
		t.Errorf("a record reads it differently: %v\n%s", err, cmp.Diff(c, again))
	}
}

// Each is refused where a person must edit it, with what to do.
func TestOperationsAreRefused(t *testing.T) {
	for _, tc := range []struct{ name, list, item, want string }{
		{"not null without a default", "expand", "add_column: {name: n, type: text, not_null: true}", "the running revision leaves it out; give it a default"},
		{"serial", "expand", "add_column: {name: n, type: serial}", "a default that rewrites the table"},
		{"generated with a default", "expand", "add_column: {name: n, type: text, generated: a || b, default: 'x'}", "has no default"},
		{"renamed to itself", "expand", "rename_column: {from: a, to: a}", "renamed to itself"},
		{"a type under the same name", "expand", "change_type: {column: a, to: a, type: bigint}", "under the same name"},
		{"dropped in expand", "expand", "drop_table: true", "drop_table breaks the running revision"},
		{"not null in expand", "expand", "set_not_null: {column: a}", "rejects what the running revision may still write; move it to contract"},
		{"a default dropped in expand", "expand", "drop_default: a", "counts on the default; move it to contract"},
		{"a check of old columns", "expand", `add_check: {name: c, expression: "a > 0"}`, `writes column "a" and could be rejected; move it to contract`},
		{"a unique constraint of old columns", "expand", "add_unique: {name: u, columns: [a]}", "move it to contract"},
		{"a unique index of old columns", "expand", `create_index: {name: u, on: ["lower(a)"], unique: true}`, "move it to contract"},
		{"a foreign key of old columns", "expand", "add_foreign_key: {name: f, columns: [a], references: {table: b, columns: [id]}}", "move it to contract"},
		{"columns that do not pair", "contract", "add_foreign_key: {name: f, columns: [a], references: {table: b, columns: [id, x]}}", "1 columns refer to 2"},
		{"an unknown action", "contract", "add_foreign_key: {name: f, columns: [a], references: {table: b, columns: [id]}, on_delete: forget}", `"forget" is not an action`},
		{"a constraint dropped without a reason", "expand", "drop_constraint: {name: c}", "say with because"},
		{"made in contract", "contract", "add_column: {name: n, type: text}", "contract is too late for; move it to expand"},
		{"an index on nothing", "expand", "create_index: {name: i}", "an index needs a column"},
		{"an index on expressions without a name", "expand", `create_index: {on: ["lower(a)"]}`, "needs a name"},
		{"an index on two things at once", "expand", `create_index: {name: i, on: ["a, b"]}`, "expected one expression"},
		{"an unknown kind of index", "expand", "create_index: {columns: [a], method: fast}", "not one of PostgreSQL's own"},
		{"a default that is no expression", "expand", `set_default: {column: a, value: "1; drop table t"}`, "expected one expression, observed 2 statements"},
		{"a key of unknown columns", "expand", "create_table: {columns: [{name: id, type: bigint}], primary_key: [no]}", `the new table has no column "no"`},
		{"a view that writes", "expand", `create_view: {name: v, query: "delete from t returning 1"}`, "expected a SELECT"},
		{"an enum value before and after", "expand", "add_enum_value: {type: m, value: a, before: b, after: c}", "not both"},
		{"sql without a way back", "expand", `sql: {run: "comment on table t is 'x'"}`, "sql in expand needs undo"},
		{"two operations in one", "expand", "{create_index: {columns: [a]}, add_column: {name: b, type: text}}", "expected one operation, observed 2"},
		{"a rename with others", "expand", "rename_table: {to: u}\n  - create_index: {columns: [a]}", "the only operation of its change"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := change.Parse("c.yaml", []byte("name: x\ntable: t\n"+tc.list+":\n  - "+tc.item+"\n"))
			for _, f := range document.FaultsOf(err) {
				if f.Line >= 4 && strings.Contains(f.Error(), tc.want) {
					return
				}
			}
			t.Errorf("want %q, got\n%v", tc.want, err)
		})
	}
}

func TestAChangeWithoutATable(t *testing.T) {
	if _, err := change.Parse("c.yaml", []byte("name: x\nexpand: [{create_view: {name: v, query: select 1}}]\n")); err != nil {
		t.Errorf("a view needs no table: %v", err)
	}
	_, err := change.Parse("c.yaml", []byte("name: x\nexpand: [{add_column: {name: a, type: text}}]\n"))
	if err == nil || !strings.Contains(err.Error(), "c.yaml:2:23: add_column: the change names no table; add table: NAME") {
		t.Errorf("got %v", err)
	}
	_, err = change.Parse("c.yaml", []byte("name: x\n"))
	if err == nil || !strings.Contains(err.Error(), "a change has at least one operation") {
		t.Errorf("got %v", err)
	}
}

// A renamed table leaves a view behind, which contract drops.
func TestARenamedTableContracts(t *testing.T) {
	c, err := change.Parse("c.yaml", []byte("name: x\ntable: customer\nexpand: [{rename_table: {to: client}}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	steps := change.ContractSteps(c)
	if !c.Contracts() || len(steps) != 3 || steps[1].Operation.DropView != "customer" {
		t.Errorf("got %+v", steps)
	}
}

// The plain SQL of a change is held to lint's rules, each finding at its place
// in the file.
func TestPlainSQLIsReviewed(t *testing.T) {
	const file = `name: plain
expand:
  - sql:
      run: |
        create table n (a int);

        create index i on address (city);
        -- gapless:allow widen-type: it was shorter
        alter table address alter é type varchar(40), drop c;
      undo: "drop table n cascade"
contract:
  - sql: {run: 'alter table address drop column d; vacuum full address'}
  - sql: {run: selec}
`
	_, err := change.Parse("c.yaml", []byte(file))
	want := []string{
		"c.yaml:7:9: use-operation: ",
		"c.yaml:9:55: drop-column: ",
		"c.yaml:10:27: cascade: ",
		"c.yaml:12:52: outside-transaction: ",
		"c.yaml:12:52: rewrite-table: ",
		"c.yaml:13:16: unparsed: ",
	}
	var got []string
	for _, f := range document.FaultsOf(err) {
		got = append(got, f.Error())
	}
	for i, w := range want {
		if i >= len(got) || !strings.HasPrefix(got[i], w) {
			t.Errorf("want %q in\n%s", w, strings.Join(got, "\n"))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d faults, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	if _, err := change.Accepted("c.yaml", []byte(file)); err != nil {
		t.Errorf("a record's copy is reviewed again: %v", err)
	}
}
