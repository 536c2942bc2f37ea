package change

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	pgquery "github.com/wasilibs/go-pgquery"
)

// Statements divides plain SQL into its statements, and refuses those that
// cannot run each in a transaction of its own.
func Statements(sql string) ([]string, error) {
	text, err := pgquery.ParseToJSON(sql)
	if err != nil {
		return nil, fmt.Errorf("not SQL: %w", err)
	}
	var tree struct {
		Stmts []struct {
			Stmt     node
			Location int `json:"stmt_location"`
			Length   int `json:"stmt_len"`
		}
	}
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return nil, fmt.Errorf("read the parse tree: %w", err)
	}
	if len(tree.Stmts) == 0 {
		return nil, errors.New("no statement")
	}
	var all []string
	for i, s := range tree.Stmts {
		if why := untransacted(s.Stmt); why != "" {
			return nil, fmt.Errorf("statement %d %s", i+1, why)
		}
		end := s.Location + s.Length
		if s.Length == 0 { // up to the end
			end = len(sql)
		}
		all = append(all, strings.TrimSpace(sql[s.Location:end]))
	}
	return all, nil
}

// untransacted tells why a statement cannot run in a transaction of its own.
func untransacted(statement node) string {
	const cannot = "cannot run in a transaction"
	for kind, s := range statement {
		n, _ := s.(node)
		switch kind {
		case "TransactionStmt":
			return "begins or ends a transaction; each statement has one of its own"
		case "VariableSetStmt", "DiscardStmt":
			return "changes settings, of which none outlives its statement"
		case "IndexStmt", "DropStmt":
			if n["concurrent"] == true {
				return cannot + "; use create_index or drop_index"
			}
		case "VacuumStmt":
			if n["is_vacuumcmd"] == true {
				return cannot
			}
		case "CreatedbStmt", "DropdbStmt", "AlterSystemStmt", "CreateTableSpaceStmt", "DropTableSpaceStmt", "CreateSubscriptionStmt", "DropSubscriptionStmt":
			return cannot
		case "ReindexStmt":
			if params, _ := n["params"].([]any); len(params) > 0 {
				return cannot
			}
		}
	}
	return ""
}
