package change

import "slices"

// The kinds of step of the way back of contract.
const (
	Unhide   StepKind = "unhide"    // gives hidden columns their names again
	Return   StepKind = "return"    // begins the way back of contract
	Readd    StepKind = "readd"     // the old columns, empty, with the triggers that keep both forms in step
	Refill   StepKind = "refill"    // the old form of every row, out of the archive where it still holds
	Rebuild  StepKind = "rebuild"   // indexes and constraints that went with the columns
	TakeBack StepKind = "take_back" // one operation of contract
	Returned StepKind = "returned"  // verifies; ends the way back
)

// PartRestore is the way back of contract.
const PartRestore Part = "restore"

// RestoreSteps are the steps that bring back what contract dropped, from
// contracted to expanded: its own steps, the last first. None for a change
// without a contract.
func RestoreSteps(c Change) []Step {
	done := ContractSteps(c)
	if len(done) == 0 {
		return nil
	}
	steps := []Step{step(PartRestore, Return)}
	if len(c.Dropped()) > 0 {
		steps = append(steps, step(PartRestore, Readd), step(PartRestore, Refill), step(PartRestore, Rebuild))
	}
	for _, st := range slices.Backward(done) {
		if st.Kind == Operate {
			steps = append(steps, Step{ID: string(TakeBack) + "/" + st.ID, Kind: TakeBack, Part: PartRestore, Operation: st.Operation})
		}
	}
	return append(steps, step(PartRestore, Returned))
}

// UnhideSteps are the steps that bring back what contract hides and has not
// dropped, from hidden to expanded.
func UnhideSteps(c Change) []Step {
	if len(c.Dropped()) == 0 || c.HideFor == 0 {
		return nil
	}
	return []Step{step(PartRestore, Unhide)}
}
