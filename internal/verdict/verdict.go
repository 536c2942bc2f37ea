// Package verdict judges a candidate revision against the stable one from
// counts of requests, and says pass, fail or inconclusive.
//
// It is pure: samples, numbers and the time come in, a Judgement goes out.
//
// It may be asked as often as one likes. While requests fail independently of
// one another, looking often does not make a false alarm more likely than
// Alpha. Where they don't, three things hold it down: a burst counts for at
// most maxBurst, evidence is divided by stable's own unsteadiness, and a fail
// needs an effect worth acting on. They don't bound it: docs/benchmarks.md has
// what remains, a Baseline of an hour or more makes it less.
package verdict

import "time"

// Sample holds what one revision did during one interval in which the traffic
// split was constant. An interval that was not measured has no sample; it is
// never a sample of zeros.
//
// Short samples judge faster: one sample is the smallest burst that can be
// told from a lasting fault (see evidence), and a sample that begins before
// the settling time is over is left out whole. One second is ideal.
type Sample struct {
	Revision  string        `json:"revision"`
	From      time.Time     `json:"from"`
	To        time.Time     `json:"to"`
	Weight    int           `json:"weight"` // candidate's share of public traffic then, in tenths of a percent, 0..1000
	Requests  int64         `json:"requests"`
	Errors    int64         `json:"errors"`
	Slow      int64         `json:"slow"`          // answered later than the objective
	CPU       time.Duration `json:"cpu,omitempty"` // CPU time spent by all instances in the interval; meaningful with HasCPU only
	HasCPU    bool          `json:"has_cpu,omitempty"`
	Memory    int64         `json:"memory,omitempty"` // bytes, mean over the instances at the end of the interval; 0 is unknown
	Instances int           `json:"instances,omitempty"`
}

// Verdict is what is known of a candidate at one weight.
type Verdict string

// Inconclusive means that neither Pass nor Fail is shown; it is no pass.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"
	Inconclusive Verdict = "inconclusive"
)

// Metric names what a Finding is about.
type Metric string

// The metrics that are judged. Errors and Slow are shares of requests, CPU is
// seconds per request, Memory bytes per instance.
const (
	Errors Metric = "errors"
	Slow   Metric = "slow"
	CPU    Metric = "cpu"
	Memory Metric = "memory"
)

// Control says what the candidate was compared with.
type Control string

// Beside is the stable revision serving at the same time; Recorded is its
// window from before the last shift (at weight 1000 nothing serves beside the
// candidate); Absent is nothing at all.
const (
	Beside   Control = "beside"
	Recorded Control = "recorded"
	Absent   Control = "absent"
)

// Limit says how much worse than stable a share of requests may become.
type Limit struct {
	WorseBy float64 // excess over stable's share: 0.001 is 0.1 percentage points. A failure must reach it; to pass at weight w, it is what all public traffic together may suffer
	Ratio   float64 // candidate's share over stable's that a failure must reach as well; 0 is 1
}

// Limits are the numbers a candidate is judged by.
type Limits struct {
	Errors, Slow          *Limit  // nil is not judged
	CPURatio, MemoryRatio float64 // candidate's over stable's; 0 is not judged
	MinRequests           int64   // that the candidate must have served at the weight in force
	Alpha                 float64 // chance of failing a candidate that is as good as stable, 0..1; 0 is 0.01
}

// Question is all that a Judgement rests on.
type Question struct {
	Limits            Limits
	Stable, Candidate string        // revisions
	Samples           []Sample      // of both revisions since the candidate was first exposed, in any order
	Baseline          []Sample      // stable's recorded window, the control when Weight is 1000
	Weight            int           // in force now, in tenths of a percent
	Since             time.Time     // when Weight came into force
	Settle            time.Duration // left out after each shift
	Bake, BakeLimit   time.Duration // counted from Since; a BakeLimit of 0 is none
	Now               time.Time
}

// Counts are requests and those of them that went wrong.
type Counts struct {
	Requests int64 `json:"requests"`
	Errors   int64 `json:"errors"`
	Slow     int64 `json:"slow"`
}

// Exposure is what the users met since the candidate was first exposed, the
// settling times included.
type Exposure struct {
	Requests  int64  `json:"requests"`  // of both revisions
	Candidate Counts `json:"candidate"` // of the candidate
}

// Share is the part of all requests that met the candidate, 0..1.
func (e Exposure) Share() float64 { return share(e.Candidate.Requests, e.Requests) }

// Finding is what one metric shows. All its numbers are finite.
type Finding struct {
	Metric     Metric  `json:"metric"`
	Verdict    Verdict `json:"verdict"`
	Stable     float64 `json:"stable"`    // share of requests, CPU seconds per request, or bytes per instance
	Candidate  float64 `json:"candidate"` // the same
	EValue     float64 `json:"e_value"`   // evidence that the candidate is worse; a fail needs Threshold
	Threshold  float64 `json:"threshold"`
	UpperBound float64 `json:"upper_bound"` // errors, slow: of the candidate's excess share
	LowerBound float64 `json:"lower_bound"` // cpu, memory: of the ratio, 0 when unknown
	Allowed    float64 `json:"allowed"`     // what the bound is held against
	Detail     string  `json:"detail"`
}

// Judgement is the answer to a Question.
type Judgement struct {
	Verdict         Verdict   `json:"verdict"`
	Reason          string    `json:"reason"` // one line for people, the verdict's grounds
	Control         Control   `json:"control"`
	Findings        []Finding `json:"findings"`
	StableCounts    Counts    `json:"stable"`    // since the weight came into force and settled, or the baseline's
	CandidateCounts Counts    `json:"candidate"` // since the weight came into force and settled
	Exposure        Exposure  `json:"exposure"`
	NeededRequests  int64     `json:"needed_requests"` // that the candidate must still serve to pass, if it goes on as stable does
	Overdue         bool      `json:"overdue"`         // inconclusive and BakeLimit is over: hold
	Ignored         int       `json:"ignored"`         // samples that make no sense or are of neither revision
}
