package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

// MaxSummary is the largest summary of a step, in bytes. The runner drops a
// larger one whole.
const MaxSummary = 1 << 20

// AddSummary appends Markdown to the step's summary. What does not fit any
// more is left out, by whole lines, with a note that says so; a fence or a
// fold that is open there is closed.
func (e Env) AddSummary(markdown string) error {
	if e.SummaryPath == "" {
		return errors.New("GITHUB_STEP_SUMMARY is not set: this is no step of a workflow")
	}
	size := int64(0)
	switch info, err := os.Stat(e.SummaryPath); {
	case err == nil:
		size = info.Size()
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("step summary: %w", err)
	}
	if !strings.HasSuffix(markdown, "\n") {
		markdown += "\n"
	}
	short, ok := cut(markdown, MaxSummary-int(min(size, MaxSummary)))
	if !ok {
		return fmt.Errorf("step summary: %d of %d bytes are used, nothing more fits", size, MaxSummary)
	}
	if err := appendTo(e.SummaryPath, short); err != nil {
		return fmt.Errorf("step summary: %w", err)
	}
	return nil
}

const cutNote = "\n_The rest is left out: a step's summary has at most 1 MiB._\n"

// cut shortens Markdown that ends with a line's end to at most so many bytes;
// it is not ok where even the note is too long.
func cut(markdown string, most int) (string, bool) {
	if len(markdown) <= most {
		return markdown, true
	}
	var open nesting
	kept, closing, end := 0, "", 0
	for line := range strings.Lines(markdown) {
		if end += len(line); end+len(cutNote) > most {
			break
		}
		open.line(strings.TrimSuffix(line, "\n"))
		if c := open.closing(); end+len(c)+len(cutNote) <= most {
			kept, closing = end, c
		}
	}
	return markdown[:kept] + closing + cutNote, len(cutNote) <= most
}

// nesting is what is open after some lines of Markdown.
type nesting struct {
	fence string // of what it is made, and how long
	folds int
}

var (
	fence = regexp.MustCompile("^ {0,3}(`{3,}|~{3,})(.*)$")
	folds = regexp.MustCompile(`(?i)<(/?)details\b[^>]*>`)
)

func (n *nesting) line(s string) {
	m := fence.FindStringSubmatch(s)
	switch {
	case n.fence != "":
		if m != nil && strings.HasPrefix(m[1], n.fence) && strings.TrimSpace(m[2]) == "" {
			n.fence = ""
		}
		return
	case m != nil && (m[1][0] == '~' || !strings.Contains(m[2], "`")):
		n.fence = m[1]
		return
	}
	for _, tag := range folds.FindAllStringSubmatch(s, -1) {
		if tag[1] == "" {
			n.folds++
		} else {
			n.folds = max(n.folds-1, 0)
		}
	}
}

// closing closes what is open.
func (n *nesting) closing() string {
	s := ""
	if n.fence != "" {
		s = n.fence + "\n"
	}
	if n.folds > 0 {
		s += "\n" + strings.Repeat("</details>\n", n.folds)
	}
	return s
}
