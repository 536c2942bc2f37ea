package change

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	pgquery "github.com/wasilibs/go-pgquery"

	"github.com/gapless-deploy/gapless/internal/document"
)

// node is a parse tree of PostgreSQL's as JSON.
type node = map[string]any

// statements reads sql, which must be no more than text in the grammar: what
// its names stand for is found out by the database.
func statements(sql string) ([]node, error) {
	text, err := pgquery.ParseToJSON(sql)
	if err != nil {
		return nil, fmt.Errorf("not SQL: %w", err)
	}
	var tree struct{ Stmts []struct{ Stmt node } }
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return nil, fmt.Errorf("read the parse tree: %w", err)
	}
	var all []node
	for _, s := range tree.Stmts {
		all = append(all, s.Stmt)
	}
	return all, nil
}

// target gives the only expression of "select <expression>", or an error if sql
// is anything more.
func target(sql string) (any, error) {
	all, err := statements(sql)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("expected one expression, observed %d statements", len(all))
	}
	sel, ok := all[0]["SelectStmt"].(node)
	if !ok {
		return nil, errors.New("not an expression")
	}
	for clause := range sel {
		if clause != "targetList" && clause != "limitOption" && clause != "op" {
			return nil, errors.New("more than an expression")
		}
	}
	list, _ := sel["targetList"].([]any)
	if len(list) != 1 || sel["op"] != "SETOP_NONE" {
		return nil, fmt.Errorf("expected one expression, observed %d", len(list))
	}
	res, _ := list[0].(node)["ResTarget"].(node)
	if res["name"] != nil {
		return nil, errors.New("an expression has no AS here")
	}
	return res["val"], nil
}

func checkType(sqlType string) error {
	val, err := target("select null::" + sqlType + "\n")
	if err != nil {
		return err
	}
	cast, ok := val.(node)["TypeCast"].(node)
	if !ok {
		return errors.New("not a type")
	}
	if arg, _ := cast["arg"].(node)["A_Const"].(node); arg["isnull"] != true {
		return errors.New("not a type")
	}
	names, _ := cast["typeName"].(node)["names"].([]any)
	for _, n := range names {
		if s, _ := n.(node)["String"].(node); s != nil && slices.Contains([]any{"serial", "bigserial", "smallserial"}, s["sval"]) {
			return errors.New("a serial column has a default that rewrites the table")
		}
	}
	return nil
}

func checkQuery(sql string) error {
	all, err := statements(sql)
	if err != nil {
		return err
	}
	if len(all) != 1 {
		return fmt.Errorf("expected one query, observed %d statements", len(all))
	}
	sel, ok := all[0]["SelectStmt"].(node)
	if !ok {
		return errors.New("expected a SELECT")
	}
	if sel["intoClause"] != nil || sel["lockingClause"] != nil {
		return errors.New("a check only reads")
	}
	var writes error
	walk(all[0], func(kind string, _ node) {
		if kind == "InsertStmt" || kind == "UpdateStmt" || kind == "DeleteStmt" || kind == "MergeStmt" {
			writes = errors.New("a check only reads")
		}
	})
	return writes
}

// checkIndexed tells what keeps sql from being one element of an index.
func checkIndexed(sql string) error {
	all, err := statements("create index on t (" + sql + "\n)")
	if err != nil {
		return err
	}
	if len(all) != 1 {
		return fmt.Errorf("expected one expression, observed %d statements", len(all))
	}
	index, _ := all[0]["IndexStmt"].(node)
	if params, _ := index["indexParams"].([]any); len(params) != 1 || index["whereClause"] != nil || index["options"] != nil {
		return errors.New("expected one expression")
	}
	return nil
}

// referenced are the columns that an expression, or an element of an index,
// names; none where it is not understood.
func referenced(sql string) (columns []string) {
	all, err := statements("create index on t ((" + sql + "\n))")
	if err != nil {
		if all, err = statements("create index on t (" + sql + "\n)"); err != nil {
			return nil
		}
	}
	for _, st := range all {
		walk(st, func(kind string, n node) {
			switch kind {
			case "ColumnRef":
				if fields, _ := n["fields"].([]any); len(fields) > 0 {
					last, _ := fields[len(fields)-1].(node)["String"].(node)
					name, _ := last["sval"].(string)
					columns = append(columns, name)
				}
			case "IndexElem":
				if name, _ := n["name"].(string); name != "" {
					columns = append(columns, name)
				}
			}
		})
	}
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
	walk(val, func(kind string, n node) {
		switch kind {
		case "SubLink":
			problems = append(problems, problem{message: "a subquery reads other rows, which may change unseen"})
		case "ParamRef":
			problems = append(problems, problem{message: "a parameter has no value here"})
		case "SQLValueFunction":
			problems = append(problems, problem{message: "its value depends on when, or by whom, it is computed"})
		case "FuncCall":
			if n["over"] != nil || n["agg_star"] == true || n["agg_order"] != nil || n["agg_filter"] != nil {
				problems = append(problems, problem{message: "an aggregate reads other rows"})
			}
		case "ColumnRef":
			if p, wrong := checkColumn(n, table, reads); wrong {
				problems = append(problems, p)
			}
		}
	})
	return problems
}

func checkColumn(ref node, table Table, reads []string) (problem, bool) {
	fields, _ := ref["fields"].([]any)
	var names []string
	for _, f := range fields {
		s, ok := f.(node)["String"].(node)
		if !ok {
			return problem{message: "name the columns one by one, not with *"}, true
		}
		name, _ := s["sval"].(string)
		names = append(names, name)
	}
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

// walk calls visit for each node of a tree, outermost first.
func walk(tree any, visit func(kind string, n node)) {
	switch t := tree.(type) {
	case node:
		keys := make([]string, 0, len(t))
		for kind := range t {
			keys = append(keys, kind)
		}
		slices.Sort(keys)
		for _, kind := range keys {
			if n, ok := t[kind].(node); ok {
				visit(kind, n)
			}
			walk(t[kind], visit)
		}
	case []any:
		for _, item := range t {
			walk(item, visit)
		}
	}
}
