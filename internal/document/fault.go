package document

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing wrong with a file, at a place a reader can go to.
type Fault struct {
	File       string // as given to Parse
	Line       int    // from 1
	Column     int    // from 1, in characters
	Path       string // the key it concerns, such as strategy.canary.steps[2]; empty for the whole file
	Message    string // what is wrong: observed against allowed
	Suggestion string // what to write instead; may be empty
}

// Error is the fault on one line: file:line:column: message; suggestion.
func (f Fault) Error() string {
	text := fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
	if f.Suggestion != "" {
		text += "; " + f.Suggestion
	}
	return text
}

// Faults are all the faults found in one reading.
type Faults []Fault

// Error has one line for each fault, in the order of their positions.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs.sorted() {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Err is nil when there is no fault, and otherwise the faults in the order of
// their positions.
func (fs Faults) Err() error {
	if len(fs) == 0 {
		return nil
	}
	return fs.sorted()
}

func (fs Faults) sorted() Faults {
	sorted := slices.Clone(fs)
	slices.SortStableFunc(sorted, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return sorted
}

// FaultsOf gives all the faults inside err, wrapped or joined as they may be, or
// none if it is about something else.
func FaultsOf(err error) Faults {
	switch e := err.(type) { //nolint:errorlint // it unwraps by itself, to follow every branch
	case nil:
		return nil
	case Faults:
		return e
	case Fault:
		return Faults{e}
	case interface{ Unwrap() error }:
		return FaultsOf(e.Unwrap())
	case interface{ Unwrap() []error }:
		var faults Faults
		for _, branch := range e.Unwrap() {
			faults = append(faults, FaultsOf(branch)...)
		}
		return faults
	default:
		return nil
	}
}
