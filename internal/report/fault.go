package report

import (
	"strings"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// FaultView is an error as the person at the terminal needs it.
type FaultView struct {
	Phase rollout.Phase
	// Object is what the phase was about, a change or a revision; may be empty.
	Object string
	// What is what went wrong, observed against allowed. It may have
	// several lines.
	What string
	// Seen is nil where the platform could not be looked at.
	Seen *rollout.Observation
	// Serving replaces what Seen would say, for a command without a platform.
	Serving string
	// Schema says in a few words what became of the schema; may be empty.
	Schema string
	// Hint is one thing to do.
	Hint string
}

// Fault writes an error: what failed, what users of the service get, what to
// do.
func Fault(f FaultView) string {
	var b strings.Builder
	head := clean(strings.TrimSpace(string(f.Phase) + " " + f.Object))
	for i, line := range strings.Split(strings.TrimSpace(f.What), "\n") {
		line = clean(line)
		if i == 0 && head != "" && !strings.HasPrefix(line, head+":") {
			line = head + ": " + line
		}
		b.WriteString(line + "\n")
	}
	b.WriteString("serving: " + f.Served() + "\n")
	if hint := clean(f.Hint); hint != "" {
		b.WriteString("hint: " + hint + "\n")
	}
	return b.String()
}

// Served says what users get.
func (f FaultView) Served() string {
	line := clean(f.Serving)
	switch {
	case line != "":
	case f.Seen == nil:
		line = "not known: the platform could not be looked at"
	default:
		line = clean(naming{}.shares(f.Seen.Serving()))
	}
	if schema := clean(f.Schema); schema != "" {
		line += "; " + schema
	}
	return line
}

// FaultPage makes a page of an error, for where pages are read.
func FaultPage(f FaultView) Page {
	lines := strings.Split(strings.TrimSpace(f.What), "\n")
	p := Page{title: strings.TrimSpace(string(f.Phase) + " could not run: " + lines[0]), mood: held}
	p.fact("Users get", say("%s", f.Served()))
	p.fact("Do", say("%s", f.Hint))
	var rest part
	for _, line := range lines[1:] {
		rest.lines = append(rest.lines, say("%s", line))
	}
	p.part(rest)
	return p
}
