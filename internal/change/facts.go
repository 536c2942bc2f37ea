package change

import (
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Facts is what a database tells about a change before anything is done.
type Facts struct {
	ServerVersion string
	Table         string // qualified and quoted
	Key           []string
	Rows          int64 // estimated
	Bytes         int64 // of the table without indexes
	Columns       []Column
	Indexes       []Dependent
	// StructureDigest is the SHA-256, in hex, of what the table consists of
	// (columns, indexes, constraints, triggers) and gapless did not add.
	StructureDigest string
	// Dependents are what hangs on the columns that contract drops.
	Dependents []Dependent
	Triggers   []string // of the application, on the table
	Published  []string // publications the table is in
	// Backfill is how long the backfill would take at the rate of a sample, 0
	// if not known.
	Backfill time.Duration
	Warnings []string
	// Refusals say why the change cannot be made; none if it can.
	Refusals []string
	// State and Digest are of the change of this name in this database. The
	// digest is empty for one that is absent.
	State  rollout.ChangeState
	Digest string
	// HiddenAt is when contract hid the old columns; zero if they are not
	// hidden.
	HiddenAt time.Time
	// Others are changes of this database that have not ended and hold columns
	// that this one is about. Their columns are those that both hold.
	Others []Known
	// Claims are those on what contract takes away, by any service. Their columns
	// are those that it takes.
	Claims []Claim
}

// Column is one column of the table.
type Column struct {
	Name, Type string
	Default    string // an expression, empty for none
	NotNull    bool
}

// Dependent is an object that depends on a column.
type Dependent struct {
	Kind       string // index, view, function, constraint, ...
	Name       string // qualified and quoted
	Definition string // what would create it again
	// Fate says what contract does with it.
	Fate Fate
}

// Fate is what happens to a dependent.
type Fate string

// The fates of a dependent.
const (
	Stays   Fate = "stays"   // not touched
	Dropped Fate = "dropped" // its definition is archived and it goes with the column
	Blocks  Fate = "blocks"  // contract is refused while it is there
)

// Usage tells whether the old form is still in use.
type Usage struct {
	// Quiet tells that nothing readable used the old form for quiet_for.
	Quiet bool
	// QuietSince is the latest time at which it may have been used.
	QuietSince  time.Time
	LastWriters []Writer
	// Statements name an old column and may have run within quiet_for; without
	// their values.
	Statements []string
	// Unknown are the signals that could not be read: they hold, too.
	Unknown []string
}

// Writer wrote the old form.
type Writer struct {
	Role, Application string
	At                time.Time // of its last write that was noted
}
