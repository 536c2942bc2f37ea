// Package report turns what is recorded and observed into pages for people: a
// comment on a pull request, and the same on a terminal.
//
// It is pure: the same input gives the same bytes. A page holds plain text
// only; its two forms, Markdown and terminal, each escape all of it in one
// place, since names, reasons and errors come from outside.
package report

// Page is a report before it takes a form: what is published.
type Page struct {
	marker string
	title  string
	mood   mood
	facts  []fact
	parts  []part
}

// mood says how urgent a page is.
type mood int

const (
	calm   mood = iota // nothing is asked, or the next step is
	held               // it waits, or went back: look when you can
	urgent             // a person is needed now
)

// fact is one of the lines that answer first.
type fact struct {
	label string
	value text
}

// part is a section below the facts.
type part struct {
	heading string
	table   *table
	// paste is one line to be copied whole, between heading and lines.
	paste string
	lines []text
	// charts stand alone in their part, which has no other form than Markdown.
	charts *charts
}

// table has a head and rows of as many cells.
type table struct {
	head []string
	// right is set for columns of numbers.
	right []bool
	rows  [][]text
	// newest keeps the last rows, not the first, when there are too many.
	newest bool
}

func (p *Page) fact(label string, value text) {
	if value.terminal() != "" {
		p.facts = append(p.facts, fact{label, value})
	}
}

func (p *Page) part(add part) {
	if add.charts != nil || len(add.lines) > 0 || add.table != nil && len(add.table.rows) > 0 {
		p.parts = append(p.parts, add)
	}
}

// limits bound a page whose form has a greatest length.
type limits struct {
	rows  int // of a table, and lines of a part
	runes int // of a cell or line
	parts int
	// points of a line; a fifth as many pairs. Zero leaves charts out.
	points int
}

// shown gives the rows within the limit and how many are left out.
func (t table) shown(most int) (rows [][]text, left int) {
	left = len(t.rows) - most
	if left <= 0 {
		return t.rows, 0
	}
	if t.newest {
		return t.rows[left:], left
	}
	return t.rows[:most], left
}

// Title gives the page's headline as plain text.
func (p Page) Title() string { return clean(p.title) }
