package lint

import (
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/gapless-deploy/gapless/internal/grammar"
)

// data reviews what reads and writes rows.
func (r *reviewer) data(s statement, node *pg.Node) bool {
	switch n := node.GetNode().(type) {
	case *pg.Node_SelectStmt:
		r.queries(s, node)
		r.made.addRelation(n.SelectStmt.GetIntoClause().GetRel())
	case *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt:
		r.writes(s, node)
	case *pg.Node_PrepareStmt:
		r.statement(s, n.PrepareStmt.GetQuery())
	case *pg.Node_ExplainStmt:
		if slices.ContainsFunc(n.ExplainStmt.GetOptions(), func(o *pg.Node) bool { return o.GetDefElem().GetDefname() == "analyze" }) {
			r.statement(s, n.ExplainStmt.GetQuery())
		}
	case *pg.Node_CopyStmt:
		r.copies(s, n.CopyStmt)
	case *pg.Node_LockStmt:
		r.lock(s, n.LockStmt)
	case *pg.Node_VacuumStmt:
		r.vacuum(s, n.VacuumStmt)
	case *pg.Node_ClusterStmt:
		if !r.made.relation(n.ClusterStmt.GetRelation()) {
			r.locks(s, n.ClusterStmt.GetRelation())
			r.find(rewriteTable, s.Start, "rewrites the table under ACCESS EXCLUSIVE", "")
		}
	default:
		return false
	}
	return true
}

// queries reviews the functions that a query calls, and the writes in it.
func (r *reviewer) queries(s statement, node *pg.Node) {
	r.writes(s, node)
	if r.scope == function {
		return
	}
	reads := false
	grammar.Walk(node, func(m proto.Message) bool {
		switch n := m.(type) {
		case *pg.RangeVar:
			reads = reads || !r.made.relation(n)
		case *pg.FuncCall:
			r.call(s, n)
		}
		return true
	})
	if reads {
		r.works(s, "reads rows")
	}
}

// call reviews a function that is called once, for what it does.
func (r *reviewer) call(s statement, call *pg.FuncCall) {
	at := s.At(call.GetLocation())
	name := functionOf(call)
	switch {
	case name == "set_config":
		r.setting(at, call.GetArgs()[0].GetAConst().GetSval().GetSval())
	case name == "setval":
		r.find(changeSequence, at, "sets a sequence, from which the running revision draws numbers", "")
	case name == "" || !isSteady(name) && !isVolatile(name) && !isPlain(name):
		r.unknown(at, fmt.Sprintf("what function %s does is not known here", strings.Join(grammar.Names(call.GetFuncname()), ".")))
	}
}

// writes reviews each write in a statement, also those in its WITH.
func (r *reviewer) writes(s statement, node *pg.Node) {
	if r.scope == function { // what the application's functions write is its own affair
		return
	}
	grammar.Walk(node, func(m proto.Message) bool {
		switch n := m.(type) {
		case *pg.UpdateStmt:
			r.write(s, "UPDATE", n.GetRelation(), n.GetWhereClause())
		case *pg.DeleteStmt:
			r.write(s, "DELETE", n.GetRelation(), n.GetWhereClause())
		case *pg.MergeStmt:
			r.write(s, "MERGE", n.GetRelation(), n.GetJoinCondition())
		case *pg.InsertStmt:
			source := n.GetSelectStmt().GetSelectStmt()
			if source != nil && len(source.GetValuesLists()) == 0 && len(source.GetFromClause()) > 0 {
				r.write(s, "INSERT", n.GetRelation(), n.GetSelectStmt())
			}
		}
		return true
	})
}

func (r *reviewer) write(s statement, verb string, v *pg.RangeVar, where *pg.Node) {
	if r.made.relation(v) {
		return
	}
	at := s.At(v.GetLocation())
	r.works(s, "writes rows of table "+nameOf(v))
	if where == nil || where.GetAConst().GetBoolval().GetBoolval() {
		r.find(massWrite, at, fmt.Sprintf("%s of every row of table %s locks them all until it ends", verb, nameOf(v)), "let a change's sync fill them, which goes in batches")
		return
	}
	r.find(dataChange, at, fmt.Sprintf("how many rows of table %s this %s changes is not known here", nameOf(v), verb), "let a change's sync fill them where they are many, which goes in batches")
}

func (r *reviewer) copies(s statement, n *pg.CopyStmt) {
	switch {
	case n.GetIsProgram():
		r.unknown(s.Start, "COPY runs a program on the server")
	case n.GetQuery() != nil:
		r.queries(s, n.GetQuery())
	case n.GetIsFrom() && r.scope != function && !r.made.relation(n.GetRelation()):
		r.find(dataChange, s.At(n.GetRelation().GetLocation()), fmt.Sprintf("how many rows COPY writes into table %s is not known here", nameOf(n.GetRelation())), "")
	}
}

// lock reviews LOCK TABLE. Modes up to ROW EXCLUSIVE are those of any writer.
func (r *reviewer) lock(s statement, n *pg.LockStmt) {
	const rowExclusive = 3
	if n.GetMode() <= rowExclusive {
		return
	}
	for _, node := range n.GetRelations() {
		if v := node.GetRangeVar(); !r.made.relation(v) {
			r.locks(s, v)
			r.find(lockTable, s.At(v.GetLocation()), fmt.Sprintf("holds up who uses table %s until the transaction ends", nameOf(v)), "")
		}
	}
}

func (r *reviewer) vacuum(s statement, n *pg.VacuumStmt) {
	if !n.GetIsVacuumcmd() { // ANALYZE
		return
	}
	r.outside(s.Start, "VACUUM")
	for _, o := range n.GetOptions() {
		if o.GetDefElem().GetDefname() == "full" {
			r.find(rewriteTable, s.Start, "VACUUM FULL rewrites the table under ACCESS EXCLUSIVE", "VACUUM, or pg_repack")
		}
	}
}
