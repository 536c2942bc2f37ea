package change

import (
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Inventory is what gapless has in a database.
type Inventory struct {
	Changes []Known // in the order in which they were begun
	Claims  []Claim // by service and table
}

// Change finds a change by its ID.
func (i Inventory) Change(id string) (Known, bool) {
	for _, k := range i.Changes {
		if k.ID == id {
			return k, true
		}
	}
	return Known{}, false
}

// Known is a change as a database has it.
type Known struct {
	ID, Digest string
	// Service is that whose release brought it.
	Service string
	State   rollout.ChangeState
	// Begun is when its expand was begun, Since when it came into that state.
	Begun, Since time.Time
	// Table is qualified and quoted; empty for a change without one, or whose
	// table is gone.
	Table string
	// Columns are those of Change.Columns.
	Columns []string
	// Ends is that of Change.Ends.
	Ends bool
	// Source is the file that it was begun with.
	Source rollout.File
}

// Open reports whether the change has not come to its end.
func (k Known) Open() bool {
	return k.State.Stands() && (k.Ends || k.State != rollout.Expanded)
}

// Use is what a service uses of a table.
type Use struct {
	Table string
	// Columns are their exact names; none is the whole table.
	Columns []string
}

// Claim is a service's word that it uses something.
type Claim struct {
	Service string
	// Table is qualified and quoted.
	Table string
	// Columns are those that it uses; none is the whole table.
	Columns []string
	// Rollout is the one that brought the claim.
	Rollout string
	Since   time.Time
}

// Takes are the columns of the claim's table, as Change.Columns has them.
func (c Claim) Takes() []string {
	if len(c.Columns) == 0 {
		return []string{whole}
	}
	return c.Columns
}

// Removed is what an uninstall took away, and what it left.
type Removed struct {
	// Gone names what is gone, by kind and name.
	Gone []string
	// Kept is the schema that holds what was kept; empty where there was nothing
	// to keep, or it was not to be.
	Kept string
}

// Columned says which columns of a table are meant, for people.
func Columned(columns []string, table string) string {
	if len(columns) == 0 || columns[0] == whole {
		return "table " + table
	}
	return "columns " + strings.Join(columns, ", ") + " of table " + table
}
