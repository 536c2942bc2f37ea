// Package ledger keeps the client's side of a release: what became of each
// request, who was to blame for those that failed, and how long after its
// decision each switch of traffic could be seen in the answers.
//
// It is pure: times are passed in, and nothing is sent from here.
package ledger

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Answer is what a client saw of one request.
type Answer struct {
	// Started is when the client began, before it connected.
	Started time.Time
	Ended   time.Time
	// Status is zero when no answer came.
	Status int
	// Err says why no whole answer came.
	Err error
	// Wrong is set by a client that got a whole answer and had asked for
	// something else.
	Wrong bool
	// Revision answered, as the router tells; empty when unknown.
	Revision string
	// Router is the router's reason when it answered in a revision's stead.
	Router string
	// Weight was the share of Revision when the router chose; nil when unknown.
	Weight *rollout.Weight
}

// Options bounds a ledger and names what it tells apart.
type Options struct {
	// Candidate is the revision whose own errors are not held against the
	// release; empty when none is released.
	Candidate string
	// Crashes is set where the candidate's process is made to end on the way:
	// requests that this cut are then the fault's. A router's answer in the
	// candidate's name is taken for one, and an answer of its own that broke off.
	Crashes bool
	// Recent is how many answers are kept for switches that are told late;
	// zero means 4096.
	Recent int
}

// Ledger counts answers. Its memory does not grow with them. It is safe for
// concurrent use.
type Ledger struct {
	candidate string
	crashes   bool

	mu       sync.Mutex
	sum      Summary
	causes   map[string]*Cause
	faults   []*fault
	recent   []seen
	next     int // place in recent that is overwritten next
	switches []*watched
}

// Summary is the account so far.
type Summary struct {
	// Requests counts all that were sent.
	Requests int64
	// Dropped counts those that failed and that neither the candidate nor an
	// injected fault has to answer for.
	Dropped int64
	// CandidateBad counts error answers that the candidate itself gave.
	CandidateBad int64
	// CutByFault counts failures that overlap an injected fault, or that a crash
	// of the candidate caused where one is injected.
	CutByFault int64
	// Missed counts requests that a client meant to send and could not,
	// because too many were waiting for their answers.
	Missed int64
	// Answered counts whole answers by revision.
	Answered map[string]int64
	// Causes lists why requests failed, the most frequent first.
	Causes   []Cause
	Switches []Switch

	candidate string
}

// Cause is one way in which requests failed.
type Cause struct {
	What        string
	Count       int64
	First, Last time.Time
}

// Bounds of what is kept apart; what is beyond is counted under "other".
const (
	maxRevisions  = 16
	maxCauses     = 32
	defaultRecent = 4096
	other         = "other"
)

// fault is a time in which something else than the release does damage; it
// lasts while to is zero.
type fault struct{ from, to time.Time }

// New gives an empty ledger.
func New(o Options) *Ledger {
	return &Ledger{
		candidate: o.Candidate, crashes: o.Crashes,
		sum:    Summary{Answered: map[string]int64{}, candidate: o.Candidate},
		causes: map[string]*Cause{},
		recent: make([]seen, 0, cmp.Or(o.Recent, defaultRecent)),
	}
}

// Add enters one answer.
func (l *Ledger) Add(a Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sum.Requests++
	if a.Status != 0 && a.Err == nil && a.Router == "" {
		l.answered(a.Revision)
		l.witness(a)
	}
	if !a.failed() {
		return
	}
	l.because(a)
	switch {
	case l.duringFault(a), l.crashes && a.cutOff(l.candidate):
		l.sum.CutByFault++
	case a.by(l.candidate):
		l.sum.CandidateBad++
	default:
		l.sum.Dropped++
	}
}

// Miss counts a request that could not be sent.
func (l *Ledger) Miss() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sum.Missed++
}

// Fault tells, before it is done, of damage that is not the release's doing:
// failures of requests that were under way between from and the time that over
// is called with are its.
func (l *Ledger) Fault(from time.Time) (over func(to time.Time)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &fault{from: from}
	l.faults = append(l.faults, f)
	return func(to time.Time) {
		l.mu.Lock()
		defer l.mu.Unlock()
		f.to = to
	}
}

// Summary gives the account so far.
func (l *Ledger) Summary() Summary {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sum
	s.Answered = maps.Clone(l.sum.Answered)
	for _, c := range l.causes {
		s.Causes = append(s.Causes, *c)
	}
	slices.SortFunc(s.Causes, func(a, b Cause) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.What, b.What))
	})
	for _, w := range l.switches {
		s.Switches = append(s.Switches, w.result())
	}
	return s
}

// Exposure is the part of all requests, in percent, that the candidate
// answered.
func (s Summary) Exposure() float64 {
	if s.Requests == 0 || s.candidate == "" {
		return 0
	}
	return 100 * float64(s.Answered[s.candidate]) / float64(s.Requests)
}

func (l *Ledger) answered(revision string) {
	if _, known := l.sum.Answered[revision]; !known && len(l.sum.Answered) >= maxRevisions {
		revision = other
	}
	l.sum.Answered[revision]++
}

func (l *Ledger) because(a Answer) {
	what := a.cause()
	c, known := l.causes[what]
	if !known && len(l.causes) >= maxCauses {
		what = other
		c, known = l.causes[what]
	}
	if !known {
		c = &Cause{What: what, First: a.Started}
		l.causes[what] = c
	}
	c.Count++
	if a.Started.Before(c.First) {
		c.First = a.Started
	}
	if a.Started.After(c.Last) {
		c.Last = a.Started
	}
}

func (l *Ledger) duringFault(a Answer) bool {
	return slices.ContainsFunc(l.faults, func(f *fault) bool {
		return (f.to.IsZero() || !a.Started.After(f.to)) && !a.Ended.Before(f.from)
	})
}
