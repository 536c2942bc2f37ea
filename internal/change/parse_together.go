package change

import (
	"fmt"
	"slices"
)

// together reviews what operations mean for each other, once the short forms
// are written out.
func (r *reviewer) together() {
	added := map[string]bool{}
	for i, o := range r.c.Expand {
		if o.AddColumn == nil {
			continue
		}
		path := fmt.Sprintf("expand[%d]", i)
		if added[o.AddColumn.Name] {
			r.refuse(path+".add_column.name", fmt.Sprintf("column %q is added twice", o.AddColumn.Name), "")
		}
		added[o.AddColumn.Name] = true
		r.synced(path+".add_column", *o.AddColumn)
	}
	for i, o := range r.c.Contract {
		if o.DropColumn != "" && added[o.DropColumn] {
			r.refuse(fmt.Sprintf("contract[%d].drop_column", i), fmt.Sprintf("column %q is added by this change", o.DropColumn), "")
		}
	}
	r.constraints()
	r.alone()
}

// synced refuses what a column under sync cannot have.
func (r *reviewer) synced(path string, a AddColumn) {
	if !slices.Contains(r.c.NewColumns(), a.Name) {
		return
	}
	if a.NotNull {
		r.refuse(path+".not_null", fmt.Sprintf("column %q is under sync: where forward has no answer, the running revision's write would be rejected", a.Name),
			"set_not_null it at contract")
	}
	if a.Generated != "" {
		r.refuse(path+".generated", fmt.Sprintf("column %q is generated and under sync", a.Name), "give one of the two")
	}
}

// constraints refuses in expand those that the running revision could violate:
// it writes every column but those that are new, and those under sync it writes
// through forward.
func (r *reviewer) constraints() {
	if r.c.Creates() { // the running revision does not know the table
		return
	}
	mayBe := func(column string) bool {
		return slices.ContainsFunc(r.c.Added(), func(a AddColumn) bool { return a.Name == column }) && !slices.Contains(r.c.NewColumns(), column)
	}
	for i, o := range r.c.Expand {
		columns, unique := o.columns(), o.AddUnique != nil || o.CreateIndex != nil && o.CreateIndex.Unique
		switch {
		case o.AddCheck != nil:
			if !r.grammar {
				continue
			}
			columns = referenced(o.AddCheck.Expression)
		case o.CreateIndex != nil && unique:
			if r.grammar {
				for _, on := range o.CreateIndex.On {
					columns = append(columns, referenced(on)...)
				}
			}
		case unique, o.AddForeignKey != nil:
		default:
			continue
		}
		at := fmt.Sprintf("expand[%d].%s", i, o.Kind())
		for _, column := range columns {
			if !mayBe(column) {
				r.refuse(at, fmt.Sprintf("%s %q: the running revision writes column %q and could be rejected", o.Kind(), o.Name(), column), "move it to contract")
				break
			}
			if unique && r.hasDefault(column) {
				r.refuse(at, fmt.Sprintf("%s %q: each row of the running revision has the default of column %q", o.Kind(), o.Name(), column), "move it to contract")
				break
			}
		}
	}
}

func (r *reviewer) hasDefault(column string) bool {
	return slices.ContainsFunc(r.c.Added(), func(a AddColumn) bool { return a.Name == column && a.Default != "" })
}

// alone refuses what goes with nothing else, or not with all else, about the
// same table.
func (r *reviewer) alone() {
	rest := len(r.c.Expand) + len(r.c.Contract) - 1
	for i, o := range r.c.Expand {
		path := fmt.Sprintf("expand[%d].%s", i, o.Kind())
		switch {
		case o.RenameTable != nil && (rest > 0 || r.c.Sync != nil):
			r.refuse(path, "rename_table is the only operation of its change", "give the others a change of their own")
		case o.CreateTable != nil && r.c.Sync != nil:
			r.refuse(path, "a new table has no old form: there is nothing to sync", "")
		case o.CreateTable != nil && slices.ContainsFunc(r.c.Expand[:i], func(o Operation) bool { return o.Kind().ofTable() }):
			r.refuse(path, "create_table comes once, and before what else is done with the table", "make another table in a change of its own")
		case o.AddColumn != nil && r.c.Creates():
			r.refuse(path, fmt.Sprintf("column %q is added to a table that the same change creates", o.AddColumn.Name), "give the column in create_table")
		}
	}
	for i, o := range r.c.Contract {
		others := slices.Concat(r.c.Expand, slices.Delete(slices.Clone(r.c.Contract), i, i+1))
		if o.DropTable && slices.ContainsFunc(others, func(o Operation) bool { return o.Kind().ofTable() }) {
			r.refuse(fmt.Sprintf("contract[%d].drop_table", i), "a change that drops its table changes nothing else of it", "")
		}
	}
}
