package change

import (
	"slices"
	"time"
)

// Change is one schema change as its file gives it.
type Change struct {
	// ID names the change for good: its file's base name without extension.
	ID string `yaml:"-" json:"-"`
	// Digest is the SHA-256 of the file's bytes, in hex. A change that was
	// edited under an old name has another digest, and is refused.
	Digest string `yaml:"-" json:"-"`

	Name     string        `yaml:"name,required" json:"name" jsonschema:"minLength=1,description=What the change does\\, in a few words"`
	Table    string        `yaml:"table,required" json:"table" jsonschema:"minLength=1,description=The table's exact name\\, with its schema where that is not on the search path: address or sales.address"`
	Expand   []Operation   `yaml:"expand,required" json:"expand" jsonschema:"minItems=1,description=What is added beside the old form"`
	Sync     *Sync         `yaml:"sync" json:"sync,omitempty" jsonschema:"description=How the two forms of the data are kept in step"`
	Verify   Verify        `yaml:"verify" json:"verify,omitzero" jsonschema:"description=What must be true of the data"`
	Contract []Operation   `yaml:"contract" json:"contract,omitempty" jsonschema:"description=What is removed once nothing uses the old form"`
	QuietFor time.Duration `yaml:"quiet_for" json:"quiet_for,omitempty" jsonschema:"description=How long nothing may have written the old form before contract"`
	HideFor  time.Duration `yaml:"hide_for" json:"hide_for,omitempty" jsonschema:"description=How long contract hides the old form before it drops it"`
}

// Default is how long the old form must be quiet where the file does not say.
func (c *Change) Default() { c.QuietFor = 24 * time.Hour }

// Operation is one of its fields.
type Operation struct {
	AddColumn   *AddColumn   `yaml:"add_column" json:"add_column,omitempty" jsonschema:"description=Add a column; expand only"`
	CreateIndex *CreateIndex `yaml:"create_index" json:"create_index,omitempty" jsonschema:"description=Build an index without blocking writers; expand only"`
	DropColumn  string       `yaml:"drop_column" json:"drop_column,omitempty" jsonschema:"description=Archive a column and drop it; contract only"`
}

// AddColumn adds a column without default, which takes NULL: the only kind that
// is there at once and that no writer of the old form can trip over.
type AddColumn struct {
	Name string `yaml:"name,required" json:"name" jsonschema:"minLength=1,description=The column's exact name"`
	Type string `yaml:"type,required" json:"type" jsonschema:"minLength=1,description=Its type\\, as in SQL: text or numeric(10\\,2)"`
}

// CreateIndex builds an index after the backfill.
type CreateIndex struct {
	Name    string   `yaml:"name" json:"name,omitempty" jsonschema:"description=The index's name; by default the table's and the columns' names with idx"`
	Columns []string `yaml:"columns,required" json:"columns" jsonschema:"minItems=1,description=The columns' exact names\\, in order"`
}

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

// Shares are the columns that both changes hold on to, sorted by name; none
// where they are of different tables.
func (c Change) Shares(other Change) []string {
	if c.Table != other.Table {
		return nil
	}
	var shared []string
	theirs := other.columns()
	for _, column := range append(c.columns(), c.indexed()...) {
		if slices.Contains(theirs, column) {
			shared = append(shared, column)
		}
	}
	slices.Sort(shared)
	return slices.Compact(shared)
}

// columns are those that the change adds, drops or keeps in step.
func (c Change) columns() []string {
	all := slices.Concat(c.OldColumns(), c.NewColumns(), c.Dropped())
	for _, added := range c.Added() {
		all = append(all, added.Name)
	}
	return all
}

func (c Change) indexed() []string {
	var all []string
	for _, o := range c.Expand {
		if o.CreateIndex != nil {
			all = append(all, o.CreateIndex.Columns...)
		}
	}
	return all
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
