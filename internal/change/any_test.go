package change_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/change"
)

// fragments are operations of every kind; the number stands for %d.
var fragments = map[string][]string{
	"expand": {
		"add_column: {name: a%d, type: text}",
		"add_column: {name: a%d, type: integer, default: '1', not_null: true}",
		"add_column: {name: a%d, type: bigint, generated: b + 1}",
		"rename_column: {from: b%d, to: c%d}",
		"change_type: {column: b%d, to: d%d, type: bigint}",
		"drop_not_null: {column: b%d, because: it reads NULL}",
		"set_default: {column: b%d, value: now()}",
		"add_check: {name: k%d, expression: a%d > 0}",
		"add_unique: {name: k%d, columns: [a%d]}",
		"add_foreign_key: {name: k%d, columns: [a%d], references: {table: u, columns: [id]}}",
		"drop_constraint: {name: k%d, because: nothing counts on it}",
		"create_index: {columns: [b%d]}",
		"create_index: {name: i%d, on: [lower(b)], where: b > 1}",
		"create_table: {columns: [{name: id, type: bigint}]}",
		"rename_table: {to: t%d}",
		"create_view: {name: v%d, query: select 1 as one}",
		"replace_view: {name: v%d, query: select 1 as one}",
		"add_enum_value: {type: e, value: v%d}",
		"sql: {run: create schema s%d, undo: drop schema s%d}",
	},
	"contract": {
		"drop_column: b%d", "set_not_null: {column: b%d}", "set_not_null: {column: a%d}", "drop_default: b%d", "set_default: {column: b%d, value: '1'}",
		"add_check: {name: k%d, expression: b%d > 0}", "add_unique: {name: k%d, columns: [b%d]}", "drop_constraint: {name: k%d}",
		"create_index: {columns: [b%d]}", "drop_index: i%d", "drop_table: true", "drop_view: v%d", "drop_function: f%d(integer)", "drop_sequence: q%d", "sql: {run: select 1}",
	},
}

// Whatever a file asks for: it is read the same with and without the grammar,
// each step has a name of its own, and the way back covers all that expand does.
func TestAnyChange(t *testing.T) {
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		b.WriteString("name: x\ntable: t\n")
		for _, list := range []string{"expand", "contract"} {
			chosen := rapid.SliceOfN(rapid.SampledFrom(fragments[list]), 0, 4).Draw(t, list)
			if len(chosen) == 0 {
				continue
			}
			b.WriteString(list + ":\n")
			for _, fragment := range chosen {
				fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(fragment, "%d", fmt.Sprint(rapid.IntRange(1, 3).Draw(t, "number"))))
			}
		}
		c, err := change.Parse("c.yaml", []byte(b.String()))
		if err != nil {
			return
		}
		accepted++
		whole(t, c, []byte(b.String()))
	})
	if accepted == 0 {
		t.Error("no change was accepted")
	}
}

// whole holds what is true of every change that is accepted.
func whole(t interface{ Fatalf(string, ...any) }, c change.Change, data []byte) {
	again, err := change.Accepted("c.yaml", data)
	if err != nil || !cmp.Equal(c, again) {
		t.Fatalf("read differently without the grammar: %v\n%s\n%s", err, cmp.Diff(c, again), data)
	}
	expand, revert := change.ExpandSteps(c), change.RevertSteps(c)
	ids := map[string]bool{}
	for _, s := range slices.Concat(expand, change.ContractSteps(c), revert, change.RestoreSteps(c)) {
		if s.ID == "" || ids[s.ID] {
			t.Fatalf("two steps have the ID %q\n%s", s.ID, data)
		}
		ids[s.ID] = true
		if s.Lock() == "unknown" {
			t.Fatalf("%s does not say what it locks", s.ID)
		}
	}
	// What expand makes is undone, the last first.
	var made, undone []string
	for _, s := range expand {
		switch s.Kind {
		case change.AddColumns, change.Synchronise, change.Watch, change.Operate:
			made = append(made, "undo/"+s.ID)
		default:
		}
	}
	for _, s := range slices.Backward(revert) {
		if s.Kind == change.Undo {
			undone = append(undone, s.ID)
		}
	}
	if !slices.Equal(made, undone) {
		t.Fatalf("expand makes %q, the way back undoes %q\n%s", made, undone, data)
	}
	if (len(change.ContractSteps(c)) > 0) != c.Contracts() {
		t.Fatalf("contracts: %t, steps: %d", c.Contracts(), len(change.ContractSteps(c)))
	}
}
