package main

import (
	"slices"
	"strings"
)

// comment shows the rollout comment as it changes: of each section only the
// entries that were not there before.
type comment struct {
	shown map[string]map[string]bool // entries, by the section's first line
}

// changes gives what is new in text, and remembers all of it.
func (c *comment) changes(text string) string {
	shown := map[string]map[string]bool{}
	var fresh strings.Builder
	for section := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		title, rest, _ := strings.Cut(strings.Trim(section, "\n"), "\n")
		if title == "" {
			continue
		}
		shown[title] = map[string]bool{}
		var kept []string
		for _, entry := range entries(rest) {
			shown[title][words(entry)] = true
			if !c.shown[title][words(entry)] {
				kept = append(kept, entry)
			}
		}
		if _, known := c.shown[title]; known && len(kept) == 0 {
			continue
		}
		if fresh.Len() > 0 {
			fresh.WriteString("\n")
		}
		fresh.WriteString(strings.Join(append([]string{title}, kept...), "\n") + "\n")
	}
	c.shown = shown
	return fresh.String()
}

// entries puts the lines of a section together that belong together: one that
// stands further in goes on with the one before.
func entries(text string) []string {
	var all []string
	first := -1
	for line := range strings.SplitSeq(text, "\n") {
		in := len(line) - len(strings.TrimLeft(line, " "))
		switch {
		case line == "":
		case first < 0 || in <= first:
			first = in
			all = append(all, line)
		default:
			all[len(all)-1] += "\n" + line
		}
	}
	return all
}

// words leaves out how an entry is set: columns move with their widest cell,
// and with them where the others are wrapped.
func words(entry string) string {
	fields := strings.Fields(entry)
	slices.Sort(fields)
	return strings.Join(fields, " ")
}
