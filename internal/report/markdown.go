package report

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// MaxComment is the greatest length of a comment that GitHub takes; it counts
// characters, this package bytes, which are no fewer.
const MaxComment = 65536

// narrower gives the limits that Markdown tries, the last of which always fits.
func narrower() []limits {
	return []limits{{60, 600, 40, 61}, {40, 300, 30, 61}, {20, 200, 20, 31}, {10, 120, 12, 31}, {5, 80, 8, 0}, {3, 40, 6, 0}}
}

// Markdown gives the page as GitHub-flavoured Markdown, shorter than
// MaxComment. Its first line is the marker, by which the comment is found
// again.
func (p Page) Markdown() string {
	var out string
	for _, l := range narrower() {
		if out = p.markdown(l); len(out) < MaxComment {
			return out
		}
	}
	return out
}

// MaxSummary is the greatest length of a step's summary, in bytes.
const MaxSummary = 1 << 20

// Summary gives the page as Markdown for the summary of a workflow's step:
// longer than a comment may be, and without its marker.
func (p Page) Summary() string {
	p.marker = ""
	if out := p.markdown(limits{rows: 400, runes: 1000, parts: 60, points: 121}); len(out) <= MaxSummary {
		return out
	}
	return p.Markdown()
}

func (p Page) markdown(l limits) string {
	var b strings.Builder
	if p.marker != "" {
		b.WriteString(p.marker + "\n")
	}
	fmt.Fprintf(&b, "### %s\n\n", escape(clip(clean(p.title), l.runes)))
	if p.mood == urgent {
		b.WriteString("> [!CAUTION]\n")
	}
	if p.mood == held {
		b.WriteString("> [!WARNING]\n")
	}
	quote := ""
	if p.mood != calm {
		quote = "> "
	}
	for _, f := range p.facts {
		fmt.Fprintf(&b, "%s- **%s:** %s\n", quote, escape(f.label), f.value.clip(l.runes).markdown())
	}
	parts := p.parts
	if l.points == 0 {
		parts = slices.DeleteFunc(slices.Clone(parts), func(p part) bool { return p.charts != nil })
	}
	left := max(len(parts)-l.parts, 0)
	for _, part := range parts[:len(parts)-left] {
		part.markdown(&b, l)
	}
	if left > 0 {
		fmt.Fprintf(&b, "\n%s left out here: see `gapless status`.\n", of(int64(left), "section"))
	}
	return b.String()
}

func (p part) markdown(b *strings.Builder, l limits) {
	if p.charts != nil {
		p.charts.markdown(b, l)
		return
	}
	if p.heading != "" {
		fmt.Fprintf(b, "\n#### %s\n", escape(clip(clean(p.heading), l.runes)))
	}
	b.WriteString("\n")
	if p.paste != "" {
		fmt.Fprintf(b, "```text\n%s\n```\n\n", p.paste)
	}
	if p.table != nil {
		p.table.markdown(b, l)
		if len(p.lines) > 0 {
			b.WriteString("\n")
		}
	}
	lines := p.lines
	if left := len(lines) - l.rows; left > 0 {
		lines = append(lines[:l.rows:l.rows], say("%s left out here", of(int64(left), "line")))
	}
	for _, line := range lines {
		fmt.Fprintf(b, "- %s\n", inline(line.clip(l.runes).markdown()))
	}
}

func (t table) markdown(b *strings.Builder, l limits) {
	rows, left := t.shown(l.rows)
	line := func(cells []string) { fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | ")) }
	head, rule := make([]string, len(t.head)), make([]string, len(t.head))
	for i, h := range t.head {
		head[i], rule[i] = escape(clip(clean(h), l.runes)), "---"
		if t.right[i] {
			rule[i] = "---:"
		}
	}
	line(head)
	line(rule)
	for _, row := range rows {
		cells := make([]string, len(t.head))
		for i := range cells {
			if i < len(row) {
				cells[i] = row[i].clip(l.runes).markdown()
			}
		}
		line(cells)
	}
	if left > 0 {
		which := "more row"
		if t.newest {
			which = "earlier row"
		}
		fmt.Fprintf(b, "\n%s left out here, all are in the record.\n", of(int64(left), which))
	}
}

func (t text) markdown() string {
	var b strings.Builder
	for i, s := range t {
		words := tidy(s.words, i == 0, i == len(t)-1)
		switch {
		case words == "":
		case s.style == code:
			b.WriteString(codeSpan(strings.TrimSpace(words)))
		case s.style == link:
			fmt.Fprintf(&b, "[%s](%s)", escape(words), s.to)
		default:
			b.WriteString(escape(words))
		}
	}
	return b.String()
}

// tidy is clean that keeps a space to the neighbour.
func tidy(s string, first, last bool) string {
	words := clean(s)
	if words == "" {
		return words
	}
	if !first && strings.HasPrefix(s, " ") {
		words = " " + words
	}
	if !last && strings.HasSuffix(s, " ") {
		words += " "
	}
	return words
}

// bare is what needs no escape inside a code span, in a table or out of it.
var bare = regexp.MustCompile(`^[ -[\]-_a-{}~]+$`)

func codeSpan(s string) string {
	if bare.MatchString(s) {
		return "`" + s + "`"
	}
	return "<code>" + escape(s) + "</code>"
}

// calling is what GitHub takes for a person, an issue or an address.
var calling = regexp.MustCompile(`(?i)@|#|gh-[0-9]|www\.|://`)

// escape takes from Markdown, HTML and GitHub all that they would act on. A
// zero-width space keeps GitHub from notifying people and from linking.
func escape(s string) string {
	s = calling.ReplaceAllStringFunc(s, func(call string) string {
		n := len(call)
		if n > 1 { // before the last sign
			return call[:n-1] + "\u200B" + call[n-1:]
		}
		return call + "\u200B"
	})
	var b strings.Builder
	for _, r := range s {
		b.WriteString(literal(r))
	}
	return b.String()
}

// literal writes one sign so that it stands for itself. Entities, not
// backslashes, stand for what divides tables and opens tags, so that no run of
// escapes can be read another way.
func literal(r rune) string {
	switch r {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '|', '\\', '$':
		return fmt.Sprintf("&#%d;", r)
	case '`', '*', '_', '[', ']', '~', '#':
		return `\` + string(r)
	}
	return string(r)
}

// blockish is what begins a list, a rule or a heading at the start of a line.
var blockish = regexp.MustCompile(`^(\d*)([-+=.)])`)

// inline keeps the start of a line from being read as more than text.
func inline(s string) string { return blockish.ReplaceAllString(s, `$1\$2`) }

var unmarked = regexp.MustCompile(`[^A-Za-z0-9._@+-]|--|-$`)

// Marker is the hidden first line of the comment on one rollout of a service,
// by which it is found again. Two pairs of names never share one.
func Marker(service, rollout string) string {
	quote := func(s string) string {
		return unmarked.ReplaceAllStringFunc(s, func(odd string) string { return fmt.Sprintf("%%%X", odd) })
	}
	return fmt.Sprintf("<!-- gapless:%s:%s -->", quote(service), quote(rollout))
}
