package change

import (
	"slices"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Change is one schema change as its file gives it.
type Change struct {
	// ID names the change for good: its file's base name without extension.
	ID string `yaml:"-" json:"-"`
	// Digest is the SHA-256 of the file's bytes, in hex. A change that was
	// edited under an old name has another digest, and is refused.
	Digest string `yaml:"-" json:"-"`
	// Source is the file.
	Source rollout.File `yaml:"-" json:"-"`

	Name     string        `yaml:"name,required" json:"name" jsonschema:"minLength=1,description=What the change does\\, in a few words"`
	Table    string        `yaml:"table" json:"table,omitempty" jsonschema:"minLength=1,description=The table's exact name\\, with its schema where that is not on the search path: address or sales.address"`
	Expand   []Operation   `yaml:"expand" json:"expand,omitempty" jsonschema:"description=What is made ready for the new revision while the old one runs"`
	Sync     *Sync         `yaml:"sync" json:"sync,omitempty" jsonschema:"description=How the two forms of the data are kept in step"`
	Verify   Verify        `yaml:"verify" json:"verify,omitzero" jsonschema:"description=What must be true of the data"`
	Contract []Operation   `yaml:"contract" json:"contract,omitempty" jsonschema:"description=What is removed or tightened once nothing uses the old form"`
	QuietFor time.Duration `yaml:"quiet_for" json:"quiet_for,omitempty" jsonschema:"description=How long nothing may have used the old form before contract"`
	HideFor  time.Duration `yaml:"hide_for" json:"hide_for,omitempty" jsonschema:"description=How long contract hides the old columns before it drops them"`
	Archive  Archive       `yaml:"archive" json:"archive,omitzero" jsonschema:"description=What is kept of what contract drops"`
	Accept   Accept        `yaml:"accept" json:"accept,omitzero" jsonschema:"description=What a plan would hold for\\, each with the reason why it may go on"`
}

// Archive says how long what contract dropped is kept.
type Archive struct {
	Keep time.Duration `yaml:"keep" json:"keep,omitempty" jsonschema:"description=How long the archive of what contract dropped is kept"`
}

// Accept holds a person's reasons for going on where a plan would hold.
type Accept struct {
	Published string `yaml:"published" json:"published,omitempty" jsonschema:"description=The table is published: why its subscribers can take the new columns"`
	Triggers  string `yaml:"triggers" json:"triggers,omitempty" jsonschema:"description=Triggers of the application fire for the rows that the backfill fills: why they may"`
}

// Default is how long the old form must be quiet, and its archive is kept, where
// the file does not say.
func (c *Change) Default() { c.QuietFor, c.Archive.Keep = 24*time.Hour, 90*24*time.Hour }

// Sync holds f and g: an SQL expression for each column.
type Sync struct {
	Forward  map[string]string `yaml:"forward,required" json:"forward" jsonschema:"minProperties=1,description=Each new column from the old ones: what an old writer's row means to new readers"`
	Backward map[string]string `yaml:"backward,required" json:"backward" jsonschema:"minProperties=1,description=Each old column from the new ones: what a new writer's row means to old readers"`
}

// Verify says what must be true of the data.
type Verify struct {
	LossyMax int64   `yaml:"lossy_max" json:"lossy_max,omitempty" jsonschema:"minimum=0,description=How many rows may come back different after f and then g"`
	Checks   []Check `yaml:"checks" json:"checks,omitempty" jsonschema:"description=Queries with a known answer"`
}

// Check is a query that must give one number.
type Check struct {
	Name   string `yaml:"name,required" json:"name" jsonschema:"minLength=1,description=What it makes sure of"`
	SQL    string `yaml:"sql,required" json:"sql" jsonschema:"minLength=1,description=One query that gives one whole number"`
	Expect int64  `yaml:"expect" json:"expect" jsonschema:"description=The number it must give"`
}

// OldColumns are the columns of the old form, sorted by name.
func (c Change) OldColumns() []string {
	if c.Sync == nil {
		return nil
	}
	return sortedKeys(c.Sync.Backward)
}

// NewColumns are the columns of the new form, sorted by name.
func (c Change) NewColumns() []string {
	if c.Sync == nil {
		return nil
	}
	return sortedKeys(c.Sync.Forward)
}

// Added are the columns that expand adds, in the file's order.
func (c Change) Added() []AddColumn {
	var added []AddColumn
	for _, o := range c.Expand {
		if o.AddColumn != nil {
			added = append(added, *o.AddColumn)
		}
	}
	return added
}

// Dropped are the columns that contract drops, in the file's order.
func (c Change) Dropped() []string {
	var dropped []string
	for _, o := range c.Contract {
		if o.DropColumn != "" {
			dropped = append(dropped, o.DropColumn)
		}
	}
	return dropped
}

// Abandoned are the columns that contract drops and that have no new form.
func (c Change) Abandoned() []string {
	return slices.DeleteFunc(c.Dropped(), func(name string) bool { return slices.Contains(c.OldColumns(), name) })
}

// Shares are the columns that both changes hold on to, sorted by name; none
// where they are of different tables. An operation on the table as a whole
// shares every column, which is told as "*".
func (c Change) Shares(other Change) []string {
	if c.Table != other.Table || c.Table == "" {
		return nil
	}
	return Overlap(c.Columns(), other.Columns())
}

// Overlap are the columns of one table that are in both lists, in the order of
// the first; "*" where one of them has the table as a whole.
func Overlap(mine, theirs []string) []string {
	if len(mine) == 0 || len(theirs) == 0 {
		return nil
	}
	if slices.Contains(mine, whole) || slices.Contains(theirs, whole) {
		return []string{whole}
	}
	return slices.DeleteFunc(slices.Clone(mine), func(column string) bool { return !slices.Contains(theirs, column) })
}

// whole stands for every column of the table.
const whole = "*"

// Columns are those of the change's table that it adds, drops, keeps in step or
// lays a constraint or an index on, sorted by name; "*" for an operation on the
// table as a whole. Columns that only an SQL expression names are not among them.
func (c Change) Columns() []string {
	all := slices.Concat(c.OldColumns(), c.NewColumns())
	for _, o := range slices.Concat(c.Expand, c.Contract) {
		all = append(all, o.columns()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Taken are the columns of the change's table that contract drops, or lets take
// less than before, sorted by name; "*" where it takes the table, or where that
// cannot be told from the operation.
func (c Change) Taken() []string {
	var taken []string
	for _, o := range c.ContractOperations() {
		switch kind := o.Kind(); kind {
		case OpAddCheck, OpSQL, OpDropTable:
			taken = append(taken, whole)
		case OpDropView:
			if o.DropView == c.Table { // a renamed table's old name
				taken = append(taken, whole)
			}
		case OpDropColumn, OpSetNotNull, OpDropDefault, OpAddUnique, OpAddForeignKey:
			taken = append(taken, o.columns()...)
		default: // takes nothing away from who reads or writes the table
		}
	}
	slices.Sort(taken)
	return slices.Compact(taken)
}

// Adds are the columns of the change's table that expand adds, in the file's
// order; "*" where it makes the table, or its name.
func (c Change) Adds() []string {
	var added []string
	for _, o := range c.Expand {
		switch {
		case o.AddColumn != nil:
			added = append(added, o.AddColumn.Name)
		case o.CreateTable != nil, o.RenameTable != nil:
			return []string{whole}
		}
	}
	return added
}

// Ends reports whether something is still to come once the change is expanded:
// its contract, or the end of keeping two forms in step.
func (c Change) Ends() bool { return c.Contracts() || c.Sync != nil }

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Creates reports whether the change creates its table.
func (c Change) Creates() bool {
	return slices.ContainsFunc(c.Expand, func(o Operation) bool { return o.CreateTable != nil })
}
