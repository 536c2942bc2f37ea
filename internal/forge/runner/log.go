package runner

import (
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/sethvargo/go-githubactions"
)

// Log is the step's log: what the runner reads of a stream of the process. It
// takes lines for orders (workflow commands), and so text that came from a
// service or a database could give some. Of what is written by Write none can
// be one; orders are given by the other methods only.
//
// The runner could be told not to listen for a while (stop-commands), but that
// holds for both streams, whose order it does not know, and for a step that is
// killed meanwhile it holds to the end, masks and errors included. So each line
// is made harmless by itself, where it would be an order.
type Log struct {
	mu   sync.Mutex
	to   io.Writer
	line lineState
}

// NewLog gives the log that is written to a stream.
func NewLog(to io.Writer) *Log { return &Log{to: to} }

// Write writes text, whole lines or parts of them.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.to.Write(l.line.harmless(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// lineState is what was seen of the line that is being written.
type lineState struct {
	begun bool
	// text is set once the line can be no order of the form "::name::".
	text         bool
	before, last byte
}

// harmless puts a space into what the runner would take for an order: "::" at
// the start of a line, after white space and whatever else is not seen, and
// "##[" anywhere. Lines end as the runner ends them, also by a bare CR.
func (s *lineState) harmless(p []byte) []byte {
	out := make([]byte, 0, len(p)+8)
	for _, c := range p {
		switch {
		case c == '\n' || c == '\r':
			s.text = false
		case c == ':' && s.last == ':' && !s.text, c == '[' && s.last == '#' && s.before == '#':
			out = append(out, ' ')
			s.text = true
		case c > ' ' && c < 0x7f && c != ':':
			s.text = true
		}
		s.begun, s.before, s.last = c != '\n', s.last, c
		out = append(out, c)
	}
	return out
}

// order writes a workflow command on a line of its own.
func (l *Log) order(name, text string, properties githubactions.CommandProperties) error {
	c := githubactions.Command{Name: name, Message: text, Properties: properties}
	l.mu.Lock()
	defer l.mu.Unlock()
	line := c.String() + "\n"
	if l.line.begun {
		line = "\n" + line
	}
	l.line = lineState{}
	_, err := io.WriteString(l.to, line)
	return err
}

// shortestMask is the least length, in bytes, of what is masked. A shorter
// text occurs everywhere; and the runner drops outputs in which a masked text
// occurs, so that a digest could vanish.
const shortestMask = 8

// Mask has the runner put *** for a secret in the log and in summaries. Of a
// secret of several lines each is masked too.
func (l *Log) Mask(secret string) error {
	forms := []string{secret}
	if strings.ContainsAny(secret, "\r\n") {
		forms = append(forms, strings.FieldsFunc(secret, func(r rune) bool { return r == '\r' || r == '\n' })...)
	}
	for _, form := range forms {
		if len(strings.TrimFunc(form, unicode.IsSpace)) < shortestMask {
			continue
		}
		if err := l.order("add-mask", form, nil); err != nil {
			return err
		}
	}
	return nil
}

// Group folds the lines up to EndGroup under a title.
func (l *Log) Group(title string) error { return l.order("group", title, nil) }

// EndGroup ends a group.
func (l *Log) EndGroup() error { return l.order("endgroup", "", nil) }

// Level is how much an annotation matters.
type Level string

// The levels of annotations.
const (
	Error   Level = "error"
	Warning Level = "warning"
	Notice  Level = "notice"
)

// Annotation is a message that GitHub shows beside a file or with the run.
type Annotation struct {
	Level          Level
	Title, Message string
	// File is relative to the repository's root; empty shows it with the run.
	File string
	// Line, EndLine and Column count from 1; zero is none.
	Line, EndLine, Column int
}

// Annotate shows a message.
func (l *Log) Annotate(a Annotation) error {
	properties := githubactions.CommandProperties{}
	for name, text := range map[string]string{
		"file": a.File, "title": a.Title, "line": number(a.Line), "endLine": number(a.EndLine), "col": number(a.Column),
	} {
		if text != "" {
			properties[name] = text
		}
	}
	return l.order(string(a.Level), a.Message, properties)
}

func number(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
}
