package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// chart is a picture that GitHub draws of its Mermaid source. It holds numbers
// and labels of this package's own, never a text from outside, so that nothing
// can break out of it. On a terminal there is none: tables say the same.
type chart struct {
	y string // what is measured, and in what unit
	// x is the range of a line's evenly spaced points; pairs have labels instead.
	x     axis
	line  []float64
	pairs []compared
}

// axis begins at 0.
type axis struct {
	label string
	to    float64
}

// compared sets the new revision's figure, on a line, beside the old one's, a bar.
type compared struct {
	label    string
	old, new float64
}

// charts are drawn one below the other, in a fold.
type charts struct {
	title  string // of the fold; it is HTML
	open   bool
	charts []chart
}

// The colours are seen on white and on black; Mermaid's own first one is next
// to white.
const (
	grey = "#8b949e" // old
	blue = "#2f81f7" // new
)

func coloured(colours string) string {
	return `%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "` + colours + `"}}}}%%` + "\nxychart-beta\n"
}

func (c charts) markdown(b *strings.Builder, l limits) {
	open := ""
	if c.open {
		open = " open"
	}
	fmt.Fprintf(b, "\n<details%s><summary>%s</summary>\n", open, c.title)
	for _, one := range c.charts {
		b.WriteString("\n```mermaid\n")
		one.mermaid(b, l)
		b.WriteString("```\n")
	}
	b.WriteString("\n</details>\n")
}

func (c chart) mermaid(b *strings.Builder, l limits) {
	if len(c.line) > 0 {
		points := thin(c.line, l.points)
		b.WriteString(coloured(blue))
		fmt.Fprintf(b, "  x-axis %q 0 --> %s\n", c.x.label, figure(c.x.to))
		fmt.Fprintf(b, "  y-axis %q 0 --> %s\n", c.y, figure(min(ceiling(slices.Max(points)), 100)))
		fmt.Fprintf(b, "  line %s\n", list(points, figure))
		return
	}
	pairs := c.pairs[max(len(c.pairs)-l.points/5, 0):]
	labels, bars, line := make([]string, len(pairs)), make([]float64, len(pairs)), make([]float64, len(pairs))
	top := 0.0
	for i, p := range pairs {
		labels[i], bars[i], line[i] = p.label, p.old, p.new
		top = max(top, p.old, p.new)
	}
	b.WriteString(coloured(grey + ", " + blue))
	fmt.Fprintf(b, "  x-axis \"share of the traffic\" %s\n", list(labels, strconv.Quote))
	fmt.Fprintf(b, "  y-axis %q 0 --> %s\n", c.y, figure(ceiling(top)))
	fmt.Fprintf(b, "  bar %s\n  line %s\n", list(bars, figure), list(line, figure))
}

func list[T any](all []T, write func(T) string) string {
	parts := make([]string, len(all))
	for i, one := range all {
		parts[i] = write(one)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// figure writes a number as Mermaid reads it: no exponent.
func figure(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
		return "0"
	}
	return trimZeros(strconv.FormatFloat(f, 'f', 3, 64))
}

// ceiling is the top of an axis: above what is shown, and never 0.
func ceiling(top float64) float64 {
	if !(top > 0) || math.IsInf(top, 0) {
		return 1
	}
	return max(top*1.1, 0.01)
}

// thin leaves so many points of a line, the first and the last among them.
func thin(line []float64, most int) []float64 {
	if len(line) <= most {
		return line
	}
	most = max(most, 2)
	some := make([]float64, most)
	for i := range some {
		some[i] = line[i*(len(line)-1)/(most-1)]
	}
	return some
}
