package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/report"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// output writes everything that the program says. Results go to stdout; what
// happens on the way and errors go to stderr. Secrets are masked in both.
type output struct {
	process Process
	mask    mask
	// hidden, unless nil, is told each text that is hidden from then on.
	hidden func(form string)
	// live is set where stderr is a terminal that can redraw a line.
	live bool

	mu       sync.Mutex
	drawn    bool // a progress line stands unfinished
	lastStep string
	lastLine time.Time
}

// between is the least time between two progress lines where they cannot be
// redrawn.
const between = 5 * time.Second

// wide is room for all of a progress line: a log breaks lines by itself.
const wide = 400

func newOutput(p Process) *output {
	f, ok := p.Stderr.(*os.File)
	return &output{process: p, live: ok && term.IsTerminal(int(f.Fd()))}
}

func (o *output) hide(secret string) {
	o.tellHidden(func() { o.mask.hide(secret) })
}

func (o *output) hideURL(dsn string) {
	o.tellHidden(func() { o.mask.hideURL(dsn) })
}

// tellHidden tells what an act has added to the mask.
func (o *output) tellHidden(add func()) {
	before := o.mask.all()
	add()
	for _, form := range o.mask.all() {
		if o.hidden != nil && !slices.Contains(before, form) {
			o.hidden(form)
		}
	}
}

// print writes a result.
func (o *output) print(text string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.finishLine()
	if _, err := io.WriteString(o.process.Stdout, o.mask.apply(text)); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// say writes a line about what happens. There is nobody left to tell where
// stderr cannot be written.
func (o *output) say(text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.finishLine()
	_, _ = io.WriteString(o.process.Stderr, o.mask.apply(text)) //nolint:errcheck // see above
}

// finishLine ends a progress line that stands unfinished.
func (o *output) finishLine() {
	if o.drawn {
		_, _ = io.WriteString(o.process.Stderr, "\n") //nolint:errcheck // as in say
		o.drawn = false
	}
}

// errors gives a writer to stderr that masks line by line.
func (o *output) errors() io.Writer { return &lines{out: o} }

// lines masks whole lines, so that no secret slips through between two writes.
type lines struct {
	out *output
	mu  sync.Mutex
	buf []byte
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, p...)
	if end := bytes.LastIndexByte(l.buf, '\n'); end >= 0 {
		l.out.say(string(l.buf[:end+1]))
		l.buf = append(l.buf[:0], l.buf[end+1:]...)
	}
	return len(p), nil
}

// warn tells of what keeps nothing from going on.
func (o *output) warn(text string) { o.say("warning: " + text + "\n") }

// event shows what a phase does.
func (o *output) event(e phase.Event) {
	switch {
	case e.Warning != "":
		o.warn(e.Warning)
	case e.Progress != nil:
		o.progress(*e.Progress)
	case e.Step != nil:
		o.step(e.Step)
	}
}

// step names a step once; a watch is a row of looks and is named once too.
func (o *output) step(s plan.Step) {
	o.mu.Lock()
	same := o.lastStep == s.Name()
	o.lastStep = s.Name()
	o.mu.Unlock()
	if !same {
		o.say("- " + s.Name() + "\n")
	}
}

func (o *output) progress(p change.Progress) {
	width := o.width()
	if !o.live {
		width = wide
	}
	line := report.Progress(p, width)
	o.mu.Lock()
	defer o.mu.Unlock()
	whole := p.Total > 0 && p.Done >= p.Total
	if !o.live {
		if time.Since(o.lastLine) < between && !whole {
			return
		}
		o.lastLine = time.Now()
		_, _ = io.WriteString(o.process.Stderr, o.mask.apply(line)+"\n") //nolint:errcheck // as in say
		return
	}
	_, _ = io.WriteString(o.process.Stderr, "\r\x1b[K"+o.mask.apply(line)) //nolint:errcheck // as in say
	o.drawn = true
}

// width is the number of columns of the terminal, 100 where there is none.
func (o *output) width() int {
	if n, err := strconv.Atoi(o.process.Getenv("COLUMNS")); err == nil && n >= 40 {
		return n
	}
	if f, ok := o.process.Stdout.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n >= 40 {
			return n
		}
	}
	return 100
}

// color reports whether the result may be coloured.
func (o *output) color() bool {
	f, ok := o.process.Stdout.(*os.File)
	return ok && o.process.Getenv("NO_COLOR") == "" && term.IsTerminal(int(f.Fd()))
}

// fail writes an error with what is served and what to do, and gives the exit
// status.
func (o *output) fail(err error) int {
	view := report.FaultView{What: strings.TrimSuffix(err.Error(), "\n")}
	view.Hint = rollout.HintOf(err)
	view.Serving = servingOf(err)
	o.say(report.Fault(view))
	return statusOf(outcomeOf(err))
}

// servingOf says what users receive after an error.
func servingOf(err error) string {
	if s, ok := errors.AsType[interface {
		error
		Serving() string
	}](err); ok {
		return s.Serving()
	}
	return "unchanged: nothing was done"
}
