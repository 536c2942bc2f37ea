package change

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/document"
	"github.com/gapless-deploy/gapless/internal/lint"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Parse reads a change file. The error is document.Faults: everything that is
// wrong with it, each in its place, the SQL in it read with PostgreSQL's own
// grammar. The grammar takes a second or two to load the first time.
func Parse(file string, data []byte) (Change, error) {
	c, findings, err := Lint(file, data)
	faults := document.FaultsOf(err)
	for _, f := range findings {
		if f.Stands() {
			faults = append(faults, document.Fault{File: file, Line: f.Line, Column: f.Column, Message: f.Rule + ": " + f.Message, Suggestion: f.Suggestion})
		}
	}
	if err := faults.Err(); err != nil {
		return Change{}, err
	}
	return c, nil
}

// Lint reads a change file as Parse does, and gives apart what is to be said of
// the plain SQL in it, at its place in the file.
func Lint(file string, data []byte) (Change, []lint.Finding, error) {
	r, err := parse(file, data, true)
	return r.c, r.findings, err
}

// Accepted reads a change that Parse has accepted before, such as a record's
// copy of it, without loading the grammar.
func Accepted(file string, data []byte) (Change, error) {
	r, err := parse(file, data, false)
	if err != nil {
		return Change{}, err
	}
	return r.c, nil
}

func parse(file string, data []byte, grammar bool) (reviewer, error) {
	doc, err := document.Parse(file, data)
	if err != nil {
		return reviewer{}, err
	}
	var c Change
	faults := document.FaultsOf(doc.Decode(&c))
	base := filepath.Base(file)
	c.ID = strings.TrimSuffix(base, filepath.Ext(base))
	sum := sha256.Sum256(data)
	c.Digest = hex.EncodeToString(sum[:])
	c.Source = rollout.File{Name: file, Data: data}

	r := reviewer{doc: doc, c: c, grammar: grammar, paths: map[string]string{}}
	r.identity()
	r.operations()
	r.sync()
	r.contract()
	r.verify()
	return r, append(faults, r.faults...).Err()
}

// reviewer finds what is wrong with a change whose form is right.
type reviewer struct {
	doc     *document.Document
	c       Change // short forms are written out on the way
	grammar bool
	faults  document.Faults
	// findings are lint's of the plain SQL.
	findings []lint.Finding
	// paths tells where an entry of sync stands that a short form brought.
	paths map[string]string
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
	for _, d := range []struct {
		path string
		at   time.Duration
	}{{"quiet_for", r.c.QuietFor}, {"hide_for", r.c.HideFor}, {"archive.keep", r.c.Archive.Keep}} {
		if d.at < 0 {
			r.refuse(d.path, fmt.Sprintf("%s: expected 0 or more, observed %s", d.path, document.FormatDuration(d.at)), "")
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
