package lint

import (
	"fmt"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/gapless-deploy/gapless/internal/grammar"
)

// routines reviews functions, triggers and rules, and looks into bodies.
func (r *reviewer) routines(s statement, node *pg.Node) bool {
	switch n := node.GetNode().(type) {
	case *pg.Node_CreateFunctionStmt:
		r.createFunction(s, n.CreateFunctionStmt)
	case *pg.Node_AlterFunctionStmt:
		if names := grammar.Names(n.AlterFunctionStmt.GetFunc().GetObjname()); !r.made.has(routine, names...) {
			r.find(replaceFunction, s.Start, fmt.Sprintf("the running revision calls the altered function %s from that moment", strings.Join(names, ".")), "")
		}
	case *pg.Node_DoStmt:
		r.body(s, block, "DO block")
	case *pg.Node_CallStmt:
		r.unknown(s.Start, fmt.Sprintf("what procedure %s does is not known here", strings.Join(grammar.Names(n.CallStmt.GetFunccall().GetFuncname()), ".")))
	case *pg.Node_ExecuteStmt:
		r.unknown(s.Start, "what the prepared statement does is not known here")
	case *pg.Node_CreateTrigStmt:
		r.createTrigger(s, n.CreateTrigStmt)
	case *pg.Node_RuleStmt:
		if v := n.RuleStmt.GetRelation(); !r.made.relation(v) {
			r.locks(s, v)
			r.find(createTrigger, s.Start, fmt.Sprintf("a rule changes what the running revision's statements on %s do", nameOf(v)), "")
		}
	case *pg.Node_CreatePolicyStmt:
		if v := n.CreatePolicyStmt.GetTable(); !r.made.relation(v) {
			r.locks(s, v)
			r.made.addPart(trigger, v, n.CreatePolicyStmt.GetPolicyName())
			r.unknown(s.Start, fmt.Sprintf("which rows of table %s the running revision sees under this policy is not known here", nameOf(v)))
		}
	default:
		return false
	}
	return true
}

func (r *reviewer) createTrigger(s statement, n *pg.CreateTrigStmt) {
	v := n.GetRelation()
	if r.made.relation(v) {
		return
	}
	r.locks(s, v)
	r.made.addPart(trigger, v, n.GetTrigname())
	r.find(createTrigger, s.Start, fmt.Sprintf("trigger %q changes what the running revision's writes to table %s do", n.GetTrigname(), nameOf(v)), "")
}

func (r *reviewer) createFunction(s statement, n *pg.CreateFunctionStmt) {
	names := grammar.Names(n.GetFuncname())
	name := strings.Join(names, ".")
	if n.GetReplace() && !r.made.has(routine, names...) {
		r.find(replaceFunction, s.Start, fmt.Sprintf("replaces function %s if it is there: the running revision calls the new body from that moment", name), "keep what it means to its callers; make a new function where that changes")
	}
	r.made.add(routine, names...)
	what := "function " + name
	if n.GetIsProcedure() {
		what = "procedure " + name
	}
	if n.GetSqlBody() == nil {
		r.body(s, function, what)
		return
	}
	inner := r.inner(r.text, function, what, r.at)
	statements := []*pg.Node{n.GetSqlBody()}
	if list := n.GetSqlBody().GetList(); list != nil {
		statements = nil
		for _, item := range list.GetItems() {
			statements = append(statements, append(item.GetList().GetItems(), item)...)
		}
	}
	for _, node := range statements {
		if node.GetReturnStmt() == nil && node.GetList() == nil {
			inner.statement(s, node)
		}
	}
}

// inner is a reviewer for a body. What a function's body meets when it is called
// is not known: objects made around it may be in use by then.
func (r *reviewer) inner(text grammar.Text, in scope, within string, at func(int) int) *reviewer {
	inner := *r
	inner.text, inner.scope, inner.at = text, in, at
	if r.within == "" {
		inner.within = within
	}
	if r.scope == function {
		inner.scope = function
	}
	if inner.scope == function {
		inner.made = newMade()
	}
	inner.tx = transaction{open: true}
	if r.tx.open && in == block {
		inner.tx.locked, inner.tx.line = r.tx.locked, r.tx.line
	}
	return &inner
}

// body looks into the text of a function or a DO block.
func (r *reviewer) body(s statement, in scope, within string) {
	body, ok := r.text.Body(s.Statement)
	if !ok {
		r.unknown(s.Start, within+" has no body that can be looked into")
		return
	}
	at := func(offset int) int { return r.at(body.At(offset)) }
	switch body.Language {
	case "sql":
		r.inner(grammar.Read(body.SQL), in, within, at).statements()
	case "plpgsql":
		queries, err := body.Queries()
		if err != nil {
			r.find(unparsed, body.At(err.Offset), within+" is not understood: "+err.Message, "have a person look at it")
			return
		}
		shared := r.inner(grammar.Text{}, in, within, at)
		for _, q := range queries {
			r.query(shared, q, at)
		}
	default:
		r.unknown(s.Start, fmt.Sprintf("%s is written in %s, which is not looked into", within, body.Language))
	}
}

// query reviews one query of a PL/pgSQL body; shared has what those before it
// have made and locked.
func (r *reviewer) query(shared *reviewer, q grammar.Query, at func(int) int) {
	place := func(offset int) int { return at(q.At(offset)) }
	text := grammar.Read(q.SQL)
	if q.Dynamic {
		sql, ok := constantOf(text)
		if !ok {
			shared.at = place
			shared.find(dynamicSQL, len("SELECT "), "runs SQL that is made when it runs", "write the statement out, or allow it with a reason")
			return
		}
		start := place(len("SELECT "))
		text, place = grammar.Read(sql), func(int) int { return start }
	}
	next := *shared
	next.text, next.at = text, place
	next.statements()
	shared.tx = next.tx
}

// constantOf gives the text of a query that is no more than a constant text.
func constantOf(text grammar.Text) (string, bool) {
	if len(text.Statements) != 1 {
		return "", false
	}
	targets := text.Statements[0].Node.GetSelectStmt().GetTargetList()
	if len(targets) != 1 {
		return "", false
	}
	constant := targets[0].GetResTarget().GetVal().GetAConst()
	_, ok := constant.GetVal().(*pg.A_Const_Sval)
	return constant.GetSval().GetSval(), ok
}
