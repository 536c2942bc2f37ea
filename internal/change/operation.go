package change

import (
	"slices"
	"strings"
)

// Operation is one of its fields.
type Operation struct {
	AddColumn    *AddColumn    `yaml:"add_column" json:"add_column,omitempty" jsonschema:"description=Add a column; expand only"`
	RenameColumn *RenameColumn `yaml:"rename_column" json:"rename_column,omitempty" jsonschema:"description=Add a column that holds the same\\, keep both in step\\, and drop the old one at contract; expand only"`
	ChangeType   *RetypeColumn `yaml:"change_type" json:"change_type,omitempty" jsonschema:"description=Add a column of another type\\, keep both in step\\, and drop the old one at contract; expand only"`
	DropColumn   string        `yaml:"drop_column" json:"drop_column,omitempty" jsonschema:"description=Archive a column and drop it; contract only"`
	SetNotNull   *SetNotNull   `yaml:"set_not_null" json:"set_not_null,omitempty" jsonschema:"description=Let a column take NULL no longer; contract only"`
	DropNotNull  *DropNotNull  `yaml:"drop_not_null" json:"drop_not_null,omitempty" jsonschema:"description=Let a column take NULL; expand\\, with a reason"`
	SetDefault   *SetDefault   `yaml:"set_default" json:"set_default,omitempty" jsonschema:"description=Give a column a default for rows to come"`
	DropDefault  string        `yaml:"drop_default" json:"drop_default,omitempty" jsonschema:"description=Take a column's default away; contract only"`

	AddCheck       *AddCheck       `yaml:"add_check" json:"add_check,omitempty" jsonschema:"description=Add a check constraint; contract\\, or expand on new columns that only the new revision writes"`
	AddUnique      *AddUnique      `yaml:"add_unique" json:"add_unique,omitempty" jsonschema:"description=Add a unique constraint; contract\\, or expand on new columns that only the new revision writes"`
	AddForeignKey  *AddForeignKey  `yaml:"add_foreign_key" json:"add_foreign_key,omitempty" jsonschema:"description=Add a foreign key; contract\\, or expand on new columns that only the new revision writes"`
	DropConstraint *DropConstraint `yaml:"drop_constraint" json:"drop_constraint,omitempty" jsonschema:"description=Drop a check\\, unique or foreign key constraint; contract\\, or expand with a reason"`
	CreateIndex    *CreateIndex    `yaml:"create_index" json:"create_index,omitempty" jsonschema:"description=Build an index without blocking writers; expand\\, a unique one as add_unique"`
	DropIndex      string          `yaml:"drop_index" json:"drop_index,omitempty" jsonschema:"description=Drop an index without blocking writers; contract only"`

	CreateTable *CreateTable `yaml:"create_table" json:"create_table,omitempty" jsonschema:"description=Create the change's table; expand only"`
	RenameTable *RenameTable `yaml:"rename_table" json:"rename_table,omitempty" jsonschema:"description=Rename the change's table\\, with a view under its old name until contract; expand only\\, and the only operation of its change"`
	DropTable   bool         `yaml:"drop_table" json:"drop_table,omitempty" jsonschema:"description=Take the change's table away into the archive; contract only"`

	CreateView   *View         `yaml:"create_view" json:"create_view,omitempty" jsonschema:"description=Create a view; expand only"`
	ReplaceView  *View         `yaml:"replace_view" json:"replace_view,omitempty" jsonschema:"description=Replace a view's query\\, which may only add columns at its end; expand only"`
	DropView     string        `yaml:"drop_view" json:"drop_view,omitempty" jsonschema:"description=Drop a view; contract only"`
	AddEnumValue *AddEnumValue `yaml:"add_enum_value" json:"add_enum_value,omitempty" jsonschema:"description=Add a value to an enum type; expand only; it cannot be taken back"`
	DropFunction string        `yaml:"drop_function" json:"drop_function,omitempty" jsonschema:"description=Drop a function\\, by name and types as in area(integer\\, integer); contract only"`
	DropSequence string        `yaml:"drop_sequence" json:"drop_sequence,omitempty" jsonschema:"description=Drop a sequence; contract only"`

	SQL *SQL `yaml:"sql" json:"sql,omitempty" jsonschema:"description=Plain SQL\\, for what no other operation does"`
}

// AddColumn adds a column that is there at once: what would rewrite the table is
// done in steps.
type AddColumn struct {
	Name string `yaml:"name,required" json:"name" jsonschema:"minLength=1,description=The column's exact name"`
	Type string `yaml:"type,required" json:"type" jsonschema:"minLength=1,description=Its type\\, as in SQL: text or numeric(10\\,2)"`
	// Default of a synced column counts only where sync gives nothing else.
	Default string `yaml:"default" json:"default,omitempty" jsonschema:"description=Its default\\, an SQL expression; one that gives another value each time is filled in row by row"`
	NotNull bool   `yaml:"not_null" json:"not_null,omitempty" jsonschema:"description=It takes no NULL; only with a default\\, and not under sync"`
	// Generated needs PostgreSQL 18: stored ones rewrite the table.
	Generated string `yaml:"generated" json:"generated,omitempty" jsonschema:"description=Computed from other columns whenever it is read (virtual); PostgreSQL 18 and newer"`

	// Like names the column whose type it has, in place of Type: what
	// rename_column stands for.
	Like string `yaml:"-" json:"-"`
}

// RenameColumn is short for adding a column like another, syncing both as they
// are, and dropping the old one at contract.
type RenameColumn struct {
	From string `yaml:"from,required" json:"from" jsonschema:"minLength=1,description=The column's name now"`
	To   string `yaml:"to,required" json:"to" jsonschema:"minLength=1,description=The name that the new revision uses"`
}

// RetypeColumn is short for adding a column of another type under another name,
// syncing both by casts, and dropping the old one at contract.
type RetypeColumn struct {
	Column string `yaml:"column,required" json:"column" jsonschema:"minLength=1,description=The column whose type is to change"`
	To     string `yaml:"to,required" json:"to" jsonschema:"minLength=1,description=The new column's name\\, which the new revision uses"`
	Type   string `yaml:"type,required" json:"type" jsonschema:"minLength=1,description=The new type\\, as in SQL"`
	Using  string `yaml:"using" json:"using,omitempty" jsonschema:"description=The new value from the old column; by default a cast"`
	Back   string `yaml:"back" json:"back,omitempty" jsonschema:"description=The old value from the new column; by default the new column\\, assigned"`
}

// SetNotNull lets a column take NULL no longer.
type SetNotNull struct {
	Column string `yaml:"column,required" json:"column" jsonschema:"minLength=1,description=The column's exact name"`
	Fill   string `yaml:"fill" json:"fill,omitempty" jsonschema:"description=What rows that have NULL get first\\, an SQL expression; without it there must be none"`
}

// DropNotNull lets a column take NULL, which its readers then meet.
type DropNotNull struct {
	Column  string `yaml:"column,required" json:"column" jsonschema:"minLength=1,description=The column's exact name"`
	Because string `yaml:"because,required" json:"because" jsonschema:"minLength=1,description=Why the running revision can read NULL in it"`
}

// SetDefault gives a column a default for rows to come.
type SetDefault struct {
	Column string `yaml:"column,required" json:"column" jsonschema:"minLength=1,description=The column's exact name"`
	Value  string `yaml:"value,required" json:"value" jsonschema:"minLength=1,description=An SQL expression"`
}

// AddCheck adds a check constraint.
type AddCheck struct {
	Name       string `yaml:"name,required" json:"name" jsonschema:"minLength=1,description=The constraint's name"`
	Expression string `yaml:"expression,required" json:"expression" jsonschema:"minLength=1,description=What must be true of each row"`
}

// AddUnique adds a unique constraint.
type AddUnique struct {
	Name    string   `yaml:"name,required" json:"name" jsonschema:"minLength=1,description=The constraint's name"`
	Columns []string `yaml:"columns,required" json:"columns" jsonschema:"minItems=1,description=The columns' exact names\\, in order"`
}

// AddForeignKey adds a foreign key.
type AddForeignKey struct {
	Name       string     `yaml:"name,required" json:"name" jsonschema:"minLength=1,description=The constraint's name"`
	Columns    []string   `yaml:"columns,required" json:"columns" jsonschema:"minItems=1,description=The columns' exact names\\, in order"`
	References References `yaml:"references,required" json:"references" jsonschema:"description=What they refer to"`
	OnDelete   string     `yaml:"on_delete" json:"on_delete,omitempty" jsonschema:"enum=no action,enum=restrict,enum=cascade,enum=set null,enum=set default,description=What becomes of the row when the one that it refers to is deleted"`
	OnUpdate   string     `yaml:"on_update" json:"on_update,omitempty" jsonschema:"enum=no action,enum=restrict,enum=cascade,enum=set null,enum=set default,description=What becomes of the row when the key that it refers to changes"`
}

// References is the far end of a foreign key.
type References struct {
	Table   string   `yaml:"table,required" json:"table" jsonschema:"minLength=1,description=The table's exact name"`
	Columns []string `yaml:"columns,required" json:"columns" jsonschema:"minItems=1,description=Its columns' exact names\\, in order"`
}

// DropConstraint drops a constraint of the change's table.
type DropConstraint struct {
	Name string `yaml:"name,required" json:"name" jsonschema:"minLength=1,description=The constraint's name"`
	// Because is asked for in expand only.
	Because string `yaml:"because" json:"because,omitempty" jsonschema:"description=In expand: why the running revision can do without it"`
}

// CreateIndex builds an index after the backfill.
type CreateIndex struct {
	Name    string   `yaml:"name" json:"name,omitempty" jsonschema:"description=The index's name; by default the table's and the columns' names with idx"`
	Columns []string `yaml:"columns" json:"columns,omitempty" jsonschema:"minItems=1,description=The columns' exact names\\, in order; or give on"`
	On      []string `yaml:"on" json:"on,omitempty" jsonschema:"minItems=1,description=What is indexed as in SQL: lower(email) or created_at desc nulls last; needs a name"`
	Unique  bool     `yaml:"unique" json:"unique,omitempty" jsonschema:"description=No two rows may have the same"`
	Where   string   `yaml:"where" json:"where,omitempty" jsonschema:"description=Which rows are in it\\, an SQL condition"`
	Include []string `yaml:"include" json:"include,omitempty" jsonschema:"description=Columns that it only carries"`
	Method  string   `yaml:"method" json:"method,omitempty" jsonschema:"enum=btree,enum=hash,enum=gin,enum=gist,enum=spgist,enum=brin,description=Its kind; by default btree"`
}

// CreateTable creates the change's table.
type CreateTable struct {
	Columns     []TableColumn   `yaml:"columns,required" json:"columns" jsonschema:"minItems=1,description=Its columns\\, in order"`
	PrimaryKey  []string        `yaml:"primary_key" json:"primary_key,omitempty" jsonschema:"description=The primary key's columns"`
	Checks      []AddCheck      `yaml:"checks" json:"checks,omitempty" jsonschema:"description=Its check constraints"`
	Unique      []AddUnique     `yaml:"unique" json:"unique,omitempty" jsonschema:"description=Its unique constraints"`
	ForeignKeys []AddForeignKey `yaml:"foreign_keys" json:"foreign_keys,omitempty" jsonschema:"description=Its foreign keys"`
}

// TableColumn is a column of a new table.
type TableColumn struct {
	Name      string `yaml:"name,required" json:"name" jsonschema:"minLength=1,description=The column's exact name"`
	Type      string `yaml:"type,required" json:"type" jsonschema:"minLength=1,description=Its type\\, as in SQL"`
	Default   string `yaml:"default" json:"default,omitempty" jsonschema:"description=Its default\\, an SQL expression"`
	NotNull   bool   `yaml:"not_null" json:"not_null,omitempty" jsonschema:"description=It takes no NULL"`
	Identity  string `yaml:"identity" json:"identity,omitempty" jsonschema:"enum=always,enum=by default,description=Numbered by the database"`
	Generated string `yaml:"generated" json:"generated,omitempty" jsonschema:"description=Computed from other columns and stored\\, an SQL expression"`
}

// RenameTable renames the change's table within its schema.
type RenameTable struct {
	To string `yaml:"to,required" json:"to" jsonschema:"minLength=1,description=The name that the new revision uses"`
}

// View is a view with its query.
type View struct {
	Name  string `yaml:"name,required" json:"name" jsonschema:"minLength=1,description=The view's exact name\\, with its schema where that is not on the search path"`
	Query string `yaml:"query,required" json:"query" jsonschema:"minLength=1,description=One SELECT"`
}

// AddEnumValue adds a value to an enum type: before one, after one, or last.
type AddEnumValue struct {
	Type   string `yaml:"type,required" json:"type" jsonschema:"minLength=1,description=The type's exact name\\, with its schema where that is not on the search path"`
	Value  string `yaml:"value,required" json:"value" jsonschema:"minLength=1,description=The new value"`
	Before string `yaml:"before" json:"before,omitempty" jsonschema:"description=The value that it stands before"`
	After  string `yaml:"after" json:"after,omitempty" jsonschema:"description=The value that it stands after"`
}

// SQL is plain SQL. Each statement runs in a transaction of its own.
type SQL struct {
	Run  string `yaml:"run,required" json:"run" jsonschema:"minLength=1,description=The statements"`
	Undo string `yaml:"undo" json:"undo,omitempty" jsonschema:"description=The statements that take them back\\, or none where there is nothing to take back; expand needs it\\, contract only for restore"`
}

// NothingToUndo stands for SQL.Undo where there is nothing to take back.
const NothingToUndo = "none"

// OperationKind is an operation's key in a change file.
type OperationKind string

// The kinds of operation that steps are made of: rename_column and change_type
// are short for others.
const (
	OpAddColumn      OperationKind = "add_column"
	OpDropColumn     OperationKind = "drop_column"
	OpSetNotNull     OperationKind = "set_not_null"
	OpDropNotNull    OperationKind = "drop_not_null"
	OpSetDefault     OperationKind = "set_default"
	OpDropDefault    OperationKind = "drop_default"
	OpAddCheck       OperationKind = "add_check"
	OpAddUnique      OperationKind = "add_unique"
	OpAddForeignKey  OperationKind = "add_foreign_key"
	OpDropConstraint OperationKind = "drop_constraint"
	OpCreateIndex    OperationKind = "create_index"
	OpDropIndex      OperationKind = "drop_index"
	OpCreateTable    OperationKind = "create_table"
	OpRenameTable    OperationKind = "rename_table"
	OpDropTable      OperationKind = "drop_table"
	OpCreateView     OperationKind = "create_view"
	OpReplaceView    OperationKind = "replace_view"
	OpDropView       OperationKind = "drop_view"
	OpAddEnumValue   OperationKind = "add_enum_value"
	OpDropFunction   OperationKind = "drop_function"
	OpDropSequence   OperationKind = "drop_sequence"
	OpSQL            OperationKind = "sql"

	opRenameColumn OperationKind = "rename_column"
	opChangeType   OperationKind = "change_type"
)

// given is an operation's field that is set: its kind, what names it among
// those of its kind, and the columns of the change's table that it is about.
type given struct {
	kind    OperationKind
	name    string
	columns []string
}

// given are the fields that are set: one, in an operation that was understood.
func (o Operation) given() []given {
	return slices.Concat(o.givenColumns(), o.givenConstraints(), o.givenTables(), o.givenObjects())
}

func (o Operation) givenColumns() (all []given) {
	add := func(kind OperationKind, name string, columns ...string) {
		all = append(all, given{kind, name, columns})
	}
	if a := o.AddColumn; a != nil {
		add(OpAddColumn, a.Name, a.Name)
	}
	if a := o.RenameColumn; a != nil {
		add(opRenameColumn, a.From, a.From, a.To)
	}
	if a := o.ChangeType; a != nil {
		add(opChangeType, a.Column, a.Column, a.To)
	}
	if o.DropColumn != "" {
		add(OpDropColumn, o.DropColumn, o.DropColumn)
	}
	if a := o.SetNotNull; a != nil {
		add(OpSetNotNull, a.Column, a.Column)
	}
	if a := o.DropNotNull; a != nil {
		add(OpDropNotNull, a.Column, a.Column)
	}
	if a := o.SetDefault; a != nil {
		add(OpSetDefault, a.Column, a.Column)
	}
	if o.DropDefault != "" {
		add(OpDropDefault, o.DropDefault, o.DropDefault)
	}
	return all
}

func (o Operation) givenConstraints() (all []given) {
	add := func(kind OperationKind, name string, columns ...string) {
		all = append(all, given{kind, name, columns})
	}
	if a := o.AddCheck; a != nil {
		add(OpAddCheck, a.Name)
	}
	if a := o.AddUnique; a != nil {
		add(OpAddUnique, a.Name, a.Columns...)
	}
	if a := o.AddForeignKey; a != nil {
		add(OpAddForeignKey, a.Name, a.Columns...)
	}
	if a := o.DropConstraint; a != nil {
		add(OpDropConstraint, a.Name)
	}
	if a := o.CreateIndex; a != nil {
		add(OpCreateIndex, a.key(), slices.Concat(a.Columns, a.Include)...)
	}
	if o.DropIndex != "" {
		add(OpDropIndex, o.DropIndex)
	}
	return all
}

func (o Operation) givenTables() (all []given) {
	if o.CreateTable != nil {
		all = append(all, given{OpCreateTable, "", []string{whole}})
	}
	if o.RenameTable != nil {
		all = append(all, given{OpRenameTable, "", []string{whole}})
	}
	if o.DropTable {
		all = append(all, given{OpDropTable, "", []string{whole}})
	}
	return all
}

func (o Operation) givenObjects() (all []given) {
	add := func(kind OperationKind, name string) { all = append(all, given{kind: kind, name: name}) }
	if o.CreateView != nil {
		add(OpCreateView, o.CreateView.Name)
	}
	if o.ReplaceView != nil {
		add(OpReplaceView, o.ReplaceView.Name)
	}
	if o.DropView != "" {
		add(OpDropView, o.DropView)
	}
	if a := o.AddEnumValue; a != nil {
		add(OpAddEnumValue, a.Type+"."+a.Value)
	}
	if o.DropFunction != "" {
		add(OpDropFunction, o.DropFunction)
	}
	if o.DropSequence != "" {
		add(OpDropSequence, o.DropSequence)
	}
	if o.SQL != nil {
		add(OpSQL, "")
	}
	return all
}

// Kind is the operation's kind; empty for one that is not understood.
func (o Operation) Kind() OperationKind {
	if all := o.given(); len(all) == 1 {
		return all[0].kind
	}
	return ""
}

// Name tells the operation from others of its kind, where it has a name.
func (o Operation) Name() string {
	if all := o.given(); len(all) == 1 {
		return all[0].name
	}
	return ""
}

// columns are those of the change's table that it is about.
func (o Operation) columns() []string {
	if all := o.given(); len(all) == 1 {
		return all[0].columns
	}
	return nil
}

func (i CreateIndex) key() string {
	if i.Name != "" {
		return i.Name
	}
	return strings.Join(i.Columns, ",")
}
