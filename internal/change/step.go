package change

import (
	"fmt"
	"slices"
)

// StepKind says what a step does.
type StepKind string

// The kinds of step, in the order in which a change takes them.
const (
	Prepare     StepKind = "prepare"     // gapless's own schema, and the change's row in it
	AddColumns  StepKind = "add_columns" // all columns of the change, in one statement
	Synchronise StepKind = "sync"        // the trigger that keeps both forms in step
	Watch       StepKind = "watch"       // the triggers that note who writes what contract drops
	Backfill    StepKind = "backfill"    // the new form of the rows that were there before
	Fill        StepKind = "fill"        // a column's value in the rows that were there before
	Operate     StepKind = "operation"   // one operation, of any phase
	Verifying   StepKind = "verify"      // what must be true; ends expand

	Hide        StepKind = "hide"         // verifies again and renames the old columns, for as long as hide_for
	Begin       StepKind = "begin"        // verifies again and names what would be lost; begins contract
	DropIndexes StepKind = "drop_indexes" // those that would vanish with the columns
	ArchiveRows StepKind = "archive"      // copies what is dropped, and goes on capturing it
	Drop        StepKind = "drop"         // triggers and columns, in one transaction; ends contract
	Finish      StepKind = "finish"       // ends a contract that drops no column

	Turn     StepKind = "turn"     // begins the way back of expand
	Keep     StepKind = "keep"     // archives what the new form held
	Undo     StepKind = "undo"     // takes back one step of expand
	Reverted StepKind = "reverted" // ends the way back: nothing of the change is left
)

// Part is the part of a change's life that a step belongs to.
type Part string

// The parts.
const (
	PartExpand   Part = "expand"
	PartContract Part = "contract"
	PartRevert   Part = "revert"
)

// Step is a part of a change that is carried out, and repeated, as a whole.
type Step struct {
	ID   string // stable, and unique within the change
	Kind StepKind
	Part Part
	// Operation is that of Operate, of Fill and of an Undo of these.
	Operation Operation
	// Undoes is the kind of step that an Undo takes back.
	Undoes StepKind
}

func step(part Part, kind StepKind) Step { return Step{ID: string(kind), Kind: kind, Part: part} }

// operate is the step of one operation. Operations without a name are told
// apart by their place in the list.
func operate(part Part, i int, o Operation) Step {
	name := o.Name()
	if name == "" {
		name = fmt.Sprint(i + 1)
	}
	id := fmt.Sprintf("%s/%s", o.Kind(), name)
	if part != PartExpand {
		id = string(part) + "/" + id
	}
	return Step{ID: id, Kind: Operate, Part: part, Operation: o}
}

// ExpandSteps are the steps that make the schema serve both revisions: what is
// made before there is data in it, the data, and what is laid on it afterwards.
func ExpandSteps(c Change) []Step {
	steps := []Step{step(PartExpand, Prepare)}
	added := false
	var fills, late []Step
	for i, o := range c.Expand {
		switch kind := o.Kind(); {
		case kind == OpAddColumn:
			if !added {
				steps, added = append(steps, step(PartExpand, AddColumns)), true
			}
			if o.AddColumn.Default != "" && !slices.Contains(c.NewColumns(), o.AddColumn.Name) {
				fills = append(fills, Step{ID: string(Fill) + "/" + o.AddColumn.Name, Kind: Fill, Part: PartExpand, Operation: o})
			}
		case kind.late():
			late = append(late, operate(PartExpand, i, o))
		default:
			steps = append(steps, operate(PartExpand, i, o))
		}
	}
	if c.Sync != nil {
		steps = append(steps, step(PartExpand, Synchronise), step(PartExpand, Backfill))
	}
	if len(c.Abandoned()) > 0 {
		steps = append(steps, step(PartExpand, Watch))
	}
	return slices.Concat(steps, fills, late, []Step{step(PartExpand, Verifying)})
}

// late tells whether an operation is laid on data, and so comes after it.
func (k OperationKind) late() bool {
	return slices.Contains([]OperationKind{OpCreateIndex, OpAddCheck, OpAddUnique, OpAddForeignKey, OpSetNotNull}, k)
}

// ContractSteps are the steps that remove the old form; none for a change that
// leaves nothing to remove. What may find the data not as it must be comes
// before what cannot be taken back.
func ContractSteps(c Change) []Step {
	contract := c.ContractOperations()
	if len(contract) == 0 {
		return nil
	}
	columns := len(c.Dropped()) > 0
	var steps, drops []Step
	if columns && c.HideFor > 0 {
		steps = append(steps, step(PartContract, Hide))
	}
	steps = append(steps, step(PartContract, Begin))
	for i, o := range contract {
		switch kind := o.Kind(); {
		case kind == OpDropColumn:
		case kind.drops():
			drops = append(drops, operate(PartContract, i, o))
		default:
			steps = append(steps, operate(PartContract, i, o))
		}
	}
	steps = append(steps, drops...)
	if columns {
		return append(steps, step(PartContract, DropIndexes), step(PartContract, ArchiveRows), step(PartContract, Drop))
	}
	return append(steps, step(PartContract, Finish))
}

// ContractOperations are those that contract carries out: what the file says
// and, for a renamed table, dropping the view under its old name.
func (c Change) ContractOperations() []Operation {
	for _, o := range c.Expand {
		if o.RenameTable != nil {
			return append(slices.Clone(c.Contract), Operation{DropView: c.Table})
		}
	}
	return c.Contract
}

// Contracting names each operation of contract, as an approval is bound to it:
// the change, the kind, and what it is about; of plain SQL its text.
func (c Change) Contracting() []string {
	all := make([]string, 0, len(c.Contract))
	for _, o := range c.ContractOperations() {
		name := o.Name()
		switch {
		case o.SQL != nil:
			name = o.SQL.Run
		case o.DropTable:
			name = c.Table
		}
		all = append(all, fmt.Sprintf("%s: %s %s", c.ID, o.Kind(), name))
	}
	return all
}

// Contracts reports whether the change has a contract.
func (c Change) Contracts() bool { return len(c.ContractOperations()) > 0 }

// drops tells whether an operation removes something for good.
func (k OperationKind) drops() bool {
	return slices.Contains([]OperationKind{OpDropIndex, OpDropTable, OpDropView, OpDropFunction, OpDropSequence, OpDropConstraint}, k)
}

// RevertSteps are the steps that take expand back, from wherever it stopped:
// its own steps, the last first.
func RevertSteps(c Change) []Step {
	steps := []Step{step(PartRevert, Turn), step(PartRevert, Keep)}
	done := ExpandSteps(c)
	for _, st := range slices.Backward(done) {
		switch st.Kind {
		case AddColumns, Synchronise, Watch, Operate:
			steps = append(steps, Step{ID: string(Undo) + "/" + st.ID, Kind: Undo, Part: PartRevert, Operation: st.Operation, Undoes: st.Kind})
		default: // leaves nothing of its own behind
		}
	}
	return append(steps, step(PartRevert, Reverted))
}
