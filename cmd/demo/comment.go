package main

import (
	"strings"
)

// comment shows the rollout comment as it changes: of each section only the
// lines that were not there before.
type comment struct {
	shown map[string]map[string]bool // lines, by the section's first one
}

// changes gives what is new in text, and remembers all of it.
func (c *comment) changes(text string) string {
	shown := map[string]map[string]bool{}
	var fresh []string
	for section := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		lines := strings.Split(strings.Trim(section, "\n"), "\n")
		title := plain(lines[0])
		shown[title] = map[string]bool{}
		kept := lines[:1]
		for _, line := range lines[1:] {
			shown[title][plain(line)] = true
			if !c.shown[title][plain(line)] {
				kept = append(kept[:len(kept):len(kept)], line)
			}
		}
		if _, known := c.shown[title]; !known || len(kept) > 1 {
			fresh = append(fresh, strings.Join(kept, "\n"))
		}
	}
	c.shown = shown
	return strings.Join(fresh, "\n\n") + "\n"
}

// plain leaves out how a line is set: columns move with their widest entry.
func plain(line string) string { return strings.Join(strings.Fields(line), " ") }
