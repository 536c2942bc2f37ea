package change

import (
	"errors"
	"fmt"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/gapless-deploy/gapless/internal/grammar"
)

// Statements divides plain SQL into its statements, and refuses those that
// cannot run each in a transaction of its own.
func Statements(sql string) ([]string, error) {
	text, err := grammar.Parse(sql)
	if err != nil {
		return nil, err
	}
	if len(text.Statements) == 0 {
		return nil, errors.New("no statement")
	}
	var all []string
	for i, s := range text.Statements {
		if why := untransacted(s.Node); why != "" {
			return nil, fmt.Errorf("statement %d %s", i+1, why)
		}
		all = append(all, sql[s.Start:s.End])
	}
	return all, nil
}

// untransacted tells why a statement cannot run in a transaction of its own.
func untransacted(statement *pg.Node) string {
	const cannot = "cannot run in a transaction"
	switch n := statement.GetNode().(type) {
	case *pg.Node_TransactionStmt:
		return "begins or ends a transaction; each statement has one of its own"
	case *pg.Node_VariableSetStmt, *pg.Node_DiscardStmt:
		return "changes settings, of which none outlives its statement"
	case *pg.Node_IndexStmt:
		if n.IndexStmt.GetConcurrent() {
			return cannot + "; use create_index"
		}
	case *pg.Node_DropStmt:
		if n.DropStmt.GetConcurrent() {
			return cannot + "; use drop_index"
		}
	case *pg.Node_VacuumStmt:
		if n.VacuumStmt.GetIsVacuumcmd() {
			return cannot
		}
	case *pg.Node_ReindexStmt:
		if len(n.ReindexStmt.GetParams()) > 0 {
			return cannot
		}
	case *pg.Node_CreatedbStmt, *pg.Node_DropdbStmt, *pg.Node_AlterSystemStmt, *pg.Node_CreateTableSpaceStmt,
		*pg.Node_DropTableSpaceStmt, *pg.Node_CreateSubscriptionStmt, *pg.Node_DropSubscriptionStmt:
		return cannot
	}
	return ""
}
