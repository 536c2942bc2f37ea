package lint

import (
	"fmt"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

func (r *reviewer) createIndex(s statement, n *pg.IndexStmt) {
	v := n.GetRelation()
	isNew := r.made.relation(v)
	defer r.made.add(relation, v.GetSchemaname(), n.GetIdxname())
	if r.operation && !isNew {
		r.find(useOperation, s.Start, "builds an index, which the operation create_index does without blocking writers and repeats where it failed", "use create_index")
		return
	}
	if n.GetConcurrent() {
		r.outside(r.keyword(s, s.Start, pg.Token_CONCURRENTLY), "CREATE INDEX CONCURRENTLY")
	}
	if isNew {
		return
	}
	table := nameOf(v)
	if !n.GetConcurrent() {
		r.locks(s, v)
		suggestion := "CREATE INDEX CONCURRENTLY"
		if !v.GetInh() {
			suggestion = "of a partitioned table ON ONLY builds nothing: allow it then"
		}
		r.find(notConcurrent, s.Start, fmt.Sprintf("blocks the writers of table %s while it builds", table), suggestion)
	} else if n.GetIfNotExists() {
		r.find(indexIfNotExists, r.keyword(s, s.Start, pg.Token_IF_P), fmt.Sprintf("an invalid index %q, left by a build that failed, would be taken for a good one", n.GetIdxname()), "drop an invalid one first: see indisvalid in pg_index")
	}
	if n.GetUnique() {
		known := func(element *pg.Node) bool { return !r.made.part(column, v, element.GetIndexElem().GetName()) }
		if slices.ContainsFunc(n.GetIndexParams(), known) {
			r.find(newConstraint, r.keyword(s, s.Start, pg.Token_UNIQUE), fmt.Sprintf("refuses rows of table %s that the running revision may write", table), later)
		}
	}
}

func (r *reviewer) reindex(s statement, n *pg.ReindexStmt) {
	concurrently := slices.ContainsFunc(n.GetParams(), func(p *pg.Node) bool { return p.GetDefElem().GetDefname() == "concurrently" })
	switch {
	case concurrently:
		r.outside(r.keyword(s, s.Start, pg.Token_CONCURRENTLY), "REINDEX CONCURRENTLY")
	case n.GetRelation() != nil && r.made.relation(n.GetRelation()):
	default:
		if n.GetKind() == pg.ReindexObjectType_REINDEX_OBJECT_TABLE {
			r.locks(s, n.GetRelation())
		}
		r.find(notConcurrent, s.Start, "blocks the writers of the table, and readers that would use the index, while it builds", "REINDEX ... CONCURRENTLY")
	}
}

func (r *reviewer) refresh(s statement, n *pg.RefreshMatViewStmt) {
	if n.GetConcurrent() || r.made.relation(n.GetRelation()) {
		return
	}
	r.find(notConcurrent, s.Start, fmt.Sprintf("blocks the readers of %s while it is computed", nameOf(n.GetRelation())), "REFRESH MATERIALIZED VIEW CONCURRENTLY, which needs a unique index")
}
