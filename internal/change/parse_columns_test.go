package change_test

import (
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/document"
)

// Each operation on columns, constraints and indexes that cannot stand is told at
// the place that a person must edit.
func TestParseRefusesOperationsOnColumnsConstraintsAndIndexes(t *testing.T) {
	cases := []struct {
		operations string
		line       int
		column     int
		want       string
	}{
		{"expand:\n  - add_column: {name: n, type: int, not_null: true}", 4, 48, "takes no NULL and has no default"},
		{"expand:\n  - add_column: {name: n, type: int, default: \"1 +\"}", 4, 47, "not SQL"},
		{"expand:\n  - add_column: {name: n, type: int, default: \"1\", generated: a + 1}", 4, 63, "is generated: it has no default"},
		{"expand:\n  - set_not_null: {column: a}", 4, 19, "rejects what the running revision may still write"},
		{"expand:\n  - drop_not_null: {column: a}", 4, 0, "because"},
		{"expand:\n  - drop_default: a", 4, 19, "counts on the default"},
		{"expand:\n  - set_default: {column: a, value: \"select 1\"}", 4, 37, "not SQL"},
		{"expand:\n  - add_check: {name: c, expression: a > 1}", 4, 16, "the running revision writes column \"a\""},
		{"expand:\n  - add_unique: {name: u, columns: [a]}", 4, 17, "the running revision writes column \"a\""},
		{"expand:\n  - add_column: {name: n, type: int, default: \"1\"}\n  - add_unique: {name: u, columns: [n]}", 5, 17, "has the default of column \"n\""},
		{"expand:\n  - drop_constraint: {name: c}", 4, 22, "the running revision may count on it"},
		{"expand:\n  - drop_index: i", 4, 17, "may slow the running revision down"},
		{"contract:\n  - create_index: {columns: [a], on: [lower(a)]}", 4, 38, "not both"},
		{"contract:\n  - create_index: {on: [lower(a)]}", 4, 19, "needs a name"},
		{"contract:\n  - create_index: {name: i, on: [\"a) where (b\"]}", 4, 34, "on[0]"},
		{"contract:\n  - create_index: {columns: [a], method: hsah}", 4, 42, "is not one of PostgreSQL's own"},
		{"contract:\n  - add_foreign_key: {name: f, columns: [a, b], references: {table: o, columns: [x]}}", 4, 22, "2 columns refer to 1"},
		{"contract:\n  - add_foreign_key: {name: f, columns: [a], references: {table: o, columns: [x]}, on_delete: drop}", 4, 95, "is not an action"},
		{"contract:\n  - add_column: {name: n, type: int}", 4, 17, "move it to expand"},
	}
	for _, k := range cases {
		t.Run(k.operations, func(t *testing.T) {
			_, err := change.Parse("c.yaml", []byte("name: x\ntable: t\n"+k.operations+"\n"))
			for _, f := range document.FaultsOf(err) {
				if strings.Contains(f.Error(), k.want) {
					if f.Line != k.line || k.column > 0 && f.Column != k.column {
						t.Errorf("at %d:%d, wanted %d:%d: %v", f.Line, f.Column, k.line, k.column, f)
					}
					return
				}
			}
			t.Errorf("want %q, got\n%v", k.want, err)
		})
	}
}
