package report

import (
	"strings"
)

// Terminal gives the page as plain text for a terminal of so many columns; a
// width below 40 counts as 40. Colour is the caller's choice.
func (p Page) Terminal(width int, colour bool) string {
	w := writer{width: max(width, 40), colour: colour}
	w.heading(p.mood, p.title)
	label := 0
	for _, f := range p.facts {
		label = max(label, columns(clean(f.label)))
	}
	for _, f := range p.facts {
		for i, l := range wrap(f.value.terminal(), w.width-label-4) {
			name := ""
			if i == 0 {
				name = clean(f.label)
			}
			w.line("  " + w.dim(pad(name, label, false)) + "  " + l)
		}
	}
	for _, part := range p.parts {
		w.part(part)
	}
	return w.String()
}

// writer collects lines.
type writer struct {
	strings.Builder
	width  int
	colour bool
}

func (w *writer) line(s string) { w.WriteString(strings.TrimRight(s, " ") + "\n") }

func (w *writer) heading(m mood, s string) {
	for _, l := range wrap(clean(s), w.width) {
		w.line(w.paint(m, l))
	}
}

const reset = "\x1b[0m"

func (w *writer) paint(m mood, s string) string {
	if !w.colour {
		return s
	}
	switch m {
	case urgent:
		return "\x1b[1;31m" + s + reset
	case held:
		return "\x1b[1;33m" + s + reset
	case calm:
	}
	return "\x1b[1m" + s + reset
}

func (w *writer) dim(s string) string {
	if !w.colour {
		return s
	}
	return "\x1b[2m" + s + reset
}

func (w *writer) part(p part) {
	if p.charts != nil {
		return
	}
	w.line("")
	if p.heading != "" {
		w.heading(calm, p.heading)
	}
	if p.paste != "" {
		for _, s := range wrap(p.paste, w.width-4) {
			w.line("    " + s)
		}
	}
	if p.table != nil {
		w.table(*p.table)
	}
	for _, l := range p.lines {
		for i, s := range wrap(l.terminal(), w.width-4) {
			lead := "    "
			if i == 0 {
				lead = "  - "
			}
			w.line(lead + s)
		}
	}
}

// table sets columns side by side; where they are too wide, the widest ones
// are narrowed and their cells run over several lines.
func (w *writer) table(t table) {
	rows := make([][]string, 0, len(t.rows)+1)
	rows = append(rows, make([]string, len(t.head)))
	for i, h := range t.head {
		rows[0][i] = clean(h)
	}
	for _, row := range t.rows {
		line := make([]string, len(t.head))
		for i := range min(len(row), len(line)) {
			line[i] = row[i].terminal()
		}
		rows = append(rows, line)
	}
	widths := fit(rows, w.width-2)
	for n, row := range rows {
		cells := make([][]string, len(row))
		height := 1
		for i, c := range row {
			cells[i] = wrap(c, widths[i])
			height = max(height, len(cells[i]))
		}
		for y := range height {
			var b strings.Builder
			for i := range cells {
				s := ""
				if y < len(cells[i]) {
					s = cells[i][y]
				}
				b.WriteString("  " + pad(s, widths[i], t.right[i]))
			}
			line := strings.TrimRight(b.String(), " ")
			if n == 0 {
				line = w.dim(line)
			}
			w.line(line)
		}
	}
}

// fit gives each column its natural width, and takes from the widest until all
// of them, two columns apart, fit.
func fit(rows [][]string, width int) []int {
	const least = 3
	widths := make([]int, len(rows[0]))
	total := 0
	for i := range widths {
		for _, row := range rows {
			widths[i] = max(widths[i], columns(row[i]))
		}
		total += widths[i] + 2
	}
	for total > width+2 {
		widest := 0
		for i := range widths {
			if widths[i] > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= least {
			break
		}
		widths[widest]--
		total--
	}
	return widths
}

func (t text) terminal() string {
	var b strings.Builder
	for i, s := range t {
		b.WriteString(tidy(s.words, i == 0, i == len(t)-1))
		if s.style == link {
			b.WriteString(" " + s.to)
		}
	}
	return b.String()
}
