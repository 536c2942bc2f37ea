package change

import (
	"fmt"
	"slices"
	"strings"
)

// list is where operations stand.
type list string

const (
	inExpand   list = "expand"
	inContract list = "contract"
)

// operations reviews each operation by itself, writes out the short forms and
// reviews what they make together.
func (r *reviewer) operations() {
	if len(r.c.Expand)+len(r.c.Contract) == 0 && !r.doc.Has("expand[0]") && !r.doc.Has("contract[0]") {
		r.refuse("expand", "a change has at least one operation, under expand or contract", "")
	}
	r.each(inExpand, r.c.Expand)
	r.each(inContract, r.c.Contract)
	r.writeOut()
	r.together()
}

func (r *reviewer) each(where list, operations []Operation) {
	seen := map[string]bool{}
	for i, o := range operations {
		path := fmt.Sprintf("%s[%d]", where, i)
		if !r.one(path, o) {
			continue
		}
		kind, name := o.given()[0].kind, o.given()[0].name
		path += "." + string(kind)
		if name != "" && kind != OpAddColumn && seen[string(kind)+"/"+name] { // columns are looked at together
			r.refuse(path, fmt.Sprintf("%s %q: given twice", kind, name), "")
		}
		seen[string(kind)+"/"+name] = true
		r.misplaced(path, where, kind, name)
		if kind.ofTable() {
			r.needsTable(path, string(kind))
		}
		for _, c := range o.given()[0].columns {
			if c != whole {
				r.column(path, c)
			}
		}
		r.operation(path, where, o)
	}
}

// one tells whether o is exactly one operation.
func (r *reviewer) one(path string, o Operation) bool {
	all := o.given()
	if len(all) == 1 {
		return true
	}
	if len(all) == 0 && r.doc.Has(path) && r.understood(path) {
		return false // what was wrong with it has been told
	}
	r.refuse(path, fmt.Sprintf("expected one operation, observed %d", len(all)), "give each its own item: add_column, create_index, drop_column and so on")
	return false
}

// understood tells whether an operation is named there at all.
func (r *reviewer) understood(path string) bool {
	return slices.ContainsFunc(kinds(), func(k OperationKind) bool { return r.doc.Has(path + "." + string(k)) })
}

// kinds are all kinds of operation that a file may give.
func kinds() []OperationKind {
	return []OperationKind{
		OpAddColumn, opRenameColumn, opChangeType, OpDropColumn, OpSetNotNull, OpDropNotNull, OpSetDefault, OpDropDefault,
		OpAddCheck, OpAddUnique, OpAddForeignKey, OpDropConstraint, OpCreateIndex, OpDropIndex,
		OpCreateTable, OpRenameTable, OpDropTable, OpCreateView, OpReplaceView, OpDropView, OpAddEnumValue, OpDropFunction, OpDropSequence, OpSQL,
	}
}

// ofTable tells whether the operation is about the change's table.
func (k OperationKind) ofTable() bool {
	return !slices.Contains([]OperationKind{OpCreateView, OpReplaceView, OpDropView, OpAddEnumValue, OpDropFunction, OpDropSequence, OpSQL}, k)
}

// breaks says what an operation of this kind does to the running revision;
// empty for one that it does not mind.
func (k OperationKind) breaks() string {
	switch k {
	case OpDropColumn, OpDropTable, OpDropView, OpDropFunction, OpDropSequence:
		return "breaks the running revision, which may still use it"
	case OpDropIndex:
		return "may slow the running revision down, or take away what its ON CONFLICT names"
	case OpSetNotNull:
		return "rejects what the running revision may still write"
	case OpDropDefault:
		return "rejects rows for which the running revision counts on the default"
	default:
		return ""
	}
}

// misplaced refuses an operation in a list where it cannot stand.
func (r *reviewer) misplaced(path string, where list, kind OperationKind, name string) {
	switch where {
	case inExpand:
		if why := kind.breaks(); why != "" {
			r.refuse(path, fmt.Sprintf("%s %s", strings.TrimSpace(fmt.Sprintf("%s %s", kind, quoteName(name))), why), "move it to contract")
		}
	case inContract:
		only := []OperationKind{
			OpAddColumn, opRenameColumn, opChangeType, OpCreateTable, OpRenameTable, OpCreateView, OpReplaceView, OpAddEnumValue,
		}
		if slices.Contains(only, kind) {
			r.refuse(path, fmt.Sprintf("%s makes something for the new revision, which contract is too late for", kind), "move it to expand")
		}
	}
}

func quoteName(name string) string {
	if name == "" {
		return ""
	}
	return quote(name)
}

func (r *reviewer) needsTable(path, what string) {
	if r.c.Table == "" && !r.doc.Has("table") {
		r.refuse(path, what+": the change names no table", "add table: NAME at the top of the file")
		r.c.Table = "?" // once is enough
	}
}

// operation reviews what is particular to a kind.
func (r *reviewer) operation(path string, where list, o Operation) {
	switch {
	case o.AddColumn != nil:
		r.addColumn(path, *o.AddColumn)
	case o.RenameColumn != nil && o.RenameColumn.From == o.RenameColumn.To:
		r.refuse(path+".to", fmt.Sprintf("column %q is renamed to itself", o.RenameColumn.To), "")
	case o.ChangeType != nil:
		r.changeType(path, *o.ChangeType)
	case o.SetNotNull != nil:
		r.expression(path+".fill", o.SetNotNull.Fill)
	case o.SetDefault != nil:
		r.expression(path+".value", o.SetDefault.Value)
	case o.AddCheck != nil:
		r.expression(path+".expression", o.AddCheck.Expression)
	case o.AddForeignKey != nil:
		r.foreignKey(path, *o.AddForeignKey)
	case o.DropConstraint != nil && where == inExpand:
		if strings.TrimSpace(o.DropConstraint.Because) == "" {
			r.refuse(path, fmt.Sprintf("drop_constraint %q in expand: the running revision may count on it", o.DropConstraint.Name),
				"say with because: why it does not, or move it to contract")
		}
	case o.CreateIndex != nil:
		r.createIndex(path, *o.CreateIndex)
	case o.CreateTable != nil:
		r.createTable(path, *o.CreateTable)
	case o.RenameTable != nil:
		r.renameTable(path, *o.RenameTable)
	case o.CreateView != nil:
		r.view(path, *o.CreateView)
	case o.ReplaceView != nil:
		r.view(path, *o.ReplaceView)
	case o.AddEnumValue != nil:
		r.addEnumValue(path, *o.AddEnumValue)
	case o.DropView != "":
		r.named(path, "view", o.DropView)
	case o.DropSequence != "":
		r.named(path, "sequence", o.DropSequence)
	case o.DropFunction != "":
		if !strings.HasSuffix(o.DropFunction, ")") || !strings.Contains(o.DropFunction, "(") {
			r.refuse(path, fmt.Sprintf("function %q: several may have this name", o.DropFunction), "give the types of its arguments, as in area(integer, integer) or now()")
		}
	case o.SQL != nil:
		r.sql(path, where, *o.SQL)
	}
}

func (r *reviewer) addColumn(path string, a AddColumn) {
	r.sqlType(path+".type", a.Type)
	r.expression(path+".default", a.Default)
	r.expression(path+".generated", a.Generated)
	switch {
	case a.Generated != "" && (a.Default != "" || a.NotNull):
		r.refuse(path+".generated", fmt.Sprintf("column %q is generated: it has no default and no not_null", a.Name), "")
	case a.NotNull && a.Default == "":
		r.refuse(path+".not_null", fmt.Sprintf("column %q takes no NULL and has no default: the running revision leaves it out", a.Name),
			"give it a default, or set_not_null it at contract")
	}
}

func (r *reviewer) changeType(path string, a RetypeColumn) {
	r.sqlType(path+".type", a.Type)
	if a.Column == a.To {
		r.refuse(path+".to", fmt.Sprintf("column %q cannot change its type under the same name: the running revision reads the old one", a.Column),
			"give the new column another name")
	}
}

func (r *reviewer) foreignKey(path string, a AddForeignKey) {
	if r.doc.Has(path + ".references.table") {
		if _, err := ParseTable(a.References.Table); err != nil {
			r.refuse(path+".references.table", "references: "+err.Error(), "write table or schema.table")
		}
	}
	if n, m := len(a.Columns), len(a.References.Columns); n != m && n > 0 && m > 0 {
		r.refuse(path, fmt.Sprintf("foreign key %q: %d columns refer to %d", a.Name, n, m), "")
	}
	actions := []string{"", "no action", "restrict", "cascade", "set null", "set default"}
	for key, action := range map[string]string{"on_delete": a.OnDelete, "on_update": a.OnUpdate} {
		if !slices.Contains(actions, action) {
			r.refuse(path+"."+key, fmt.Sprintf("%s: %q is not an action", key, action), "write one of "+strings.Join(actions[1:], ", "))
		}
	}
}

func (r *reviewer) createIndex(path string, index CreateIndex) {
	switch {
	case len(index.Columns) > 0 && len(index.On) > 0:
		r.refuse(path+".on", "an index is on columns or on what on says, not both", "")
	case len(index.Columns)+len(index.On) == 0:
		r.refuse(path, "an index needs a column", "")
	case len(index.On) > 0 && index.Name == "":
		r.refuse(path, "an index on expressions needs a name", "add name: NAME")
	}
	if index.Name != "" {
		r.column(path+".name", index.Name)
	}
	if m := index.Method; m != "" && !slices.Contains([]string{"btree", "hash", "gin", "gist", "spgist", "brin"}, m) {
		r.refuse(path+".method", fmt.Sprintf("method: %q is not one of PostgreSQL's own", m), "write btree, hash, gin, gist, spgist or brin")
	}
	r.expression(path+".where", index.Where)
	for i, on := range index.On {
		r.parsed(fmt.Sprintf("%s.on[%d]", path, i), on, checkIndexed)
	}
}

// sqlType refuses what is no type.
func (r *reviewer) sqlType(path, text string) {
	if r.doc.Has(path) && r.text(path, text) && r.grammar {
		if err := checkType(text); err != nil {
			r.refuse(path, fmt.Sprintf("type %q: %v", text, err), "")
		}
	}
}

// expression refuses what is there and no expression.
func (r *reviewer) expression(path, text string) {
	r.parsed(path, text, func(sql string) error {
		_, err := target("select " + sql + "\n")
		return err
	})
}

func (r *reviewer) parsed(path, text string, check func(string) error) {
	if !r.doc.Has(path) || !r.text(path, text) || !r.grammar {
		return
	}
	if err := check(text); err != nil {
		r.refuse(path, fmt.Sprintf("%s: %v", path, err), "")
	}
}
