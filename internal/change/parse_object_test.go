package change_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/change"
)

func TestObjectsAreReadOrRefused(t *testing.T) {
	const table = "create_table: {columns: [{name: id, type: int}, {name: n, type: int}]"
	for _, k := range []struct{ name, file, want string }{
		{"table with what is laid on it", "table: t\nexpand: [{" + table + "}}, {create_index: {columns: [n]}}, {add_check: {name: c, expression: n > 0}}, {add_unique: {name: u, columns: [n]}}]", ""},
		{"two tables", "table: t\nexpand: [{" + table + "}}, {" + table + "}}]", "create_table comes once"},
		{"table late", "table: t\nexpand: [{create_index: {columns: [id]}}, {" + table + "}}]", "create_table comes once, and before"},
		{"column of a new table", "table: t\nexpand: [{" + table + "}}, {add_column: {name: m, type: int}}]", `column "m" is added to a table that the same change creates`},
		{"column twice", "table: t\nexpand: [{create_table: {columns: [{name: id, type: int}, {name: id, type: int}]}}]", `column "id" is there twice`},
		{"numbered and computed", "table: t\nexpand: [{create_table: {columns: [{name: id, type: int, identity: always, default: '1'}]}}]", "expected one of default, generated and identity, observed 2"},
		{"key of nothing", "table: t\nexpand: [{" + table + ", primary_key: [m]}}]", `the new table has no column "m"`},
		{"renamed to itself", "table: s.t\nexpand: [{rename_table: {to: t}}]", `table "t" is renamed to itself`},
		{"renamed twice", "table: t\nexpand: [{rename_table: {to: u}}, {rename_table: {to: v}}]", "rename_table is the only operation"},
		{"dropped with a column", "table: t\ncontract: [{drop_table: true}, {drop_column: c}]", "changes nothing else of it"},
		{"dropped with its view", "table: t\ncontract: [{drop_view: v}, {drop_table: true}]", ""},
		{"view of two", "expand: [{create_view: {name: v, query: select 1; select 2}}]", "expected one query, observed 2"},
		{"view that writes", "expand: [{create_view: {name: v, query: 'with d as (delete from t returning id) select * from d'}}]", "only reads"},
		{"view without a name", "contract: [{drop_view: a.b.c}]", "expected 1 or 2 parts"},
		{"value beside itself", "expand: [{add_enum_value: {type: mood, value: a, after: a}}]", "stands beside itself"},
		{"long value", "expand: [{add_enum_value: {type: mood, value: " + strings.Repeat("a", 64) + "}}]", "PostgreSQL allows 1 to 63"},
		{"function by name alone", "contract: [{drop_function: area}]", "several may have this name"},
		{"sql without undo", "expand: [{sql: {run: select 1}}]", "sql in expand needs undo"},
		{"sql", "expand: [{sql: {run: create sequence s, undo: drop sequence s}}]\ncontract: [{sql: {run: drop sequence r}}]", ""},
		{"no sql", "expand: [{sql: {run: create sequences s, undo: none}}]", "syntax error"},
		{"sql with a transaction", "expand: [{sql: {run: begin; create sequence s, undo: none}}]", "gapless begins and ends the transaction"},
		{"sql outside of one", "expand: [{sql: {run: create index concurrently i on t (a), undo: none}}]", "use create_index"},
		{"undo outside of one", "expand: [{sql: {run: create index i on t (a), undo: drop index concurrently i}}]", "use drop_index"},
		{"sql with settings", "expand: [{sql: {run: set lock_timeout = 0; create sequence s, undo: none}}]", "gapless sets its timeouts, role and search path itself"},
	} {
		t.Run(k.name, func(t *testing.T) {
			_, err := change.Parse("x.yaml", []byte("name: x\n"+k.file+"\n"))
			switch {
			case k.want == "" && err != nil:
				t.Error(err)
			case k.want != "" && (err == nil || !strings.Contains(err.Error(), k.want)):
				t.Errorf("want %q, got %v", k.want, err)
			}
		})
	}
}

func TestStatementsAreDividedAsPostgreSQLReadsThem(t *testing.T) {
	got, err := change.Statements("select ';' -- one; two\n; create function f() returns int language sql as $$ select 1; $$;\n\n/* ; */ select \"ü;\" from t")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[1] != "create function f() returns int language sql as $$ select 1; $$" || !strings.HasSuffix(got[2], `select "ü;" from t`) {
		t.Error(cmp.Diff(nil, got))
	}
	if _, err := change.Statements(" -- nothing\n"); err == nil {
		t.Error("nothing is a statement")
	}
}
