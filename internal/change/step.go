package change

import "strings"

// StepKind says what a step does.
type StepKind string

// The kinds of step, in the order in which a change takes them.
const (
	Prepare     StepKind = "prepare"      // gapless's own schema, and the change's row in it
	AddColumns  StepKind = "add_columns"  // all columns of the change, in one statement
	Synchronise StepKind = "sync"         // the trigger that keeps both forms in step
	Backfill    StepKind = "backfill"     // the new form of the rows that were there before
	BuildIndex  StepKind = "create_index" // concurrently, after the backfill
	Verifying   StepKind = "verify"       // what must be true; ends expand

	Begin       StepKind = "begin"        // verifies again and names what would be lost; begins contract
	DropIndexes StepKind = "drop_indexes" // those that would vanish with the columns
	Archive     StepKind = "archive"      // copies what is dropped, and goes on capturing it
	Drop        StepKind = "drop"         // triggers and columns, in one transaction; ends contract
)

// Step is a part of a change that is carried out, and repeated, as a whole.
type Step struct {
	ID    string // stable, and unique within the change
	Kind  StepKind
	Index *CreateIndex // for BuildIndex
}

// ExpandSteps are the steps that make the schema serve both revisions.
func ExpandSteps(c Change) []Step {
	steps := []Step{{ID: string(Prepare), Kind: Prepare}}
	if len(c.Added()) > 0 {
		steps = append(steps, Step{ID: string(AddColumns), Kind: AddColumns})
	}
	if c.Sync != nil {
		steps = append(steps,
			Step{ID: string(Synchronise), Kind: Synchronise},
			Step{ID: string(Backfill), Kind: Backfill})
	}
	for _, o := range c.Expand {
		if o.CreateIndex != nil {
			id := string(BuildIndex) + "/" + o.CreateIndex.key()
			steps = append(steps, Step{ID: id, Kind: BuildIndex, Index: o.CreateIndex})
		}
	}
	return append(steps, Step{ID: string(Verifying), Kind: Verifying})
}

// ContractSteps are the steps that remove the old form; none for a change that
// leaves nothing to remove.
func ContractSteps(c Change) []Step {
	if len(c.Contract) == 0 {
		return nil
	}
	return []Step{
		{ID: string(Begin), Kind: Begin},
		{ID: string(DropIndexes), Kind: DropIndexes},
		{ID: string(Archive), Kind: Archive},
		{ID: string(Drop), Kind: Drop},
	}
}

func (i CreateIndex) key() string {
	if i.Name != "" {
		return i.Name
	}
	return strings.Join(i.Columns, ",")
}
