package lint

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/gapless-deploy/gapless/internal/grammar"
)

// Stage is when SQL runs.
type Stage string

const (
	// Expand is while the running revision still uses the old form.
	Expand Stage = "expand"
	// Contract is when nothing uses the old form any more.
	Contract Stage = "contract"
)

// Level says how much a finding matters.
type Level string

const (
	// Refused breaks the running revision, takes a dangerous lock, rewrites a
	// table, or cannot be run at all.
	Refused Level = "refused"
	// NeedsReview is what cannot be known from the text.
	NeedsReview Level = "needs_review"
	// Warning is worth knowing and stops nothing.
	Warning Level = "warning"
	// Allowed would be one of the others, had a comment in the text not allowed it.
	Allowed Level = "allowed"
)

// Finding is one thing that a statement does.
type Finding struct {
	// Offset is where it stands in the text, in bytes; Line and Column are the
	// same place, from 1, in characters.
	Offset int `json:"-"`
	Line   int `json:"line"`
	Column int `json:"column"`

	Rule       string `json:"rule"` // the name of a Rule
	Level      Level  `json:"level"`
	Message    string `json:"message"`
	Suggestion string `json:"suggestion,omitempty"` // may be empty
	Reason     string `json:"reason,omitempty"`     // why it is allowed, as the text says
}

// Stands reports whether a finding keeps the text from being clean.
func (f Finding) Stands() bool { return f.Level == Refused || f.Level == NeedsReview }

// Review reads a file of SQL that is run statement by statement, but for what
// stands between BEGIN and COMMIT. Findings come in the order of the text; a text
// is clean where none of them Stands.
func Review(sql string, in Stage) []Finding { return review(sql, in, false) }

// ReviewOperation reads the SQL of a change file's operation. Gapless runs each
// statement in a transaction of its own: what it does itself, or has an operation
// for, is refused.
func ReviewOperation(sql string, in Stage) []Finding { return review(sql, in, true) }

func review(sql string, in Stage, operation bool) []Finding {
	text := grammar.Read(sql)
	r := &reviewer{
		text: text, stage: in, operation: operation, made: newMade(),
		at: func(offset int) int { return offset }, report: &report{},
	}
	r.statements()
	if r.tx.open {
		r.find(unbalanced, r.tx.at, "BEGIN without COMMIT: whoever runs this may roll it back, or leave it open with its locks", "end the transaction")
	}
	findings := allow(text, r.report.findings)
	for i := range findings {
		f := &findings[i]
		f.Offset = min(max(f.Offset, 0), len(sql))
		f.Line, f.Column = grammar.Position(sql, f.Offset)
	}
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Rule, b.Rule))
	})
	return slices.Compact(findings)
}

// report gathers the findings of a text and of the bodies in it.
type report struct{ findings []Finding }

// scope is what a statement is part of.
type scope int

const (
	script   scope = iota
	block          // a DO block, which runs at once
	function       // which runs when it is called
)

// reviewer reads one text: the whole one, or that of a body in it.
type reviewer struct {
	text      grammar.Text
	stage     Stage
	operation bool
	scope     scope
	within    string        // names the body that is read, for messages
	at        func(int) int // the place in the whole text of an offset in this one
	made      made
	tx        transaction
	report    *report
}

// find notes a finding at an offset in the text that is read, unless its rule
// does not hold in this stage.
func (r *reviewer) find(rule string, offset int, message, suggestion string) {
	known, ok := ruleOf(rule)
	if !ok || r.stage == Contract && !known.Contract {
		return
	}
	if r.within != "" {
		message = fmt.Sprintf("%s: %s", r.within, message)
	}
	r.report.findings = append(r.report.findings, Finding{
		Offset: r.at(offset), Rule: rule, Level: known.Level, Message: message, Suggestion: suggestion,
	})
}

// transaction is what is known of the one that is open.
type transaction struct {
	open   bool
	at     int // where it began
	locked string
	line   int // where locked was locked
}
