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
	Ident, Type string
	Declared    string // the type with its collation
	Expression  string
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
		oldSide = append(oldSide, side{c.ident(), c.sqlType, c.declared(), r.g(c)})
	}
	for _, c := range r.new {
		newSide = append(newSide, side{c.ident(), c.sqlType, c.declared(), r.f(c)})
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
			terms = append(terms, fmt.Sprintf("NEW.%s is not null", c.ident()))
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
func (r relation) functions() (string, error) {
	data := r.syncData()
	sync, err := render("sync", data)
	if err != nil {
		return "", err
	}
	log, err := render("log", data)
	if err != nil {
		return "", err
	}
	forward, err := render("safe", struct{ From, To []side }{data.Old, data.New})
	if err != nil {
		return "", err
	}
	backward, err := render("safe", struct{ From, To []side }{data.New, data.Old})
	if err != nil {
		return "", err
	}
	return function(own("sync_"+r.base()), "", "trigger", sync) +
		function(own("log_"+r.base()), "", "trigger", log) +
		function(r.forwardName(), parameters(data.Old, data.New), "record", forward) +
		function(r.backwardName(), parameters(data.New, data.Old), "record", backward), nil
}

func parameters(from, to []side) string {
	var list []string
	for _, c := range from {
		list = append(list, "in "+c.Type) // the body names them, with their collations
	}
	for _, c := range to {
		list = append(list, "out "+c.Ident+" "+c.Type)
	}
	return comma(append(list, "out gapless_ok boolean"))
}

// The names of the triggers begin with a tilde, the last character of ASCII, to
// fire after the application's own.
func triggerName(change, suffix string) string { return "~gapless_" + base(change) + "_" + suffix }

// syncTriggers are those of a change that is expanded.
func syncTriggers(change string) []string {
	return []string{triggerName(change, "ins"), triggerName(change, "upd"), triggerName(change, "old")}
}

// triggers are the statements that make them; all take the same lock, which lets
// readers pass. The trigger for UPDATE also
// fires when a row that has no new form yet gets another key: the backfill walks
// along the key and might not meet it.
func (r relation) triggers() string {
	names := syncTriggers(r.change.ID)
	insert, update, old := ident(names[0]), ident(names[1]), ident(names[2])
	t := r.table.ident()
	moved := differ(r.table.key, under("OLD."), under("NEW."))
	var b strings.Builder
	fmt.Fprintf(&b, "create or replace trigger %s before insert on %s for each row execute function %s();\n", insert, t, own("sync_"+r.base()))
	fmt.Fprintf(&b, "create or replace trigger %s before update on %s for each row when ((%s or %s or (%s and %s)) and current_setting('gapless.backfill', true) is distinct from %s) execute function %s();\n",
		update, t, differ(r.old, under("OLD."), under("NEW.")), differ(r.new, under("OLD."), under("NEW.")),
		allNull(r.new, "NEW."), moved, literal(r.change.ID), own("sync_"+r.base()))
	fmt.Fprintf(&b, "create or replace trigger %s after update of %s on %s for each statement execute function %s();\n",
		old, comma(idents(r.old, "")), t, own("log_"+r.base()))
	for _, name := range []string{insert, update, old} {
		fmt.Fprintf(&b, "alter table %s enable always trigger %s;\n", t, name)
	}
	return b.String()
}
