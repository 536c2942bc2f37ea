package lint

import (
	"fmt"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/gapless-deploy/gapless/internal/grammar"
)

// removal reviews what takes an object, or its name, away.
func (r *reviewer) removal(s statement, node *pg.Node) bool {
	switch n := node.GetNode().(type) {
	case *pg.Node_DropStmt:
		r.drop(s, n.DropStmt)
	case *pg.Node_RenameStmt:
		r.rename(s, n.RenameStmt)
	case *pg.Node_AlterObjectSchemaStmt:
		if !r.made.relation(n.AlterObjectSchemaStmt.GetRelation()) {
			r.locks(s, n.AlterObjectSchemaStmt.GetRelation())
			r.find(moveObject, s.Start, fmt.Sprintf("moves it to schema %q: the running revision looks for it where it was", n.AlterObjectSchemaStmt.GetNewschema()), later)
		}
	case *pg.Node_TruncateStmt:
		r.truncate(s, n.TruncateStmt)
	case *pg.Node_DropOwnedStmt:
		r.find(dropObject, s.Start, "drops all that a role owns", later)
		if n.DropOwnedStmt.GetBehavior() == pg.DropBehavior_DROP_CASCADE {
			r.find(cascade, r.keyword(s, s.Start, pg.Token_CASCADE), "CASCADE drops all that depends on it", "drop each dependent by its name")
		}
	case *pg.Node_DropRoleStmt, *pg.Node_DropUserMappingStmt:
		r.find(dropObject, s.Start, r.head(s)+": the running revision may use it", later)
	case *pg.Node_DropdbStmt, *pg.Node_DropTableSpaceStmt, *pg.Node_DropSubscriptionStmt:
		r.find(dropObject, s.Start, r.head(s)+": the running revision may use it", later)
		r.outside(s.Start, r.head(s))
	default:
		return false
	}
	return true
}

// drop reviews DROP of one or more objects of a kind.
func (r *reviewer) drop(s statement, n *pg.DropStmt) {
	rule, kind, thing := dropRule(n.GetRemoveType())
	concurrently := r.keyword(s, s.Start, pg.Token_CONCURRENTLY)
	if n.GetConcurrent() && !r.operation {
		r.outside(concurrently, "DROP INDEX CONCURRENTLY")
	}
	at := s.Start
	for i, object := range n.GetObjects() {
		names := namesOf(object)
		if len(names) == 0 {
			r.unknown(s.Start, "what is dropped is not known here")
			continue
		}
		at = r.wordFrom(s, at, ownName(n.GetRemoveType(), names))
		name := strings.Join(names, ".")
		if r.madeObject(n.GetRemoveType(), kind, names) {
			continue
		}
		table := tableOf(n.GetRemoveType(), names)
		r.locks(s, table)
		if i == len(n.GetObjects())-1 && n.GetBehavior() == pg.DropBehavior_DROP_CASCADE {
			r.find(cascade, r.keyword(s, at, pg.Token_CASCADE), fmt.Sprintf("CASCADE drops all that depends on %s %s", thing, name), "drop each dependent by its name")
		}
		if r.operation && n.GetRemoveType() == pg.ObjectType_OBJECT_INDEX {
			r.find(useOperation, at, "drops an index, which the operation drop_index does without blocking anybody", "use drop_index")
			continue
		}
		if n.GetRemoveType() == pg.ObjectType_OBJECT_INDEX && !n.GetConcurrent() {
			r.find(notConcurrent, at, fmt.Sprintf("locks the table of index %s under ACCESS EXCLUSIVE", name), "DROP INDEX CONCURRENTLY")
		}
		if replaced := r.replaced(s, n.GetRemoveType(), names); replaced != "" {
			r.find(replaced, at, fmt.Sprintf("drops %s %s and makes it anew: the running revision meets the new one from that moment", thing, name), "use CREATE OR REPLACE, which keeps what depends on it and its rights")
			continue
		}
		r.find(rule, at, fmt.Sprintf("the running revision may still use %s %s", thing, name), later)
	}
}

// dropRule gives the rule, the kind of object in made, and the word for what is
// dropped.
func dropRule(t pg.ObjectType) (rule, kind, thing string) {
	switch t {
	case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_FOREIGN_TABLE:
		return dropTable, relation, "table"
	case pg.ObjectType_OBJECT_VIEW, pg.ObjectType_OBJECT_MATVIEW:
		return dropView, relation, "view"
	case pg.ObjectType_OBJECT_INDEX:
		return dropIndex, relation, "index"
	case pg.ObjectType_OBJECT_SEQUENCE:
		return dropSequence, relation, "sequence"
	case pg.ObjectType_OBJECT_FUNCTION, pg.ObjectType_OBJECT_PROCEDURE, pg.ObjectType_OBJECT_ROUTINE, pg.ObjectType_OBJECT_AGGREGATE:
		return dropFunction, routine, "function"
	case pg.ObjectType_OBJECT_TYPE, pg.ObjectType_OBJECT_DOMAIN:
		return dropType, anyType, "type"
	case pg.ObjectType_OBJECT_SCHEMA:
		return dropSchema, schema, "schema"
	default:
		words := strings.TrimPrefix(t.String(), "OBJECT_")
		return dropObject, "", strings.ToLower(strings.ReplaceAll(words, "_", " "))
	}
}

// namesOf are the parts of an object's name; of a trigger, a policy or a rule
// the last one is its own, the others its table's.
func namesOf(object *pg.Node) []string {
	switch n := object.GetNode().(type) {
	case *pg.Node_List:
		return grammar.Names(n.List.GetItems())
	case *pg.Node_String_:
		return []string{n.String_.GetSval()}
	case *pg.Node_TypeName:
		return grammar.Names(n.TypeName.GetNames())
	case *pg.Node_ObjectWithArgs:
		return grammar.Names(n.ObjectWithArgs.GetObjname())
	}
	return nil
}

// ownName is the part of an object's name that a statement has first.
func ownName(t pg.ObjectType, names []string) string {
	switch t {
	case pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_POLICY, pg.ObjectType_OBJECT_RULE:
		return names[len(names)-1]
	default:
		return names[0]
	}
}

// tableOf is the table that a drop locks, where it is one by name.
func tableOf(t pg.ObjectType, names []string) *pg.RangeVar {
	switch t {
	case pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_POLICY, pg.ObjectType_OBJECT_RULE:
		names = names[:len(names)-1]
	case pg.ObjectType_OBJECT_TABLE:
	default:
		return nil
	}
	if len(names) == 0 {
		return nil
	}
	v := &pg.RangeVar{Relname: names[len(names)-1]}
	if len(names) > 1 {
		v.Schemaname = names[len(names)-2]
	}
	return v
}

func (r *reviewer) madeObject(t pg.ObjectType, kind string, names []string) bool {
	switch t {
	case pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_POLICY, pg.ObjectType_OBJECT_RULE:
		table := tableOf(t, names)
		return table != nil && (r.made.relation(table) || r.made.part(trigger, table, names[len(names)-1]))
	default:
		return kind != "" && r.made.has(kind, names...)
	}
}

// replaced gives the rule for what is dropped and made anew in the same
// transaction; elsewhere there would be a moment without it.
func (r *reviewer) replaced(s statement, t pg.ObjectType, names []string) string {
	if !r.tx.open {
		return ""
	}
	sought := keyOf("", names...)
	for _, next := range r.text.Statements[min(s.index+1, len(r.text.Statements)):] {
		switch n := next.Node.GetNode().(type) {
		case *pg.Node_TransactionStmt:
			if kind := n.TransactionStmt.GetKind(); kind == pg.TransactionStmtKind_TRANS_STMT_COMMIT || kind == pg.TransactionStmtKind_TRANS_STMT_ROLLBACK {
				return ""
			}
		case *pg.Node_CreateFunctionStmt:
			if _, kind, _ := dropRule(t); kind == routine && keyOf("", grammar.Names(n.CreateFunctionStmt.GetFuncname())...) == sought {
				return replaceFunction
			}
		case *pg.Node_ViewStmt:
			v := n.ViewStmt.GetView()
			if rule, _, _ := dropRule(t); rule == dropView && keyOf("", v.GetSchemaname(), v.GetRelname()) == sought {
				return replaceView
			}
		case *pg.Node_CreateTrigStmt:
			if v := n.CreateTrigStmt.GetRelation(); t == pg.ObjectType_OBJECT_TRIGGER && keyOf("", v.GetSchemaname(), v.GetRelname(), n.CreateTrigStmt.GetTrigname()) == sought {
				return createTrigger
			}
		}
	}
	return ""
}

// rename reviews a new name: whoever uses the old one no longer finds it.
func (r *reviewer) rename(s statement, n *pg.RenameStmt) {
	v := n.GetRelation()
	if v != nil && r.made.relation(v) {
		if n.GetRenameType() == n.GetRelationType() || n.GetSubname() == "" {
			r.made.add(relation, v.GetSchemaname(), n.GetNewname())
		}
		return
	}
	old := n.GetSubname()
	if old == "" {
		old = strings.Join(namesOf(n.GetObject()), ".")
	}
	message := fmt.Sprintf("the running revision still uses the name %q", old)
	switch n.GetRenameType() {
	case pg.ObjectType_OBJECT_COLUMN, pg.ObjectType_OBJECT_ATTRIBUTE:
		r.locks(s, v)
		if r.made.part(column, v, old) {
			r.made.addPart(column, v, n.GetNewname())
			return
		}
		r.find(renameColumn, r.wordFrom(s, r.behind(s, v), old), fmt.Sprintf("the running revision still uses column %q of %s", old, nameOf(v)), "add a column of the new name and keep both in step with sync")
	case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_FOREIGN_TABLE:
		r.locks(s, v)
		if r.stoodInFor(s, v) {
			r.find(replaceView, s.At(v.GetLocation()), fmt.Sprintf("a view stands in for table %s: COPY, TRUNCATE and LOCK of it fail, and it must be updatable", nameOf(v)), "")
			return
		}
		r.find(renameTable, s.At(v.GetLocation()), fmt.Sprintf("the running revision still uses the name %s", nameOf(v)), "make an updatable view of the old name in the same transaction, or do it in contract")
	case pg.ObjectType_OBJECT_INDEX, pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_POLICY, pg.ObjectType_OBJECT_RULE:
	case pg.ObjectType_OBJECT_VIEW, pg.ObjectType_OBJECT_MATVIEW, pg.ObjectType_OBJECT_SEQUENCE:
		r.find(renameObject, s.At(v.GetLocation()), fmt.Sprintf("the running revision still uses the name %s", nameOf(v)), later)
	default:
		r.find(renameObject, s.Start, message, later)
	}
}

// stoodInFor tells whether a view of a table's old name is made in the
// transaction that renames it.
func (r *reviewer) stoodInFor(s statement, v *pg.RangeVar) bool {
	if !r.tx.open {
		return false
	}
	for _, next := range r.text.Statements[min(s.index+1, len(r.text.Statements)):] {
		if next.Node.GetTransactionStmt() != nil {
			return false
		}
		if view := next.Node.GetViewStmt().GetView(); view != nil && nameOf(view) == nameOf(v) {
			return true
		}
	}
	return false
}

func (r *reviewer) truncate(s statement, n *pg.TruncateStmt) {
	for _, node := range n.GetRelations() {
		v := node.GetRangeVar()
		if r.made.relation(v) {
			continue
		}
		r.locks(s, v)
		r.find(truncate, s.At(v.GetLocation()), fmt.Sprintf("empties table %s under ACCESS EXCLUSIVE", nameOf(v)), "")
		if n.GetBehavior() == pg.DropBehavior_DROP_CASCADE {
			r.find(cascade, r.keyword(s, s.Start, pg.Token_CASCADE), "CASCADE empties each table that refers to it", "")
		}
	}
}
