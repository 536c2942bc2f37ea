package change

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gapless-deploy/gapless/internal/document"
)

// writeOut replaces the short forms by what they stand for, and remembers
// where their parts stand in the file.
func (r *reviewer) writeOut() {
	r.c.Expand = slices.Clone(r.c.Expand)
	for i, o := range r.c.Expand {
		path := fmt.Sprintf("expand[%d]", i)
		switch {
		case o.RenameColumn != nil:
			a := o.RenameColumn
			path += ".rename_column"
			r.c.Expand[i] = Operation{AddColumn: &AddColumn{Name: a.To, Like: a.From}}
			r.pair(a.From, a.To, column(a.From), column(a.To), path+".from", path+".to")
		case o.ChangeType != nil:
			a := o.ChangeType
			path += ".change_type"
			using, back := column(a.Column)+"::"+a.Type, column(a.To)
			at, backAt := path+".type", path+".to"
			if a.Using != "" {
				using, at = a.Using, path+".using"
			}
			if a.Back != "" {
				back, backAt = a.Back, path+".back"
			}
			r.c.Expand[i] = Operation{AddColumn: &AddColumn{Name: a.To, Type: a.Type}}
			r.pair(a.Column, a.To, using, back, at, backAt)
		}
	}
}

// pair puts an old and a new column into sync and drops the old one at
// contract, unless the file says so itself.
func (r *reviewer) pair(from, to, forward, backward, at, backAt string) {
	sync := Sync{Forward: map[string]string{}, Backward: map[string]string{}}
	if r.c.Sync != nil {
		maps.Copy(sync.Forward, r.c.Sync.Forward)
		maps.Copy(sync.Backward, r.c.Sync.Backward)
	}
	if _, there := sync.Forward[to]; there {
		r.refuse(at, fmt.Sprintf("column %q is under sync.forward too", to), "give it once")
	}
	if _, there := sync.Backward[from]; there {
		r.refuse(backAt, fmt.Sprintf("column %q is under sync.backward too", from), "give it once")
	}
	sync.Forward[to], sync.Backward[from] = forward, backward
	r.c.Sync = &sync
	r.paths["sync.forward."+to], r.paths["sync.backward."+from] = at, backAt
	if !slices.Contains(r.c.Dropped(), from) {
		r.c.Contract = append(slices.Clone(r.c.Contract), Operation{DropColumn: from})
	}
}

// column is a column's name as an SQL expression.
func column(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// place is where an entry of sync stands in the file.
func (r *reviewer) place(path string) string {
	if at, short := r.paths[path]; short {
		return at
	}
	return path
}

func (r *reviewer) sync() {
	if r.c.Sync == nil {
		return
	}
	r.needsTable("sync", "sync")
	added := map[string]bool{}
	for _, a := range r.c.Added() {
		added[a.Name] = true
	}
	for _, name := range r.c.NewColumns() {
		at := r.place("sync.forward." + name)
		if !added[name] {
			r.refuse(at, fmt.Sprintf("column %q is not added by this change", name), "add it under expand, so that it is empty where no one wrote it")
		}
		if _, both := r.c.Sync.Backward[name]; both {
			r.refuse(at, fmt.Sprintf("column %q is on both sides", name), "")
		}
	}
	r.side("sync.forward", r.c.Sync.Forward, r.c.OldColumns(), "old")
	r.side("sync.backward", r.c.Sync.Backward, r.c.NewColumns(), "new")
}

// side reviews one mapping, which may read only the columns of the other side:
// the trigger does not fire for others, so the relation would not hold.
func (r *reviewer) side(path string, mapping map[string]string, reads []string, which string) {
	if len(mapping) == 0 && r.doc.Has(path) {
		r.refuse(path, path+": no column", "")
	}
	table, err := ParseTable(r.c.Table)
	for _, name := range sortedKeys(mapping) {
		at := r.place(path + "." + name)
		if !r.column(at, name) || !r.text(at, mapping[name]) || !r.grammar || err != nil {
			continue
		}
		for _, problem := range checkExpression(mapping[name], table, reads) {
			r.refuse(at, fmt.Sprintf("%s: %s", at, problem.message), problem.suggestion(which, reads))
		}
	}
}

// contract reviews what is dropped together with what is synced: the old form
// goes as a whole.
func (r *reviewer) contract() {
	if r.c.Sync == nil {
		return
	}
	dropped := r.c.Dropped()
	if len(dropped) == 0 {
		return
	}
	for i, o := range r.c.Contract {
		if o.DropColumn == "" || slices.Contains(r.c.OldColumns(), o.DropColumn) {
			continue
		}
		if near := document.DidYouMean(o.DropColumn, r.c.OldColumns()); near != "" {
			r.refuse(fmt.Sprintf("contract[%d].drop_column", i), fmt.Sprintf("column %q is not on the old side of sync", o.DropColumn), near)
		}
	}
	for _, name := range r.c.OldColumns() {
		if !slices.Contains(dropped, name) {
			r.refuse("contract", fmt.Sprintf("column %q of the old form is not dropped, so the sync could not end", name), "drop each column under sync.backward, or none")
		}
	}
}
