package report

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// PlanView is what a release would do, found out without changing anything.
type PlanView struct {
	Service           string
	Candidate, Stable rollout.Revision
	Strategy          rollout.Strategy
	Target            string
	Side              rollout.Side
	Instances         int
	Serving           []rollout.Share
	// PerMinute are the requests that stable serves a minute, Errors and Slow
	// the shares of them; all zero where it is not known.
	PerMinute    float64
	Errors, Slow float64
	// Weights are those that the candidate passes; Steps tell more of each, as
	// far as it can be foretold.
	Weights []rollout.Weight
	Steps   []PlanStep
	Changes []PlanChange
	// Lints are settings by which requests could be dropped.
	Lints    []string
	Warnings []string
	Needs    []Precondition
	// Digests; one that is empty is left out.
	Intent, PlanDigest string
	// Shown is the intent that the pull request was shown; empty where it was
	// shown none, or the plan is that of the pull request.
	Shown string
	// Unseen is set where the plan is by the files alone: neither the platform
	// nor the database was looked at.
	Unseen bool
	// Next is the first phase.
	Next *Next
	// RunURL is the page of the workflow run; may be empty.
	RunURL string
}

// PlanStep foretells one weight at the traffic seen.
type PlanStep struct {
	Weight rollout.Weight
	// Bake is the least time at the weight.
	Bake time.Duration
	// Requests the candidate must serve to pass, and how long that takes; a
	// time of 0 is never.
	Requests int64
	Pass     time.Duration
	// Effect is the share of errors, 0..1, that is found within Detect.
	Effect float64
	Detect time.Duration
}

// PlanChange is a schema change as the database was found.
type PlanChange struct {
	ID, Name, Table string
	State           rollout.ChangeState
	Rows, Bytes     int64
	// Backfill is 0 where it could not be estimated.
	Backfill time.Duration
	// Steps are what expand does, each with what it locks and for how long.
	Steps []PlanLock
	// Drops are what contract would remove, Blocks what keeps it from that.
	Drops, Blocks      []string
	Warnings, Refusals []string
	// Rehearsal is nil where there was none.
	Rehearsal *PlanRehearsal
}

// PlanRehearsal is what a change did to an empty copy of the schema.
type PlanRehearsal struct {
	// Skipped says why there was none of this change.
	Skipped    string
	Statements []PlanStatement
}

// PlanStatement is one statement of a rehearsal.
type PlanStatement struct {
	Part, Step, Statement string
	// Locks are in words; none where they were released before they were seen,
	// or, Under, where those of statements before it were enough.
	Locks, Rewrites []string
	Under           bool
	// Took is how long it ran, Held how long it kept its locks.
	Took, Held time.Duration
}

// PlanLock is a step of a change and the lock it takes.
type PlanLock struct{ Step, Lock string }

// Precondition is one thing that a phase needs.
type Precondition struct {
	Text string
	Met  bool
	// How says how to meet it.
	How string
}

// Plan makes the page of a plan. Nothing on it has happened.
func Plan(v PlanView) Page {
	names := namesOf(rollout.Opened{Candidate: v.Candidate, Stable: v.Stable})
	p := Page{marker: Marker(v.Service, "plan")}
	refused := v.refusals()
	cand := names.name(v.Candidate)
	switch {
	case len(refused) > 0:
		p.title, p.mood = fmt.Sprintf("%s: %s cannot be released as it is", v.Service, cand), held
	case v.Unseen:
		p.title = fmt.Sprintf("%s: plan to release %s, by its files alone", v.Service, cand)
	case v.Stable.Zero():
		p.title = fmt.Sprintf("%s: plan of the first release, %s", v.Service, cand)
	default:
		p.title = fmt.Sprintf("%s: plan to release %s over %s", v.Service, cand, names.name(v.Stable))
	}
	if len(refused) > 0 {
		line := refused[0]
		if more := len(refused) - 1; more > 0 {
			line = line.and("; and %s below", of(int64(more), "more reason"))
		}
		p.fact("Refused", line)
	}
	if v.Unseen {
		p.fact("Users get", say("not known: neither the platform nor the database was looked at"))
	} else {
		p.fact("Users get", say("%s; the plan has changed nothing", names.shares(v.Serving)))
	}
	p.fact("How", v.how())
	switch v.Shown {
	case "":
	case v.Intent:
		p.fact("Since the pull request", say("the same: config, changes and target are those that were shown there"))
	default:
		p.fact("Since the pull request", say("changed: what was shown there had intent ").code(v.Shown))
	}
	p.fact("Takes", v.takes())
	if v.Next != nil && v.Next.Command != "" {
		p.fact("Next", say("").code("gapless "+v.Next.Command).and(": %s", v.Next.Asked))
	}
	if v.Next != nil {
		v.Next.approval(&p, v.RunURL)
	}
	if len(refused) > 1 {
		p.part(part{heading: "Refused", lines: refused})
	}
	p.part(v.cautions())
	for _, c := range v.Changes {
		p.part(c.part())
		p.part(c.rehearsal())
	}
	p.part(v.steps())
	p.part(v.digests())
	return p
}

// refusals gathers what would keep the release from going on.
func (v PlanView) refusals() []text {
	var all []text
	for _, c := range v.Changes {
		for _, r := range c.Refusals {
			all = append(all, say("change %s: %s", c.ID, r))
		}
	}
	for _, n := range v.Needs {
		if n.Met {
			continue
		}
		line := say("%s", n.Text)
		if n.How != "" {
			line = line.and("; %s", n.How)
		}
		all = append(all, line)
	}
	return all
}

func (v PlanView) how() text {
	line := say("%s on %s", v.Strategy, v.Target)
	if v.Instances > 0 {
		line = line.and(", %s", of(int64(v.Instances), "instance"))
	}
	if v.Side != "" {
		line = line.and(" on side %s", v.Side)
	}
	var weights []string
	for _, w := range v.Weights {
		weights = append(weights, w.String())
	}
	if len(weights) > 0 {
		line = line.and(", %s of the traffic", strings.Join(weights, ", "))
	}
	return line
}

// takes adds up what the steps and the backfills take at the traffic seen.
func (v PlanView) takes() text {
	var line text
	var backfill time.Duration
	for _, c := range v.Changes {
		backfill += c.Backfill
	}
	if backfill > 0 {
		line = say("about %s of backfill", lasting(backfill))
	}
	var steps time.Duration
	for _, s := range v.Steps {
		if s.takes() == 0 {
			return join("; ", line, say("at %s no verdict can be reached: there is too little traffic", s.Weight))
		}
		steps += s.takes()
	}
	if steps > 0 {
		line = join(", ", line, say("about %s of steps at %s", lasting(steps), v.traffic()))
	}
	return line
}

func (v PlanView) traffic() string {
	if v.PerMinute <= 0 {
		return "traffic that is not known"
	}
	return of(int64(v.PerMinute+0.5), "request") + " a minute"
}

// takes is the time at a weight: the bake, or as long as it takes to pass.
func (s PlanStep) takes() time.Duration {
	if s.Pass == 0 && s.Weight < rollout.Full {
		return 0
	}
	return max(s.Bake, s.Pass)
}

// cautions lists what to look at before going on.
func (v PlanView) cautions() part {
	p := part{heading: "Look at this first"}
	for _, group := range [][]string{v.Lints, v.Warnings} {
		for _, w := range group {
			p.lines = append(p.lines, say("%s", w))
		}
	}
	return p
}

func (c PlanChange) part() part {
	p := part{heading: strings.TrimSuffix(fmt.Sprintf("Change %s: %s", c.ID, c.Name), ": ")}
	where := say("table %s: about %s (%s)", c.Table, of(c.Rows, "row"), bytes(float64(c.Bytes)))
	if c.Backfill > 0 {
		where = where.and(", backfill about %s", lasting(c.Backfill))
	}
	if c.State == rollout.Absent {
		where = where.and("; nothing of it is in the schema yet")
	} else {
		where = where.and("; it is %s", c.State)
	}
	p.lines = append(p.lines, where)
	for _, d := range c.Drops {
		p.lines = append(p.lines, say("contract removes %s", d))
	}
	for _, b := range c.Blocks {
		p.lines = append(p.lines, say("contract will be refused while %s is there", b))
	}
	for _, w := range c.Warnings {
		p.lines = append(p.lines, say("%s", w))
	}
	t := table{head: []string{"Step", "Locks"}, right: make([]bool, 2)}
	for _, s := range c.Steps {
		t.rows = append(t.rows, cells(s.Step, s.Lock))
	}
	if len(t.rows) > 0 {
		p.table = &t
	}
	return p
}

// rehearsal shows the locks and rewrites that were seen.
func (c PlanChange) rehearsal() part {
	r := c.Rehearsal
	if r == nil {
		return part{}
	}
	p := part{heading: fmt.Sprintf("Rehearsal of %s on an empty copy of the schema", c.ID)}
	if r.Skipped != "" {
		p.lines = append(p.lines, say("not rehearsed: %s", r.Skipped))
		return p
	}
	t := table{head: []string{"Step", "Statement", "Locks", "Held"}, right: []bool{false, false, false, true}}
	for _, s := range r.Statements {
		locks := strings.Join(s.Locks, ", ")
		switch {
		case locks != "":
		case s.Under:
			locks = "those above"
		default:
			locks = "gone before they were seen"
		}
		if len(s.Rewrites) > 0 {
			locks += "; rewrites " + strings.Join(s.Rewrites, ", ")
		}
		t.rows = append(t.rows, cells(s.Part+" "+s.Step, s.Statement, locks, s.Held.Round(time.Millisecond).String()))
	}
	if len(t.rows) == 0 {
		p.lines = append(p.lines, say("no statement took a lock that holds readers or writers up"))
		return p
	}
	p.table = &t
	return p
}

func (v PlanView) steps() part {
	t := table{
		head:  []string{"Weight", "Bake", "Requests to pass", "Takes", "Bad one found in"},
		right: []bool{true, true, true, true, true},
	}
	effect := 0.0
	for _, s := range v.Steps {
		takes, detect := "never", "never"
		if d := s.takes(); d > 0 {
			takes = lasting(d)
		}
		if s.Detect > 0 {
			detect = lasting(s.Detect)
		}
		needs := count(s.Requests)
		if s.Weight == rollout.Full {
			needs = "" // nothing serves beside it: it passes on time
		}
		t.rows = append(t.rows, cells(s.Weight.String(), lasting(s.Bake), needs, takes, detect))
		effect = max(effect, s.Effect)
	}
	p := part{heading: "Traffic, step by step", table: &t}
	if effect > 0 {
		p.lines = append(p.lines, say("Bad is a candidate that fails %s of its requests; it is found nine times in ten.", percent(effect)))
	}
	if v.PerMinute > 0 && len(t.rows) > 0 {
		p.lines = append(p.lines, say("%s serves %s, %s of them fail, %s are slow.",
			short(v.Stable.String()), v.traffic(), percent(v.Errors), percent(v.Slow)))
	}
	return p
}

func (v PlanView) digests() part {
	var p part
	for _, d := range []struct{ name, digest string }{{"Intent", v.Intent}, {"Plan digest", v.PlanDigest}} {
		if d.digest != "" {
			p.lines = append(p.lines, say("%s ", d.name).code(d.digest))
		}
	}
	return p
}

// intentShown is how a plan's page as Markdown shows its intent.
var intentShown = regexp.MustCompile("(?m)^- Intent `([0-9a-f]{64})`$")

// IntentOf reads the intent out of a plan's page, as Markdown; empty where it
// shows none.
func IntentOf(markdown string) string {
	found := intentShown.FindStringSubmatch(markdown)
	if found == nil {
		return ""
	}
	return found[1]
}
