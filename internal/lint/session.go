package lint

import (
	"fmt"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// session reviews transactions, settings, rights and what is the server's.
func (r *reviewer) session(s statement, node *pg.Node) bool {
	switch n := node.GetNode().(type) {
	case *pg.Node_TransactionStmt:
		r.transaction(s, n.TransactionStmt.GetKind())
	case *pg.Node_VariableSetStmt:
		r.setting(s.Start, n.VariableSetStmt.GetName())
	case *pg.Node_DiscardStmt:
		r.setting(s.Start, "")
	case *pg.Node_AlterSystemStmt:
		r.outside(s.Start, "ALTER SYSTEM")
		r.find(serverSetting, s.Start, "sets it for everybody on the server", "")
	case *pg.Node_AlterDatabaseStmt, *pg.Node_AlterDatabaseSetStmt, *pg.Node_AlterRoleStmt, *pg.Node_AlterRoleSetStmt, *pg.Node_AlterDatabaseRefreshCollStmt:
		r.find(serverSetting, s.Start, r.head(s)+": sets it for the running revision, too", "")
	case *pg.Node_CreatedbStmt, *pg.Node_CreateTableSpaceStmt:
		r.outside(s.Start, r.head(s))
	case *pg.Node_GrantStmt:
		if !n.GrantStmt.GetIsGrant() {
			r.find(revoke, s.Start, "the running revision may need the right", later)
		}
	case *pg.Node_GrantRoleStmt:
		if !n.GrantRoleStmt.GetIsGrant() {
			r.find(revoke, s.Start, "the running revision may need the role's rights", later)
		}
	case *pg.Node_AlterOwnerStmt, *pg.Node_ReassignOwnedStmt:
		r.find(changeOwner, s.Start, "another owner has other rights", "")
	default:
		return false
	}
	return true
}

func (r *reviewer) transaction(s statement, kind pg.TransactionStmtKind) {
	if r.operation {
		r.find(transactionControl, s.Start, "gapless begins and ends the transaction", "leave it out")
		return
	}
	switch kind {
	case pg.TransactionStmtKind_TRANS_STMT_BEGIN, pg.TransactionStmtKind_TRANS_STMT_START:
		if r.tx.open {
			r.find(unbalanced, s.Start, "BEGIN within a transaction", "end the one before")
			return
		}
		r.tx = transaction{open: true, at: s.Start}
	case pg.TransactionStmtKind_TRANS_STMT_COMMIT, pg.TransactionStmtKind_TRANS_STMT_ROLLBACK:
		if !r.tx.open {
			r.find(unbalanced, s.Start, r.head(s)+" without BEGIN", "")
		}
		r.tx = transaction{}
	case pg.TransactionStmtKind_TRANS_STMT_PREPARE, pg.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED, pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED:
		r.tx = transaction{}
		r.unknown(s.Start, "a prepared transaction keeps its locks until somebody ends it")
	default: // savepoints
	}
}

// setting reviews SET, RESET and the like of one setting; all of them where the
// name is empty.
func (r *reviewer) setting(at int, name string) {
	switch {
	case name == "session_replication_role":
		r.find(disableTrigger, at, "turns foreign keys and triggers off, the sync of gapless among them", "leave it at its default")
	case r.scope == function:
	case r.operation:
		r.find(transactionControl, at, "gapless sets its timeouts, role and search path itself", "leave it out")
	case !slices.Contains(tameSettings(), name):
		if name == "" {
			name = "every setting"
		}
		r.find(sessionSetting, at, fmt.Sprintf("sets %s, which changes what the statements after it mean or do", name), "name objects with their schema")
	}
}

// tameSettings change when and how statements run, not what they do.
func tameSettings() []string {
	return []string{
		"lock_timeout", "statement_timeout", "transaction_timeout", "idle_in_transaction_session_timeout", "deadlock_timeout",
		"client_min_messages", "client_encoding", "application_name", "standard_conforming_strings", "xmloption",
		"maintenance_work_mem", "work_mem", "max_parallel_maintenance_workers", "max_parallel_workers_per_gather",
		"TRANSACTION", "SESSION CHARACTERISTICS", "check_function_bodies", "plpgsql.variable_conflict", "synchronous_commit",
	}
}
