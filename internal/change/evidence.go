package change

import (
	"fmt"
	"strings"
	"time"
)

// Scope says what a verification covers.
type Scope string

const (
	// ScopeExpand is after expand: relation R everywhere, nothing unmapped, no
	// more lossy rows than allowed, the named checks.
	ScopeExpand Scope = "expand"
	// ScopeRelease is before a release goes on and before contract: as
	// ScopeExpand without the lossy rows, which are by then the candidate's own.
	ScopeRelease Scope = "release"
)

// Progress is how far a long step has come.
type Progress struct {
	Step  string
	Done  int64         // rows
	Total int64         // rows; 0 if not known
	Rate  float64       // rows a second
	ETA   time.Duration // 0 if not known
	Note  string        // what holds the step back, if anything does
	// Warning is told once, and is not about how far the step is.
	Warning string
}

// Evidence is what a step or a verification observed. It never holds a row's
// values: failing rows are named by their keys.
type Evidence struct {
	Step          string        `json:"step"`
	Rows          int64         `json:"rows,omitempty"` // looked at
	Seconds       float64       `json:"seconds,omitempty"`
	RowsPerSecond float64       `json:"rows_per_second,omitempty"`
	Unmapped      int64         `json:"unmapped,omitempty"`   // rows for which f raises
	Lossy         int64         `json:"lossy,omitempty"`      // rows whose g(f(old)) is not old
	Violations    int64         `json:"violations,omitempty"` // rows for which R does not hold
	Repaired      int64         `json:"repaired,omitempty"`   // rows the verification itself put right
	Kept          int64         `json:"kept,omitempty"`       // values set aside in gapless.kept
	Keys          []string      `json:"keys,omitempty"`       // of failing rows, a bounded number
	ArchiveTable  string        `json:"archive_table,omitempty"`
	ArchiveRows   int64         `json:"archive_rows,omitempty"`
	ArchiveSum    string        `json:"archive_checksum,omitempty"` // does not depend on the order of the rows
	Dropped       []string      `json:"dropped,omitempty"`          // what is gone, by kind and name
	Checks        []CheckResult `json:"checks,omitempty"`
	Detail        string        `json:"detail,omitempty"`
}

// CheckResult is one thing verified: observed against allowed.
type CheckResult struct {
	Name     string `json:"name"`
	Observed int64  `json:"observed"`
	Allowed  string `json:"allowed"` // "0", "at most 5"
	Passed   bool   `json:"passed"`
	Problem  string `json:"problem,omitempty"` // why it could not be answered
}

// Failed are the checks that did not pass.
func (e Evidence) Failed() []CheckResult {
	var failed []CheckResult
	for _, r := range e.Checks {
		if !r.Passed {
			failed = append(failed, r)
		}
	}
	return failed
}

// Passed tells whether everything that was verified is as it must be. Evidence
// of nothing has not passed.
func (e Evidence) Passed() bool { return len(e.Checks) > 0 && len(e.Failed()) == 0 }

// UnverifiedError is a verification that found the data not as it must be.
type UnverifiedError struct {
	Change   string
	Evidence Evidence
}

func (e *UnverifiedError) Error() string {
	var failed []string
	for _, r := range e.Evidence.Failed() {
		if r.Problem != "" {
			failed = append(failed, fmt.Sprintf("%s: %s", r.Name, r.Problem))
			continue
		}
		failed = append(failed, fmt.Sprintf("%s: %d, allowed %s", r.Name, r.Observed, r.Allowed))
	}
	text := strings.Join(failed, "; ")
	if len(e.Evidence.Keys) > 0 {
		text += fmt.Sprintf(" (rows with key %s)", strings.Join(e.Evidence.Keys, ", "))
	}
	return text
}

// Hint says what a person can do.
func (e *UnverifiedError) Hint() string {
	switch {
	case e.Evidence.Violations > 0:
		return "look at the rows named; something wrote them past the sync trigger"
	case e.Evidence.Unmapped > 0:
		return "make sync.forward accept these rows, or correct them, then run this again"
	case e.Evidence.Lossy > 0:
		return "take the change out of the schema with gapless rollback --schema revert; then correct sync so that backward gives back what forward read, or allow the loss with verify.lossy_max, and expand anew"
	}
	return "correct the data or the check, then run this again"
}
