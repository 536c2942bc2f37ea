package lint

import (
	"fmt"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/gapless-deploy/gapless/internal/grammar"
)

func (r *reviewer) createTable(s statement, n *pg.CreateStmt) {
	table := n.GetRelation()
	for _, inherited := range n.GetInhRelations() {
		parent := inherited.GetRangeVar()
		switch {
		case r.made.relation(parent):
		case n.GetPartbound() != nil:
			r.find(partitionOf, s.At(parent.GetLocation()), fmt.Sprintf("locks table %s under ACCESS EXCLUSIVE, and scans its default partition if it has one", nameOf(parent)), "CREATE TABLE ... (LIKE ...), then ATTACH PARTITION")
			r.locks(s, parent)
		default:
			r.unknown(s.At(parent.GetLocation()), fmt.Sprintf("who reads table %s reads the rows of %s, too", nameOf(parent), nameOf(table)))
		}
	}
	for _, element := range n.GetTableElts() {
		constraints := element.GetColumnDef().GetConstraints()
		if c := element.GetConstraint(); c != nil {
			constraints = []*pg.Node{element}
		}
		for _, c := range constraints {
			if parent := c.GetConstraint().GetPktable(); parent != nil {
				r.locks(s, parent)
			}
		}
	}
	r.made.addRelation(table)
}

// alterTable reviews each action by itself. Views, indexes, sequences and
// composite types are altered by the same statement.
func (r *reviewer) alterTable(s statement, n *pg.AlterTableStmt) {
	table := n.GetRelation()
	if r.made.relation(table) {
		return
	}
	starts := r.text.Parts(s.Statement, r.behind(s, table))
	for i, command := range n.GetCmds() {
		a := action{statement: s, cmd: command.GetAlterTableCmd(), table: table, at: s.Start}
		if len(starts) == len(n.GetCmds()) {
			a.at = starts[i]
		}
		if a.cmd.GetBehavior() == pg.DropBehavior_DROP_CASCADE {
			r.find(cascade, r.keyword(s, a.at, pg.Token_CASCADE), fmt.Sprintf("CASCADE drops all that depends on it in table %s", nameOf(table)), "drop each dependent by its name")
		}
		if n.GetObjtype() == pg.ObjectType_OBJECT_TYPE && a.cmd.GetSubtype() == pg.AlterTableType_AT_AddColumn {
			r.unknown(a.at, fmt.Sprintf("adds a field to type %s: what reads or writes its rows must take it", nameOf(table)))
			continue
		}
		if !r.actColumn(a) && !r.actTable(a) && !quiet(a.cmd.GetSubtype()) {
			r.unknown(a.at, fmt.Sprintf("what this does to table %s is not known here", nameOf(table)))
		}
	}
}

// action is one action of ALTER TABLE, and where it stands.
type action struct {
	statement

	cmd   *pg.AlterTableCmd
	table *pg.RangeVar
	at    int
}

// quiet are the actions that take a lock which lets readers and writers go on,
// and change nothing that they meet.
func quiet(subtype pg.AlterTableType) bool {
	switch subtype {
	case pg.AlterTableType_AT_SetStatistics, pg.AlterTableType_AT_SetOptions, pg.AlterTableType_AT_ResetOptions,
		pg.AlterTableType_AT_SetStorage, pg.AlterTableType_AT_SetCompression, pg.AlterTableType_AT_SetRelOptions,
		pg.AlterTableType_AT_ResetRelOptions, pg.AlterTableType_AT_ClusterOn, pg.AlterTableType_AT_DropCluster,
		pg.AlterTableType_AT_DropOids, pg.AlterTableType_AT_DetachPartitionFinalize:
		return true
	default:
		return false
	}
}

// actTable reviews actions on the table as a whole.
func (r *reviewer) actTable(a action) bool {
	name := nameOf(a.table)
	switch a.cmd.GetSubtype() {
	case pg.AlterTableType_AT_AddConstraint:
		r.addConstraint(a)
	case pg.AlterTableType_AT_ValidateConstraint:
		r.works(a.statement, "reads the whole table to validate a constraint")
		r.made.validate(a.table, a.cmd.GetName())
	case pg.AlterTableType_AT_DropConstraint:
		r.locks(a.statement, a.table)
		if !r.made.part(constraint, a.table, a.cmd.GetName()) {
			r.find(dropConstraint, a.at, fmt.Sprintf("drops constraint %q of table %s, on which the running revision may rely, also by ON CONFLICT", a.cmd.GetName(), name), later)
		}
	case pg.AlterTableType_AT_SetTableSpace, pg.AlterTableType_AT_SetLogged, pg.AlterTableType_AT_SetUnLogged, pg.AlterTableType_AT_SetAccessMethod:
		r.locks(a.statement, a.table)
		r.find(rewriteTable, a.at, fmt.Sprintf("rewrites %s under ACCESS EXCLUSIVE", name), "")
	case pg.AlterTableType_AT_EnableTrig, pg.AlterTableType_AT_EnableAlwaysTrig, pg.AlterTableType_AT_EnableReplicaTrig,
		pg.AlterTableType_AT_DisableTrig, pg.AlterTableType_AT_EnableTrigAll, pg.AlterTableType_AT_DisableTrigAll,
		pg.AlterTableType_AT_EnableTrigUser, pg.AlterTableType_AT_DisableTrigUser, pg.AlterTableType_AT_EnableRule,
		pg.AlterTableType_AT_EnableAlwaysRule, pg.AlterTableType_AT_EnableReplicaRule, pg.AlterTableType_AT_DisableRule:
		r.locks(a.statement, a.table)
		r.find(disableTrigger, a.at, fmt.Sprintf("turns triggers or rules of table %s on or off for everybody", name), "leave them; foreign keys and the sync of gapless are triggers")
	case pg.AlterTableType_AT_EnableRowSecurity, pg.AlterTableType_AT_ForceRowSecurity:
		r.locks(a.statement, a.table)
		r.find(rowSecurity, a.at, fmt.Sprintf("with row-level security on table %s the running revision may see no rows", name), "make the policies first, and turn it on in contract")
	case pg.AlterTableType_AT_ChangeOwner:
		r.locks(a.statement, a.table)
		r.find(changeOwner, a.at, fmt.Sprintf("gives %s another owner, and so other rights", name), "")
	case pg.AlterTableType_AT_AttachPartition:
		r.attach(a)
	case pg.AlterTableType_AT_DetachPartition:
		r.detach(a)
	default:
		return false
	}
	return true
}

func (r *reviewer) attach(a action) {
	partition := a.cmd.GetDef().GetPartitionCmd().GetName()
	if r.made.relation(partition) || a.cmd.GetDef().GetPartitionCmd().GetBound() == nil { // an index's
		return
	}
	if r.made.part(validated, partition, "") {
		return
	}
	r.locks(a.statement, partition)
	r.find(attachPartition, a.at, fmt.Sprintf("scans %s under ACCESS EXCLUSIVE unless a validated CHECK proves its bounds, and a default partition of %s likewise", nameOf(partition), nameOf(a.table)), "add the CHECK NOT VALID and validate it first")
}

func (r *reviewer) detach(a action) {
	partition := a.cmd.GetDef().GetPartitionCmd()
	r.find(detach, a.at, fmt.Sprintf("the rows of %s vanish from table %s, which the running revision reads", nameOf(partition.GetName()), nameOf(a.table)), later)
	if partition.GetConcurrent() {
		r.outside(r.keyword(a.statement, a.at, pg.Token_CONCURRENTLY), "DETACH PARTITION CONCURRENTLY")
		return
	}
	r.locks(a.statement, a.table)
	r.find(notConcurrent, a.at, fmt.Sprintf("locks table %s under ACCESS EXCLUSIVE", nameOf(a.table)), "DETACH PARTITION ... CONCURRENTLY")
}

// alterDomain reviews a domain like the columns that are of it.
func (r *reviewer) alterDomain(s statement, n *pg.AlterDomainStmt) {
	names := grammar.Names(n.GetTypeName())
	if r.made.has(anyType, names...) {
		return
	}
	if n.GetBehavior() == pg.DropBehavior_DROP_CASCADE {
		r.find(cascade, r.keyword(s, s.Start, pg.Token_CASCADE), "CASCADE drops all that depends on it", "drop each dependent by its name")
	}
	switch n.GetSubtype() {
	case "T": // SET or DROP DEFAULT
		if n.GetDef() == nil {
			r.find(dropDefault, s.Start, "the running revision may leave out columns of this domain", later)
			return
		}
		r.find(setDefault, s.Start, "rows of the running revision get the new default, too", "")
	case "N":
		r.find(dropNotNull, s.Start, "the running revision may not take NULL in columns of this domain", later)
	case "O":
		r.find(setNotNull, s.Start, "the running revision may write NULL into columns of this domain", later)
		r.find(notNullScan, s.Start, "scans each table with a column of this domain, which is locked against writers", "")
	case "C":
		r.find(newConstraint, s.Start, "refuses values that the running revision may write", later)
		if !n.GetDef().GetConstraint().GetSkipValidation() {
			r.find(addCheck, s.Start, "scans each table with a column of this domain, which is locked against writers", "add it NOT VALID, then VALIDATE CONSTRAINT in another transaction")
		}
	case "X":
		r.find(dropConstraint, s.Start, "the running revision may rely on this constraint", later)
	case "V":
		r.works(s, "reads each table with a column of this domain")
	default:
		r.unknown(s.Start, "what this does to the domain is not known here")
	}
}
