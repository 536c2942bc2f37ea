package report

import (
	"fmt"
	"strings"

	"github.com/gapless-deploy/gapless/internal/change"
)

// Progress draws a long step as one line of at most width columns: how far,
// how fast, how long still, and what holds it back. Where it is narrow, the
// bar goes first.
func Progress(p change.Progress, width int) string {
	if width < 1 {
		return ""
	}
	share, known := 0.0, p.Total > 0
	if known {
		share = min(max(float64(p.Done)/float64(p.Total), 0), 1)
	}
	name := clean(p.Step)
	var tail []string
	if known {
		tail = append(tail, fmt.Sprintf("%3d%%", int(share*100)), count(p.Done)+" of "+of(p.Total, "row"))
	} else {
		tail = append(tail, of(p.Done, "row"))
	}
	if p.Rate >= 1 {
		tail = append(tail, count(int64(p.Rate))+" rows/s")
	}
	if p.ETA > 0 {
		tail = append(tail, lasting(p.ETA)+" left")
	}
	if note := clean(p.Note); note != "" {
		tail = append(tail, "("+note+")")
	}
	rest := strings.Join(tail, "  ")
	room := width - columns(name) - columns(rest) - len("  []  ")
	if !known || room < 10 {
		line, _ := cut(name+"  "+rest, width)
		return line
	}
	size := min(room, 30)
	full := int(share * float64(size))
	return fmt.Sprintf("%s  [%s%s]  %s", name, strings.Repeat("#", full), strings.Repeat("-", size-full), rest)
}
