package lint

import (
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/gapless-deploy/gapless/internal/grammar"
)

// actColumn reviews actions on one column.
func (r *reviewer) actColumn(a action) bool {
	name, table := a.cmd.GetName(), nameOf(a.table)
	isNew := r.made.part(column, a.table, name)
	switch a.cmd.GetSubtype() {
	case pg.AlterTableType_AT_AddColumn:
		r.addColumn(a, a.cmd.GetDef().GetColumnDef())
	case pg.AlterTableType_AT_DropColumn:
		if !isNew {
			r.find(dropColumn, a.at, fmt.Sprintf("the running revision still uses column %q of %s", name, table), later)
		}
	case pg.AlterTableType_AT_AlterColumnType:
		r.retype(a, a.cmd.GetDef().GetColumnDef())
	case pg.AlterTableType_AT_SetNotNull:
		r.find(setNotNull, a.at, fmt.Sprintf("the running revision may write NULL into column %q of table %s", name, table), later)
		if !r.made.notNull(a.table, name) {
			r.find(notNullScan, a.at, fmt.Sprintf("scans table %s under ACCESS EXCLUSIVE", table), fmt.Sprintf("ADD CHECK (%s IS NOT NULL) NOT VALID, VALIDATE CONSTRAINT in another transaction, then SET NOT NULL, and drop the CHECK", name))
		}
	case pg.AlterTableType_AT_DropNotNull:
		if !isNew {
			r.find(dropNotNull, a.at, fmt.Sprintf("the running revision may not take NULL from column %q of table %s", name, table), later)
		}
	case pg.AlterTableType_AT_ColumnDefault:
		switch {
		case isNew:
		case a.cmd.GetDef() == nil:
			r.find(dropDefault, a.at, fmt.Sprintf("the running revision may leave column %q of table %s out", name, table), later)
		default:
			r.find(setDefault, a.at, fmt.Sprintf("rows of the running revision get the new default of column %q, too", name), "")
		}
	case pg.AlterTableType_AT_DropIdentity, pg.AlterTableType_AT_DropExpression:
		r.find(dropDefault, a.at, fmt.Sprintf("the running revision leaves column %q of table %s out", name, table), later)
	case pg.AlterTableType_AT_AddIdentity, pg.AlterTableType_AT_SetIdentity:
		r.unknown(a.at, fmt.Sprintf("an identity column takes no value of its own where it is GENERATED ALWAYS: the running revision may write column %q", name))
	case pg.AlterTableType_AT_SetExpression:
		r.find(rewriteTable, a.at, fmt.Sprintf("rewrites table %s under ACCESS EXCLUSIVE", table), "")
	default:
		return false
	}
	r.locks(a.statement, a.table)
	return true
}

// retype reviews a new type for a column whose old one is not known.
func (r *reviewer) retype(a action, to *pg.ColumnDef) {
	name, table, at := a.cmd.GetName(), nameOf(a.table), typeAt(a, to)
	const instead = "add a column beside it and keep both in step with sync"
	switch kind := widening(to); {
	case r.made.part(column, a.table, name):
	case kind != "":
		r.find(widenType, at, fmt.Sprintf("column %q of table %s: harmless if its type is a shorter %s or, for text, a varchar; otherwise the table is rewritten", name, table, kind), "see the column's type; if it is another, "+instead)
	case r.stage == Contract:
		r.find(rewriteTable, at, fmt.Sprintf("rewrites table %s under ACCESS EXCLUSIVE to change the type of column %q", table, name), instead)
	default:
		r.find(changeType, at, fmt.Sprintf("the running revision uses the old type of column %q, and table %s is rewritten under ACCESS EXCLUSIVE", name, table), instead)
	}
}

// widening names a type to which a shorter one of its kind is taken without a
// rewrite; empty for others, and where a USING may compute anything.
func widening(to *pg.ColumnDef) string {
	names := grammar.Names(to.GetTypeName().GetNames())
	if len(names) == 0 || len(to.GetTypeName().GetArrayBounds()) > 0 || to.GetRawDefault() != nil {
		return ""
	}
	name := names[len(names)-1]
	if slices.Contains([]string{"text", "varchar", "numeric", "varbit", "timestamp", "timestamptz", "time", "timetz", "interval"}, name) {
		return name
	}
	return ""
}

// typeAt is where a column's type stands.
func typeAt(a action, c *pg.ColumnDef) int {
	if location := c.GetTypeName().GetLocation(); location > 0 {
		return a.At(location)
	}
	return a.at
}

func (r *reviewer) addColumn(a action, c *pg.ColumnDef) {
	name, table := c.GetColname(), nameOf(a.table)
	r.made.addPart(column, a.table, name)
	required, filled := -1, false
	if serial(c.GetTypeName()) {
		filled = true
		r.find(serialColumn, typeAt(a, c), fmt.Sprintf("rewrites table %s under ACCESS EXCLUSIVE to number its rows", table), "add a plain column, set its default to nextval(...), then fill it in batches")
	}
	for _, node := range c.GetConstraints() {
		constraint := node.GetConstraint()
		at := a.At(constraint.GetLocation())
		switch constraint.GetContype() {
		case pg.ConstrType_CONSTR_NOTNULL:
			required = at
		case pg.ConstrType_CONSTR_PRIMARY:
			required = at
			r.find(addUnique, at, fmt.Sprintf("builds an index of table %s under ACCESS EXCLUSIVE", table), uniqueRecipe)
		case pg.ConstrType_CONSTR_UNIQUE:
			r.find(addUnique, at, fmt.Sprintf("builds an index of table %s under ACCESS EXCLUSIVE", table), uniqueRecipe)
		case pg.ConstrType_CONSTR_DEFAULT:
			filled = !constraint.GetRawExpr().GetAConst().GetIsnull()
			r.defaultOf(at, table, constraint.GetRawExpr())
		case pg.ConstrType_CONSTR_IDENTITY:
			filled = true
			r.find(serialColumn, at, fmt.Sprintf("rewrites table %s under ACCESS EXCLUSIVE to number its rows", table), "add a plain column, fill it in batches, then ADD GENERATED")
		case pg.ConstrType_CONSTR_GENERATED:
			filled = true
			r.find(generatedColumn, at, fmt.Sprintf("rewrites table %s under ACCESS EXCLUSIVE to compute the column", table), "add a plain column and keep it in step with sync")
		case pg.ConstrType_CONSTR_CHECK:
			r.find(addCheck, at, fmt.Sprintf("scans table %s under ACCESS EXCLUSIVE", table), checkRecipe)
		case pg.ConstrType_CONSTR_FOREIGN:
			r.locks(a.statement, constraint.GetPktable())
			if hasDefault(c) {
				r.find(addForeignKey, at, fmt.Sprintf("scans table %s while it and table %s are locked against writers", table, nameOf(constraint.GetPktable())), checkRecipe)
			}
		default:
		}
	}
	if required >= 0 && !filled {
		r.find(requiredColumn, required, fmt.Sprintf("column %q is NOT NULL and has no default: table %s refuses it if it has rows, and refuses what the running revision inserts", name, table), "add it without NOT NULL, fill it, and set NOT NULL in contract; or give it a constant default")
	}
}

func hasDefault(c *pg.ColumnDef) bool {
	return slices.ContainsFunc(c.GetConstraints(), func(n *pg.Node) bool {
		return n.GetConstraint().GetContype() == pg.ConstrType_CONSTR_DEFAULT
	})
}

func serial(t *pg.TypeName) bool {
	names := grammar.Names(t.GetNames())
	return len(names) == 1 && slices.Contains([]string{"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"}, names[0])
}

// defaultOf tells whether filling a new column by its default rewrites the table.
func (r *reviewer) defaultOf(at int, table string, value *pg.Node) {
	var volatile, unknown string
	grammar.Walk(value, func(m proto.Message) bool {
		if call, ok := m.(*pg.FuncCall); ok {
			switch name := functionOf(call); {
			case name != "" && isVolatile(name):
				volatile = name
			case name == "" || !isSteady(name):
				unknown = strings.Join(grammar.Names(call.GetFuncname()), ".")
			}
		}
		return true
	})
	switch {
	case volatile != "":
		r.find(volatileDefault, at, fmt.Sprintf("the default's function %s is volatile: table %s is rewritten under ACCESS EXCLUSIVE", volatile, table), "add the column without default, set the default, then fill the rows in batches")
	case unknown != "":
		r.find(unknownDefault, at, fmt.Sprintf("table %s is rewritten under ACCESS EXCLUSIVE if function %s is volatile", table, unknown), "see its volatility; or add the column without default, set the default, then fill the rows in batches")
	}
}
