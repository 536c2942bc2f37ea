package database

import (
	_ "embed"
	"fmt"
	"strings"
	"text/template"
	"time"
)

//go:embed sync.plpgsql.tmpl
var syncText string

// side is a column as the template sees it.
type side struct {
	Ident      string // in the table
	Label      string // where an expression names it
	Type       string
	Declared   string // the type with its collation
	Expression string
}

// syncData are the parts of the template that a relation decides.
type syncData struct {
	ID          string // as a literal
	Old, New    []side
	Noted       string // the setting that says when this session was noted last
	NoteSeconds int

	OldInserted, NewInserted, OldInsertedSurely string // on INSERT: is it another value than the default?
	OldChanged, NewChanged                      string // on UPDATE
	NewIsNotF, OldIsNotG                        string
	OldRowHasOld, OldRowHasNew                  string
	OldRowOldIsNotG, OldRowNewIsNotF            string
	NewKey, OldKey                              string // jsonb
	NewRowOld, OldRowOld, OldRowNew             string // jsonb
}

func (r relation) syncData() syncData {
	d := syncData{
		ID:          literal(r.change.ID),
		Noted:       literal("gapless.noted_" + hash(r.change.ID)[:16]),
		NoteSeconds: int(noteEvery(r.change.QuietFor) / time.Second),
		OldInserted: inserted(r.old, false), NewInserted: inserted(r.new, false), OldInsertedSurely: inserted(r.old, true),
		OldChanged: differ(r.old, under("NEW."), under("OLD.")), NewChanged: differ(r.new, under("NEW."), under("OLD.")),
		NewIsNotF: differ(r.new, under("NEW."), numbered("gapless_f")), OldIsNotG: differ(r.old, under("NEW."), numbered("gapless_g")),
		OldRowHasOld: anyNotNull(r.old, "OLD."), OldRowHasNew: anyNotNull(r.new, "OLD."),
		OldRowOldIsNotG: differ(r.old, under("OLD."), numbered("gapless_pg")), OldRowNewIsNotF: differ(r.new, under("OLD."), numbered("gapless_pf")),
		NewKey: object(r.table.key, "NEW."), OldKey: object(r.table.key, "OLD."),
		NewRowOld: object(r.old, "NEW."), OldRowOld: object(r.old, "OLD."), OldRowNew: object(r.new, "OLD."),
	}
	d.Old, d.New = r.sides()
	return d
}

func (r relation) sides() (oldSide, newSide []side) {
	for _, c := range r.old {
		oldSide = append(oldSide, side{c.ident(), c.label(), c.sqlType, c.declared(), r.g(c)})
	}
	for _, c := range r.new {
		newSide = append(newSide, side{c.ident(), c.label(), c.sqlType, c.declared(), r.f(c)})
	}
	return oldSide, newSide
}

// inserted is true where an inserted row has another value than the default in
// one of the columns. Whether a volatile default (a sequence, a random UUID) was
// used cannot be told: such a value counts as written, so that it is kept, but
// not surely, so that it does not count as a use of the old form.
func inserted(columns []column, surely bool) string {
	var terms []string
	for _, c := range columns {
		switch {
		case c.def == "" || c.volatileDef && !surely:
			terms = append(terms, "NEW."+c.ident()+" is not null")
		case !c.volatileDef:
			terms = append(terms, distinct(c, "NEW."+c.ident(), "("+c.def+")::"+c.sqlType))
		}
	}
	if len(terms) == 0 {
		return "false"
	}
	return "(" + strings.Join(terms, " or ") + ")"
}

func render(name string, data any) (string, error) {
	var b strings.Builder
	functions := template.FuncMap{"inc": func(i int) int { return i + 1 }}
	t, err := template.New("").Funcs(functions).Parse(syncText)
	if err == nil {
		err = t.ExecuteTemplate(&b, name, data)
	}
	if err != nil {
		return "", fmt.Errorf("write function %s: %w", name, err)
	}
	return b.String(), nil
}

// dollars quotes a function's body.
func dollars(body string) string {
	tag := "$gapless$"
	for n := 1; strings.Contains(body, tag); n++ {
		tag = fmt.Sprintf("$gapless%d$", n)
	}
	return tag + body + tag
}

// function is a statement that makes a function of ours. It runs as its owner,
// sees none of the caller's search path, and nobody else may call it.
func function(name, parameters, returns, body string) string {
	settings := "set search_path = pg_catalog, pg_temp"
	if strings.Contains(body, `\`) {
		settings += " set standard_conforming_strings = on" // the caller may have it off
	}
	return fmt.Sprintf("create or replace function %[1]s(%[2]s) returns %[3]s language plpgsql security definer %[4]s as %[5]s;\n"+
		"revoke all on function %[1]s(%[2]s) from public;\n", name, parameters, returns, settings, dollars(body))
}

func (r relation) forwardName() string  { return own("forward_" + r.base()) }
func (r relation) backwardName() string { return own("backward_" + r.base()) }

// functions are the statements that make the change's functions.
func (r relation) functions() ([]string, error) {
	data := r.syncData()
	log, err := render("log", data)
	if err != nil {
		return nil, err
	}
	statements := []string{function(own("log_"+r.base()), "", "trigger", log)}
	if !r.synced() {
		return statements, nil
	}
	sync, err := r.syncFunction()
	if err != nil {
		return nil, err
	}
	forward, err := render("safe", struct{ From, To []side }{data.Old, data.New})
	if err != nil {
		return nil, err
	}
	backward, err := render("safe", struct{ From, To []side }{data.New, data.Old})
	if err != nil {
		return nil, err
	}
	return append(statements, sync,
		function(r.forwardName(), parameters(data.Old, data.New), "record", forward),
		function(r.backwardName(), parameters(data.New, data.Old), "record", backward)), nil
}

// syncFunction is the statement that makes the only function that knows the
// columns by their names in the table.
func (r relation) syncFunction() (string, error) {
	sync, err := render("sync", r.syncData())
	if err != nil {
		return "", err
	}
	return function(own("sync_"+r.base()), "", "trigger", sync), nil
}

// dropFunctions are the statements that drop the change's functions.
func (r relation) dropFunctions() []string {
	types := func(columns []column) string {
		list := make([]string, len(columns))
		for i, c := range columns {
			list[i] = c.sqlType
		}
		return comma(list)
	}
	statements := []string{"drop function if exists " + own("log_"+r.base()) + "()"}
	if r.synced() {
		statements = append(statements,
			"drop function if exists "+own("sync_"+r.base())+"()",
			"drop function if exists "+r.forwardName()+"("+types(r.old)+")",
			"drop function if exists "+r.backwardName()+"("+types(r.new)+")")
	}
	return statements
}

func parameters(from, to []side) string {
	var list []string
	for _, c := range from {
		list = append(list, "in "+c.Type) // the body names them, with their collations
	}
	for _, c := range to {
		list = append(list, "out "+c.Label+" "+c.Type)
	}
	return comma(append(list, "out gapless_ok boolean"))
}

// The names of the triggers begin with a tilde, the last character of ASCII, to
// fire after the application's own.
func triggerName(change, suffix string) string { return "~gapless_" + base(change) + "_" + suffix }

// syncTriggers are those of a change that is expanded; watchTriggers those that
// note who writes what is dropped and has no new form.
func syncTriggers(change string) []string {
	return []string{triggerName(change, "ins"), triggerName(change, "upd"), triggerName(change, "old")}
}

func watchTriggers(change string) []string {
	return []string{triggerName(change, "wins"), triggerName(change, "wupd")}
}

// dropTriggers are the statements that drop all of the change's triggers that
// keep its forms in step or watch its writers.
func (r relation) dropTriggers() []string {
	var statements []string
	for _, name := range append(syncTriggers(r.change.ID), watchTriggers(r.change.ID)...) {
		statements = append(statements, fmt.Sprintf("drop trigger if exists %s on %s", ident(name), r.table.ident()))
	}
	return statements
}

// trigger is one of ours.
type trigger struct{ name, create string }

// triggers keep both forms in step, and note who writes the old one. All take
// the same lock, which lets readers pass. The one for UPDATE also fires when a
// row that has no new form yet gets another key: the backfill walks along the
// key and might not meet it.
func (r relation) triggers() []trigger {
	if !r.synced() {
		return nil
	}
	names, sync := syncTriggers(r.change.ID), own("sync_"+r.base())
	moved := differ(r.table.key, under("OLD."), under("NEW."))
	when := fmt.Sprintf("(%s or %s or (%s and %s)) and current_setting('gapless.backfill', true) is distinct from %s",
		differ(r.old, under("OLD."), under("NEW.")), differ(r.new, under("OLD."), under("NEW.")), allNull(r.new, "NEW."), moved, literal(r.change.ID))
	return []trigger{
		r.trigger(names[0], "before insert", "row", "", sync),
		r.trigger(names[1], "before update", "row", when, sync),
		r.noting(names[2], r.old),
	}
}

// watches note who writes the columns that are dropped and have no new form.
func (r relation) watches() []trigger {
	if len(r.abandoned) == 0 {
		return nil
	}
	names := watchTriggers(r.change.ID)
	list := []trigger{r.noting(names[1], r.abandoned)}
	if written := inserted(r.abandoned, true); written != "false" {
		list = append(list, r.trigger(names[0], "after insert", "row", written, own("log_"+r.base())))
	}
	return list
}

// noting is a trigger that notes who names columns in an UPDATE, whether it
// changes them or not. A statement that is about a partition fires no statement
// trigger of the table, but those of the rows.
func (r relation) noting(name string, columns []column) trigger {
	each := "statement"
	if r.table.partitioned() {
		each = "row"
	}
	return r.trigger(name, "after update of "+comma(idents(columns, "")), each, "", own("log_"+r.base()))
}

func (r relation) trigger(name, event, each, when, function string) trigger {
	if when != "" {
		when = "when (" + when + ") "
	}
	return trigger{name, fmt.Sprintf("create or replace trigger %s %s on %s for each %s %sexecute function %s()",
		ident(name), event, r.table.ident(), each, when, function)}
}
