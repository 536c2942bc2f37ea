package change

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gapless-deploy/gapless/internal/document"
)

// Parse reads a change file. The error is document.Faults: everything that is
// wrong with it, each in its place, the SQL in it read with PostgreSQL's own
// grammar. The grammar takes a second or two to load the first time.
func Parse(file string, data []byte) (Change, error) { return parse(file, data, true) }

// Accepted reads a change that Parse has accepted before, such as a record's
// copy of it, without loading the grammar.
func Accepted(file string, data []byte) (Change, error) { return parse(file, data, false) }

func parse(file string, data []byte, grammar bool) (Change, error) {
	doc, err := document.Parse(file, data)
	if err != nil {
		return Change{}, err
	}
	var c Change
	faults := document.FaultsOf(doc.Decode(&c))
	base := filepath.Base(file)
	c.ID = strings.TrimSuffix(base, filepath.Ext(base))
	sum := sha256.Sum256(data)
	c.Digest = hex.EncodeToString(sum[:])

	r := reviewer{doc: doc, c: c, grammar: grammar}
	r.identity()
	r.operations()
	r.sync()
	r.verify()
	if err := append(faults, r.faults...).Err(); err != nil {
		return Change{}, err
	}
	return c, nil
}

// reviewer finds what is wrong with a change whose form is right.
type reviewer struct {
	doc     *document.Document
	c       Change
	grammar bool
	faults  document.Faults
}

func (r *reviewer) refuse(path, message, suggestion string) {
	r.faults = append(r.faults, r.doc.Fault(path, message, suggestion))
}

// maxID keeps an ID readable in names of PostgreSQL's, which end at 63 bytes.
const maxID = 200

func (r *reviewer) identity() {
	if r.c.ID == "" || len(r.c.ID) > maxID {
		r.refuse("", fmt.Sprintf("the file's name gives the change's ID %q, which must have 1 to %d bytes", r.c.ID, maxID), "rename the file")
	}
	if r.doc.Has("name") {
		r.text("name", r.c.Name)
	}
	if r.doc.Has("table") {
		if _, err := ParseTable(r.c.Table); err != nil {
			r.refuse("table", "table: "+err.Error(), "write table or schema.table")
		}
	}
	if r.c.HideFor > 0 {
		r.refuse("hide_for", fmt.Sprintf("hide_for: hiding is not supported yet, observed %s", document.FormatDuration(r.c.HideFor)), "set it to 0")
	}
}

func (r *reviewer) operations() {
	if r.doc.Has("expand") && len(r.c.Expand) == 0 {
		r.refuse("expand", "expand: nothing to do", "give at least one operation")
	}
	added, indexes := map[string]bool{}, map[string]bool{}
	for i, o := range r.c.Expand {
		path := fmt.Sprintf("expand[%d]", i)
		if !r.one(path, o) {
			continue
		}
		switch {
		case o.AddColumn != nil:
			r.addColumn(path+".add_column", *o.AddColumn, added)
		case o.CreateIndex != nil:
			r.createIndex(path+".create_index", *o.CreateIndex, indexes)
		default:
			r.refuse(path, "drop_column breaks the running revision, which still reads "+quote(o.DropColumn), "move it to contract")
		}
	}
	r.contract(added)
}

// one tells whether o is exactly one operation.
func (r *reviewer) one(path string, o Operation) bool {
	var given []string
	for key, is := range map[string]bool{
		"add_column": o.AddColumn != nil, "create_index": o.CreateIndex != nil, "drop_column": o.DropColumn != "",
	} {
		if is {
			given = append(given, key)
		}
	}
	if len(given) == 1 {
		return true
	}
	// An operation that was not understood has been told already.
	if len(given) > 1 || !(r.doc.Has(path+".add_column") || r.doc.Has(path+".create_index")) {
		r.refuse(path, fmt.Sprintf("expected one operation, observed %d", len(given)), "give each its own item: add_column, create_index or drop_column")
	}
	return false
}

func (r *reviewer) addColumn(path string, a AddColumn, added map[string]bool) {
	if r.doc.Has(path+".name") && r.column(path+".name", a.Name) {
		if added[a.Name] {
			r.refuse(path+".name", fmt.Sprintf("column %q is added twice", a.Name), "")
		}
		added[a.Name] = true
	}
	if r.doc.Has(path+".type") && r.text(path+".type", a.Type) && r.grammar {
		if err := checkType(a.Type); err != nil {
			r.refuse(path+".type", fmt.Sprintf("type %q: %v", a.Type, err), "")
		}
	}
}

func (r *reviewer) createIndex(path string, index CreateIndex, seen map[string]bool) {
	if r.doc.Has(path+".columns") && len(index.Columns) == 0 {
		r.refuse(path+".columns", "an index needs a column", "")
	}
	for i, name := range index.Columns {
		r.column(fmt.Sprintf("%s.columns[%d]", path, i), name)
	}
	if index.Name != "" {
		r.column(path+".name", index.Name)
	}
	if seen[index.key()] {
		r.refuse(path, fmt.Sprintf("index %q is built twice", index.key()), "")
	}
	seen[index.key()] = true
}

func (r *reviewer) contract(added map[string]bool) {
	dropped := map[string]bool{}
	for i, o := range r.c.Contract {
		path := fmt.Sprintf("contract[%d]", i)
		if !r.one(path, o) {
			continue
		}
		name := o.DropColumn
		switch {
		case name == "":
			r.refuse(path, "contract only removes", "move it to expand")
		case added[name]:
			r.refuse(path+".drop_column", fmt.Sprintf("column %q is added by this change", name), "")
		case dropped[name]:
			r.refuse(path+".drop_column", fmt.Sprintf("column %q is dropped twice", name), "")
		case r.c.Sync == nil:
			r.refuse(path+".drop_column", fmt.Sprintf("column %q has no new form to go to", name), "say with sync where its data goes; gapless drops no column whose data has not been moved")
		case r.column(path+".drop_column", name):
			if _, ok := r.c.Sync.Backward[name]; !ok {
				r.refuse(path+".drop_column", fmt.Sprintf("column %q is not on the old side of sync", name), document.DidYouMean(name, r.c.OldColumns()))
			}
		}
		dropped[name] = true
	}
	if r.c.Sync == nil || len(dropped) == 0 {
		return
	}
	for _, name := range r.c.OldColumns() {
		if !dropped[name] {
			r.refuse("contract", fmt.Sprintf("column %q of the old form is not dropped, so the sync could not end", name), "drop each column under sync.backward, or none")
		}
	}
}

func (r *reviewer) sync() {
	if r.c.Sync == nil {
		return
	}
	added := map[string]bool{}
	for _, a := range r.c.Added() {
		added[a.Name] = true
	}
	for _, name := range r.c.NewColumns() {
		if !added[name] {
			r.refuse("sync.forward."+name, fmt.Sprintf("column %q is not added by this change", name), "add it under expand, so that it is empty where no one wrote it")
		}
		if _, both := r.c.Sync.Backward[name]; both {
			r.refuse("sync.backward."+name, fmt.Sprintf("column %q is on both sides", name), "")
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
		at := path + "." + name
		if !r.column(at, name) || !r.text(at, mapping[name]) || !r.grammar || err != nil {
			continue
		}
		for _, problem := range checkExpression(mapping[name], table, reads) {
			r.refuse(at, fmt.Sprintf("%s: %s", at, problem.message), problem.suggestion(which, reads))
		}
	}
}

func (r *reviewer) verify() {
	if r.c.Verify.LossyMax < 0 {
		r.refuse("verify.lossy_max", fmt.Sprintf("verify.lossy_max: expected 0 or more, observed %d", r.c.Verify.LossyMax), "")
	}
	names := map[string]bool{}
	for i, check := range r.c.Verify.Checks {
		path := fmt.Sprintf("verify.checks[%d]", i)
		if r.doc.Has(path+".name") && r.text(path+".name", check.Name) {
			if names[check.Name] {
				r.refuse(path+".name", fmt.Sprintf("two checks are called %q", check.Name), "")
			}
			names[check.Name] = true
		}
		if r.doc.Has(path+".sql") && r.text(path+".sql", check.SQL) && r.grammar {
			if err := checkQuery(check.SQL); err != nil {
				r.refuse(path+".sql", fmt.Sprintf("%s.sql: %v", path, err), "give one SELECT of one number, such as select count(*) from ... where ...")
			}
		}
	}
}

// maxName is the longest name that PostgreSQL keeps whole.
const maxName = 63

// column tells whether name can be a column's or an index's.
func (r *reviewer) column(path, name string) bool {
	if name == "" || len(name) > maxName {
		r.refuse(path, fmt.Sprintf("the name %q has %d bytes, PostgreSQL allows 1 to %d", name, len(name), maxName), "")
		return false
	}
	return true
}

func (r *reviewer) text(path, text string) bool {
	if strings.TrimSpace(text) == "" {
		r.refuse(path, path+": expected text, observed nothing", "")
		return false
	}
	return true
}

func quote(name string) string { return fmt.Sprintf("%q", name) }
