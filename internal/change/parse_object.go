package change

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gapless-deploy/gapless/internal/lint"
)

func (r *reviewer) createTable(path string, t CreateTable) {
	names := map[string]bool{}
	for i, c := range t.Columns {
		at := fmt.Sprintf("%s.columns[%d]", path, i)
		r.column(at, c.Name)
		if names[c.Name] {
			r.refuse(at, fmt.Sprintf("column %q is there twice", c.Name), "")
		}
		names[c.Name] = true
		r.sqlType(at+".type", c.Type)
		r.expression(at+".default", c.Default)
		r.expression(at+".generated", c.Generated)
		if given := slices.DeleteFunc([]string{c.Default, c.Generated, c.Identity}, func(s string) bool { return s == "" }); len(given) > 1 {
			r.refuse(at, fmt.Sprintf("column %q: expected one of default, generated and identity, observed %d", c.Name, len(given)), "")
		}
		if !slices.Contains([]string{"", "always", "by default"}, c.Identity) {
			r.refuse(at+".identity", fmt.Sprintf("identity: %q is neither always nor by default", c.Identity), "")
		}
	}
	for i, c := range t.Checks {
		r.expression(fmt.Sprintf("%s.checks[%d].expression", path, i), c.Expression)
	}
	for i, f := range t.ForeignKeys {
		r.foreignKey(fmt.Sprintf("%s.foreign_keys[%d]", path, i), f)
	}
	known := func(at string, columns []string) {
		for _, c := range columns {
			if !names[c] {
				r.refuse(at, fmt.Sprintf("the new table has no column %q", c), "")
			}
		}
	}
	known(path+".primary_key", t.PrimaryKey)
	for i, u := range t.Unique {
		known(fmt.Sprintf("%s.unique[%d].columns", path, i), u.Columns)
	}
	for i, f := range t.ForeignKeys {
		known(fmt.Sprintf("%s.foreign_keys[%d].columns", path, i), f.Columns)
	}
}

func (r *reviewer) renameTable(path string, t RenameTable) {
	name, err := ParseTable(r.c.Table)
	if r.column(path+".to", t.To) && err == nil && name.Name == t.To {
		r.refuse(path+".to", fmt.Sprintf("table %q is renamed to itself", t.To), "")
	}
}

// named refuses what is no name, with or without a schema.
func (r *reviewer) named(path, kind, name string) {
	if _, err := ParseTable(name); err != nil && r.doc.Has(path) {
		r.refuse(path, kind+": "+err.Error(), fmt.Sprintf("write %s or schema.%s", kind, kind))
	}
}

func (r *reviewer) view(path string, v View) {
	r.named(path+".name", "view", v.Name)
	r.parsed(path+".query", v.Query, checkQuery)
}

func (r *reviewer) addEnumValue(path string, a AddEnumValue) {
	r.named(path+".type", "type", a.Type)
	if r.doc.Has(path + ".value") {
		r.column(path+".value", a.Value)
	}
	switch {
	case a.Before != "" && a.After != "":
		r.refuse(path, "add_enum_value stands before one value or after one, not both", "")
	case a.Value != "" && (a.Value == a.Before || a.Value == a.After):
		r.refuse(path, fmt.Sprintf("value %q stands beside itself", a.Value), "")
	}
}

func (r *reviewer) sql(path string, where list, s SQL) {
	if where == inExpand && strings.TrimSpace(s.Undo) == "" && r.doc.Has(path+".run") {
		r.refuse(path, "sql in expand needs undo: the way back must be known before anything is done", `give the statements that take it back, or "undo: none" where there is nothing to take back`)
	}
	stage := lint.Expand
	if where == inContract {
		stage = lint.Contract
	}
	r.statements(path+".run", s.Run, stage)
	if s.Undo != NothingToUndo {
		r.statements(path+".undo", s.Undo, lint.Contract) // it takes away what nobody uses any more
	}
}

// statements reviews plain SQL. What a comment in it allows must be runnable
// all the same.
func (r *reviewer) statements(path, sql string, stage lint.Stage) {
	if !r.grammar || !r.doc.Has(path) {
		return
	}
	findings := lint.ReviewOperation(sql, stage)
	for _, f := range findings {
		f.Line, f.Column = r.doc.Within(path, sql, f.Line, f.Column)
		r.findings = append(r.findings, f)
	}
	if !slices.ContainsFunc(findings, lint.Finding.Stands) {
		r.parsed(path, sql, runnable)
	}
}

func runnable(sql string) error {
	_, err := Statements(sql)
	return err
}
