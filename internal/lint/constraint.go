package lint

import (
	"fmt"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/gapless-deploy/gapless/internal/grammar"
)

const (
	checkRecipe  = "add it NOT VALID, then VALIDATE CONSTRAINT in another transaction"
	uniqueRecipe = "CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT ... USING INDEX"
)

func (r *reviewer) addConstraint(a action) {
	c := a.cmd.GetDef().GetConstraint()
	table := nameOf(a.table)
	at := a.At(c.GetLocation())
	switch c.GetContype() {
	case pg.ConstrType_CONSTR_CHECK:
		r.narrows(a, at, columnsIn(c.GetRawExpr()))
		r.made.prove(a.table, c.GetConname(), notNullColumn(c.GetRawExpr()))
		if !c.GetSkipValidation() {
			r.find(addCheck, at, fmt.Sprintf("scans table %s under ACCESS EXCLUSIVE", table), checkRecipe)
			defer r.made.validate(a.table, c.GetConname())
		}
	case pg.ConstrType_CONSTR_FOREIGN:
		r.narrows(a, at, grammar.Names(c.GetFkAttrs()))
		if !c.GetSkipValidation() {
			r.find(addForeignKey, at, fmt.Sprintf("scans table %s while it and table %s are locked against writers", table, nameOf(c.GetPktable())), checkRecipe)
		}
	case pg.ConstrType_CONSTR_UNIQUE, pg.ConstrType_CONSTR_PRIMARY, pg.ConstrType_CONSTR_EXCLUSION:
		r.addIndexed(a, c, at)
	default:
		r.unknown(at, fmt.Sprintf("what this constraint does to table %s is not known here", table))
	}
	r.made.addPart(constraint, a.table, c.GetConname())
	r.locks(a.statement, a.table)
}

// addIndexed reviews a constraint that stands on an index.
func (r *reviewer) addIndexed(a action, c *pg.Constraint, at int) {
	table := nameOf(a.table)
	if c.GetIndexname() != "" {
		if c.GetContype() == pg.ConstrType_CONSTR_PRIMARY {
			r.find(notNullScan, at, fmt.Sprintf("scans table %s under ACCESS EXCLUSIVE unless the key's columns are NOT NULL already", table), "set them NOT NULL first")
		}
		return
	}
	r.narrows(a, at, grammar.Names(c.GetKeys()))
	recipe := uniqueRecipe
	if c.GetContype() == pg.ConstrType_CONSTR_EXCLUSION {
		recipe = ""
	}
	r.find(addUnique, at, fmt.Sprintf("builds an index of table %s under ACCESS EXCLUSIVE", table), recipe)
}

// narrows tells that rows of the running revision may be refused, unless it
// knows none of the columns.
func (r *reviewer) narrows(a action, at int, columns []string) {
	known := func(name string) bool { return !r.made.part(column, a.table, name) }
	if len(columns) == 0 || slices.ContainsFunc(columns, known) {
		r.find(newConstraint, at, fmt.Sprintf("refuses rows of table %s that the running revision may write", nameOf(a.table)), later)
	}
}

// columnsIn are the columns that an expression names.
func columnsIn(expression *pg.Node) (columns []string) {
	grammar.Walk(expression, func(m proto.Message) bool {
		if ref, ok := m.(*pg.ColumnRef); ok {
			names := grammar.Names(ref.GetFields())
			columns = append(columns, names[len(names)-1])
		}
		return true
	})
	return columns
}

// notNullColumn is the column of "column IS NOT NULL".
func notNullColumn(expression *pg.Node) string {
	test := expression.GetNullTest()
	if test.GetNulltesttype() != pg.NullTestType_IS_NOT_NULL {
		return ""
	}
	if names := grammar.Names(test.GetArg().GetColumnRef().GetFields()); len(names) == 1 {
		return names[0]
	}
	return ""
}
