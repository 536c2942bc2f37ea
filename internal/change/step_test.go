package change_test

import (
	"slices"
	"testing"

	"github.com/gapless-deploy/gapless/internal/change"
)

// An approval of contract is bound to all that it carries out, not to the
// columns alone.
func TestAnApprovalNamesEveryOperationOfContract(t *testing.T) {
	name := "drop names"
	c := change.Change{
		ID: "0007-x", Table: "address",
		Expand: []change.Operation{{RenameTable: &change.RenameTable{}}},
		Contract: []change.Operation{
			{DropColumn: "street"}, {DropIndex: "by_street"}, {DropView: "v"}, {DropFunction: "f(int)"}, {DropTable: true},
			{SQL: &change.SQL{Run: "drop type t"}}, {DropConstraint: &change.DropConstraint{Name: name}},
		},
	}
	want := []string{
		"0007-x: drop_column street", "0007-x: drop_index by_street", "0007-x: drop_view v", "0007-x: drop_function f(int)", "0007-x: drop_table address",
		"0007-x: sql drop type t", "0007-x: drop_constraint drop names", "0007-x: drop_view address",
	}
	if got := c.Contracting(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
