package lint

import (
	"fmt"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/gapless-deploy/gapless/internal/grammar"
)

// statement is one that is reviewed, at its place among those of the text.
type statement struct {
	grammar.Statement
	index int
}

func (r *reviewer) statements() {
	for i, s := range r.text.Statements {
		if s.Err != nil {
			r.find(unparsed, s.Err.Offset, "not understood: "+s.Err.Message, "have a person look at it; see docs/guides/lint.md for what the grammar does not know")
			continue
		}
		r.statement(statement{s, i}, s.Node)
	}
}

// statement reviews a statement; node is its tree, or that of one within it.
func (r *reviewer) statement(s statement, node *pg.Node) {
	r.gapless(s)
	for _, review := range []func(statement, *pg.Node) bool{
		r.structure, r.removal, r.data, r.routines, r.session, harmless,
	} {
		if review(s, node) {
			return
		}
	}
	r.unknown(s.Start, "what "+r.head(s)+" does to the running revision is not known here")
}

// structure reviews what makes and alters.
func (r *reviewer) structure(s statement, node *pg.Node) bool {
	switch n := node.GetNode().(type) {
	case *pg.Node_AlterTableStmt:
		r.alterTable(s, n.AlterTableStmt)
	case *pg.Node_AlterTableMoveAllStmt:
		r.find(rewriteTable, s.Start, "moves every table of a tablespace, each rewritten under ACCESS EXCLUSIVE", "")
	case *pg.Node_AlterDomainStmt:
		r.alterDomain(s, n.AlterDomainStmt)
	case *pg.Node_AlterEnumStmt:
		if old := n.AlterEnumStmt.GetOldVal(); old != "" {
			r.find(renameObject, r.word(s, "'"+old+"'"), fmt.Sprintf("renames enum value %q: the running revision still writes and expects it", old), later)
		}
	case *pg.Node_AlterSeqStmt:
		if v := n.AlterSeqStmt.GetSequence(); !r.made.relation(v) {
			r.find(changeSequence, s.Start, fmt.Sprintf("alters sequence %s, from which the running revision draws numbers", nameOf(v)), "")
		}
	case *pg.Node_CreateStmt:
		r.createTable(s, n.CreateStmt)
	case *pg.Node_CreateForeignTableStmt:
		r.made.addRelation(n.CreateForeignTableStmt.GetBaseStmt().GetRelation())
	case *pg.Node_CreateTableAsStmt:
		r.queries(s, n.CreateTableAsStmt.GetQuery())
		r.made.addRelation(n.CreateTableAsStmt.GetInto().GetRel())
	case *pg.Node_ViewStmt:
		v := n.ViewStmt
		if v.GetReplace() && !r.made.relation(v.GetView()) {
			r.find(replaceView, s.Start, fmt.Sprintf("replaces view %s if it is there: the running revision reads the new one from that moment", nameOf(v.GetView())), "keep each column's name, type and meaning; make a new view where they change")
		}
		r.made.addRelation(v.GetView())
	case *pg.Node_CreateSeqStmt:
		r.made.addRelation(n.CreateSeqStmt.GetSequence())
	case *pg.Node_CreateSchemaStmt:
		r.made.add(schema, n.CreateSchemaStmt.GetSchemaname())
		for _, element := range n.CreateSchemaStmt.GetSchemaElts() {
			r.statement(s, element)
		}
	case *pg.Node_CreateEnumStmt:
		r.made.add(anyType, grammar.Names(n.CreateEnumStmt.GetTypeName())...)
	case *pg.Node_CreateRangeStmt:
		r.made.add(anyType, grammar.Names(n.CreateRangeStmt.GetTypeName())...)
	case *pg.Node_CreateDomainStmt:
		r.made.add(anyType, grammar.Names(n.CreateDomainStmt.GetDomainname())...)
	case *pg.Node_CompositeTypeStmt:
		v := n.CompositeTypeStmt.GetTypevar()
		r.made.addRelation(v)
		r.made.add(anyType, v.GetSchemaname(), v.GetRelname())
	case *pg.Node_IndexStmt:
		r.createIndex(s, n.IndexStmt)
	case *pg.Node_ReindexStmt:
		r.reindex(s, n.ReindexStmt)
	case *pg.Node_RefreshMatViewStmt:
		r.refresh(s, n.RefreshMatViewStmt)
	default:
		return false
	}
	return true
}

// harmless tells of statements that neither change what the running revision
// meets nor lock it out.
func harmless(_ statement, node *pg.Node) bool {
	switch n := node.GetNode().(type) {
	case *pg.Node_CommentStmt, *pg.Node_SecLabelStmt, *pg.Node_CheckPointStmt, *pg.Node_VariableShowStmt,
		*pg.Node_DeclareCursorStmt, *pg.Node_FetchStmt, *pg.Node_ClosePortalStmt, *pg.Node_DeallocateStmt,
		*pg.Node_NotifyStmt, *pg.Node_ListenStmt, *pg.Node_UnlistenStmt, *pg.Node_ConstraintsSetStmt,
		*pg.Node_CreateExtensionStmt, *pg.Node_CreateStatsStmt, *pg.Node_AlterStatsStmt, *pg.Node_CreateRoleStmt,
		*pg.Node_CreateFdwStmt, *pg.Node_CreateForeignServerStmt, *pg.Node_CreateUserMappingStmt, *pg.Node_ImportForeignSchemaStmt,
		*pg.Node_CreateConversionStmt, *pg.Node_CreateOpClassStmt, *pg.Node_CreateOpFamilyStmt, *pg.Node_CreateAmStmt:
		return true
	case *pg.Node_DefineStmt: // a new aggregate, operator, collation, text search object or base type
		return !n.DefineStmt.GetReplace()
	case *pg.Node_AlterDefaultPrivilegesStmt: // of objects that are not there yet
		return true
	}
	return false
}

// later is what to do about that which breaks the running revision.
const later = "do it in contract, when no running revision uses it"

func (r *reviewer) unknown(at int, message string) {
	r.find(unknownEffect, at, message, "have a person look at it, and allow it with a reason")
}

// gapless refuses to touch gapless's own schema; reading it is nobody's harm.
func (r *reviewer) gapless(s statement) {
	if sel := s.Node.GetSelectStmt(); sel != nil && sel.GetIntoClause() == nil {
		return
	}
	tokens := r.text.Tokens(s.Statement)
	for i, t := range tokens {
		if r.ident(t) != "gapless" {
			continue
		}
		qualifies := i+1 < len(tokens) && tokens[i+1].Kind == pg.Token_ASCII_46
		named := i > 0 && (tokens[i-1].Kind == pg.Token_SCHEMA || tokens[i-1].Kind == pg.Token_EXISTS)
		if qualifies || named {
			r.find(gaplessSchema, t.Start, "the schema gapless is gapless's own", "gapless uninstall removes it")
			return
		}
	}
}

// ident is the name that a token is, as PostgreSQL folds it.
func (r *reviewer) ident(t grammar.Token) string {
	text := r.text.SQL[t.Start:t.End]
	if strings.HasPrefix(text, `"`) {
		return strings.ReplaceAll(strings.Trim(text, `"`), `""`, `"`)
	}
	return strings.ToLower(text)
}

// word is where a statement has this name, or the text of a constant; its start
// where it has not.
func (r *reviewer) word(s statement, name string) int { return r.wordFrom(s, s.Start, name) }

func (r *reviewer) wordFrom(s statement, from int, name string) int {
	for _, t := range r.text.Tokens(s.Statement) {
		if t.Start >= from && r.ident(t) == name {
			return t.Start
		}
	}
	return max(from, s.Start)
}

// keyword is where a keyword stands at or behind from.
func (r *reviewer) keyword(s statement, from int, kind pg.Token) int {
	for _, t := range r.text.Tokens(s.Statement) {
		if t.Start >= from && t.Kind == kind {
			return t.Start
		}
	}
	return from
}

// head is the first two words of a statement, for people.
func (r *reviewer) head(s statement) string {
	var words []string
	for _, t := range r.text.Tokens(s.Statement) {
		words = append(words, strings.ToUpper(r.text.SQL[t.Start:t.End]))
		if len(words) == 2 {
			break
		}
	}
	return strings.Join(words, " ")
}

// behind is where the token after a relation's name begins.
func (r *reviewer) behind(s statement, v *pg.RangeVar) int {
	at := s.At(v.GetLocation())
	tokens := r.text.Tokens(s.Statement)
	for i, t := range tokens {
		if t.Start < at {
			continue
		}
		end := i + 1
		for end+1 < len(tokens) && tokens[end].Kind == pg.Token_ASCII_46 {
			end += 2
		}
		for end < len(tokens) && (tokens[end].Kind == pg.Token_ASCII_42 || tokens[end].Kind == pg.Token_ASCII_41) {
			end++
		}
		if end < len(tokens) {
			return tokens[end].Start
		}
	}
	return s.End
}

// locks notes that a table is locked against writers, and more, to the end of
// the transaction.
func (r *reviewer) locks(s statement, v *pg.RangeVar) {
	if !r.tx.open || r.scope == function || v == nil || r.made.relation(v) {
		return
	}
	switch name := nameOf(v); r.tx.locked {
	case "":
		r.tx.locked = name
		r.tx.line, _ = grammar.Position(r.text.SQL, s.Start)
	case name:
	default:
		r.find(severalTables, s.Start, fmt.Sprintf("locks table %s while the transaction holds its lock on %s, taken on line %d", name, r.tx.locked, r.tx.line), "give each its own transaction")
	}
}

// works notes that a statement takes time, and tells which lock is held meanwhile.
func (r *reviewer) works(s statement, what string) {
	if r.tx.open && r.tx.locked != "" && r.scope != function {
		r.find(lockHeld, s.Start, fmt.Sprintf("%s while the transaction holds its lock on table %s, taken on line %d", what, r.tx.locked, r.tx.line), "do it in a transaction of its own")
	}
}

// outside refuses what cannot be run inside of a transaction.
func (r *reviewer) outside(at int, what string) {
	switch {
	case r.scope != script:
		r.find(outsideTransaction, at, what+" cannot be run from a function or a DO block", "run it as a statement of its own")
	case r.operation:
		r.find(outsideTransaction, at, what+" cannot be run inside of a transaction, and gapless runs each statement in one", "run it by itself")
	case r.tx.open:
		r.find(outsideTransaction, at, what+" cannot be run inside of a transaction", "run it as a statement of its own")
	}
}
