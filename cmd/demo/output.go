package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/gapless-deploy/gapless/cmd/demo/load"
	"github.com/gapless-deploy/gapless/internal/ledger"
)

// output is what a person reads. The first error of writing is kept and ends
// the demo at its end.
type output struct {
	comment comment

	mu  sync.Mutex
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil && err != nil {
		o.err = fmt.Errorf("show: %w", err)
	}
	return n, o.err
}

func (o *output) say(format string, args ...any) {
	o.show(o, fmt.Sprintf(format, args...)+"\n")
}

func (o *output) show(w io.Writer, text string) {
	if _, err := io.WriteString(w, text); err != nil {
		return // Write has kept it
	}
}

func (o *output) title(opts options) {
	o.say("%s of the article's address book: code and schema together, under load.", opts.Strategy.title())
	if opts.Fault != noFault {
		o.say("What goes wrong on the way: %s (%s).", opts.Fault.trouble().what, opts.Fault)
	}
	o.say("")
}

func (o *output) stage(s *stage, opts options) {
	o.say("%s addresses in PostgreSQL, %g requests a second on http://%s", grouped(opts.Rows), opts.Rate, s.public)
}

func (o *output) command(args []string) { o.say("\n$ gapless %s", strings.Join(args, " ")) }

// indented sets what gapless tells apart from what the demo does.
func (o *output) indented() io.Writer { return &indented{out: o, start: true} }

func (o *output) tell(text string) { o.show(o.indented(), text) }

// report shows what gapless printed at the end of a phase: the rollout comment
// as far as it is new, of anything else all.
func (o *output) report(phase, text string) {
	if phase != "plan" && phase != "status" {
		text = o.comment.changes(text)
	}
	o.tell(text)
}

func (o *output) kept(s *stage) {
	o.say("\nEverything stands until Ctrl-C:")
	o.say("  service   http://%s/addresses/1", s.public)
	o.say("  database  %s", s.database)
	o.say("  gapless   cd %s && GAPLESS_AGENT_TOKEN=%s DATABASE_URL='%s' %s status", s.dir, s.token, s.database, s.gapless)
}

// result shows the ledger.
func (o *output) result(r result, sum ledger.Summary, damaged []load.Damage) {
	o.say("\nWhat the clients saw")
	o.row("requests", grouped(r.Requests))
	o.row("dropped", grouped(r.Dropped))
	o.row("cut by the fault", grouped(r.CutByFault))
	o.row("met the candidate", fmt.Sprintf("%.1f%%, %s", r.ExposurePercent, r.errors()))
	for _, s := range sum.Switches {
		o.row(r.Strategy.switched(s.From, s.To), inForce(s))
	}
	o.row("rows compared", grouped(r.Rows))
	o.row("lost, clobbered", fmt.Sprintf("%d, %d", r.Lost, r.Clobbered))
	o.row("backfill", grouped(int(r.BackfillRowsS))+" rows/s")
	o.row("outcome", fmt.Sprintf("%s, serving %s, after %.0f s", r.Outcome, r.Serving, r.Seconds))
	const most = 5
	for _, c := range sum.Causes[:min(most, len(sum.Causes))] {
		o.say("  failed: %s, %s times, first %s, last %s", c.What, grouped(c.Count),
			c.First.Format("15:04:05.000"), c.Last.Format("15:04:05.000"))
	}
	for _, d := range damaged[:min(most, len(damaged))] {
		o.say("  %s", d)
	}
}

// errors is what those got who met the candidate.
func (r result) errors() string {
	text := grouped(r.CandidateBad) + " got an error from it"
	if r.CandidateBadBound > 0 {
		text += ", the fault explains " + grouped(r.CandidateBadBound)
	}
	return text
}

func inForce(s ledger.Switch) string {
	if s.InForce == nil {
		return "not seen"
	}
	return fmt.Sprintf("in force after %g ms", milliseconds(*s.InForce))
}

func (o *output) row(name, value string) { o.say("  %-18s %s", name, value) }

// grouped writes a whole number with its thousands apart.
func grouped[N int | int64](n N) string {
	digits := strconv.FormatInt(int64(n), 10)
	var parts []string
	for len(digits) > 3 {
		parts = append([]string{digits[len(digits)-3:]}, parts...)
		digits = digits[:len(digits)-3]
	}
	return strings.Join(append([]string{digits}, parts...), ",")
}
