package change

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/gapless-deploy/gapless/internal/document"
	"github.com/gapless-deploy/gapless/internal/grammar"
)

// What an expression's names stand for is found out by the database: here it
// must be no more than text in the grammar.

// only gives the tree of the only statement of sql.
func only(sql, kind string) (*pg.Node, error) {
	text, err := grammar.Parse(sql)
	if err != nil {
		return nil, err
	}
	if len(text.Statements) != 1 {
		return nil, fmt.Errorf("expected one %s, observed %d statements", kind, len(text.Statements))
	}
	return text.Statements[0].Node, nil
}

// target gives the only expression of "select <expression>", or an error if sql
// is anything more.
func target(sql string) (*pg.Node, error) {
	tree, err := only(sql, "expression")
	if err != nil {
		return nil, err
	}
	sel := tree.GetSelectStmt()
	if sel == nil {
		return nil, errors.New("not an expression")
	}
	bare := &pg.SelectStmt{TargetList: sel.GetTargetList(), LimitOption: sel.GetLimitOption(), Op: sel.GetOp()}
	if !proto.Equal(sel, bare) {
		return nil, errors.New("more than an expression")
	}
	if list := sel.GetTargetList(); len(list) != 1 || sel.GetOp() != pg.SetOperation_SETOP_NONE {
		return nil, fmt.Errorf("expected one expression, observed %d", len(list))
	}
	res := sel.GetTargetList()[0].GetResTarget()
	if res.GetName() != "" {
		return nil, errors.New("an expression has no AS here")
	}
	return res.GetVal(), nil
}

func checkType(sqlType string) error {
	val, err := target("select null::" + sqlType + "\n")
	if err != nil {
		return err
	}
	cast := val.GetTypeCast()
	if cast == nil || !cast.GetArg().GetAConst().GetIsnull() {
		return errors.New("not a type")
	}
	for _, name := range grammar.Names(cast.GetTypeName().GetNames()) {
		if slices.Contains([]string{"serial", "bigserial", "smallserial"}, name) {
			return errors.New("a serial column has a default that rewrites the table")
		}
	}
	return nil
}

func checkQuery(sql string) error {
	tree, err := only(sql, "query")
	if err != nil {
		return err
	}
	sel := tree.GetSelectStmt()
	if sel == nil {
		return errors.New("expected a SELECT")
	}
	if sel.GetIntoClause() != nil || len(sel.GetLockingClause()) > 0 {
		return errors.New("a check only reads")
	}
	var writes error
	grammar.Walk(tree, func(m proto.Message) bool {
		switch m.(type) {
		case *pg.InsertStmt, *pg.UpdateStmt, *pg.DeleteStmt, *pg.MergeStmt:
			writes = errors.New("a check only reads")
		}
		return true
	})
	return writes
}

// checkIndexed tells what keeps sql from being one element of an index.
func checkIndexed(sql string) error {
	tree, err := only("create index on t ("+sql+"\n)", "expression")
	if err != nil {
		return err
	}
	index := tree.GetIndexStmt()
	if len(index.GetIndexParams()) != 1 || index.GetWhereClause() != nil || len(index.GetOptions()) > 0 {
		return errors.New("expected one expression")
	}
	return nil
}

// referenced are the columns that an expression, or an element of an index,
// names; none where it is not understood.
func referenced(sql string) (columns []string) {
	tree, err := only("create index on t (("+sql+"\n))", "expression")
	if err != nil {
		if tree, err = only("create index on t ("+sql+"\n)", "expression"); err != nil {
			return nil
		}
	}
	grammar.Walk(tree, func(m proto.Message) bool {
		switch n := m.(type) {
		case *pg.ColumnRef:
			if names := grammar.Names(n.GetFields()); len(names) > 0 {
				columns = append(columns, names[len(names)-1])
			}
		case *pg.IndexElem:
			if n.GetName() != "" {
				columns = append(columns, n.GetName())
			}
		}
		return true
	})
	return columns
}

// problem is something wrong with an expression.
type problem struct {
	message string
	column  string // that was not expected, if that is it
}

func (p problem) suggestion(side string, allowed []string) string {
	if p.column == "" {
		return ""
	}
	if near := document.DidYouMean(p.column, allowed); near != "" {
		return near
	}
	return fmt.Sprintf("it may read the %s side only: %s", side, strings.Join(allowed, ", "))
}

// checkExpression tells what keeps sql from being a mapping that reads the
// columns of table named in reads.
func checkExpression(sql string, table Table, reads []string) []problem {
	val, err := target("select " + sql + "\n")
	if err != nil {
		return []problem{{message: err.Error()}}
	}
	var problems []problem
	grammar.Walk(val, func(m proto.Message) bool {
		switch n := m.(type) {
		case *pg.SubLink:
			problems = append(problems, problem{message: "a subquery reads other rows, which may change unseen"})
		case *pg.ParamRef:
			problems = append(problems, problem{message: "a parameter has no value here"})
		case *pg.SQLValueFunction:
			problems = append(problems, problem{message: "its value depends on when, or by whom, it is computed"})
		case *pg.FuncCall:
			if n.GetOver() != nil || n.GetAggStar() || len(n.GetAggOrder()) > 0 || n.GetAggFilter() != nil {
				problems = append(problems, problem{message: "an aggregate reads other rows"})
			}
		case *pg.ColumnRef:
			if p, wrong := checkColumn(n, table, reads); wrong {
				problems = append(problems, p)
			}
		}
		return true
	})
	return problems
}

func checkColumn(ref *pg.ColumnRef, table Table, reads []string) (problem, bool) {
	for _, f := range ref.GetFields() {
		if f.GetString_() == nil {
			return problem{message: "name the columns one by one, not with *"}, true
		}
	}
	names := grammar.Names(ref.GetFields())
	if len(names) == 0 {
		return problem{message: "a reference without a name"}, true
	}
	column := names[len(names)-1]
	if len(names) > 1 && names[len(names)-2] != table.Name {
		return problem{message: fmt.Sprintf("%q is not a column of table %q", strings.Join(names, "."), table.Name), column: column}, true
	}
	if !slices.Contains(reads, column) {
		return problem{message: fmt.Sprintf("reads column %q", column), column: column}, true
	}
	return problem{}, false
}
