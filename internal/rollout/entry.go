package rollout

import (
	"encoding/json"
	"time"
)

// Kind says what an entry holds.
type Kind string

// The kinds of entry. One in -ing is written before the act, so that a phase
// that was killed in the act knows what it had begun.
const (
	KindOpened     Kind = "opened"
	KindBegan      Kind = "began"
	KindMigrating  Kind = "migrating"
	KindMigrated   Kind = "migrated"
	KindLaunching  Kind = "launching"
	KindLaunched   Kind = "launched"
	KindChecked    Kind = "checked"
	KindReplacing  Kind = "replacing"
	KindReplaced   Kind = "replaced"
	KindShifting   Kind = "shifting"
	KindShifted    Kind = "shifted"
	KindJudged     Kind = "judged"
	KindRetired    Kind = "retired"
	KindSettled    Kind = "settled"
	KindRolledBack Kind = "rolled_back"
	KindHeld       Kind = "held"
	KindAdopted    Kind = "adopted"
	KindEnded      Kind = "ended"
)

// Data is what an entry of one kind holds.
type Data interface{ Kind() Kind }

// Opened begins a record. It embeds the config and the changes, so that a
// later push does not change a rollout that is under way.
type Opened struct {
	Candidate Revision `json:"candidate"`
	// Stable is zero in a first release.
	Stable Revision `json:"stable"`
	// Side is where the candidate goes.
	Side     Side     `json:"side"`
	Strategy Strategy `json:"strategy"`
	Target   string   `json:"target"`
	Spec     Spec     `json:"spec"`
	// Config and Changes are files as they were read.
	Config  File   `json:"config"`
	Changes []File `json:"changes,omitempty"`
	// Owed are changes of earlier rollouts whose contract is still to come.
	Owed []File `json:"owed,omitempty"`
	// Left are changes of earlier rollouts that went back, which the schema
	// still has something of.
	Left       []File `json:"left,omitempty"`
	Intent     string `json:"intent"`
	PlanDigest string `json:"plan_digest"`
	// Commit is the one that brought the revision; empty outside of a workflow.
	Commit string `json:"commit,omitempty"`
	Gates  Gates  `json:"gates"`
	// Spent are approvals that were used in rollouts before, by runs that may
	// still go on.
	Spent []Spent `json:"spent,omitempty"`
}

// File is a file as it was read.
type File struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

// Began is written when a phase begins, or resumes.
type Began struct {
	To     Weight `json:"to,omitempty"`
	Digest string `json:"digest,omitempty"`
	Epoch  int    `json:"epoch"`
	// Gate names the gate that the phase went through, Approval says who opened
	// it; both are empty without one.
	Gate     string `json:"gate,omitempty"`
	Approval string `json:"approval,omitempty"`
	// Accepted says why the entry's actor took upon themselves what is not
	// known: an inconclusive verdict, or signals of use that cannot be read.
	Accepted string `json:"accepted,omitempty"`
}

// Migrating is written before a step of a change, Migrated after it.
type Migrating struct {
	Change string      `json:"change"`
	Digest string      `json:"digest"`
	Step   string      `json:"step"`
	State  ChangeState `json:"state"`
	// File is set where the record did not hold the change before: one of an
	// earlier rollout that is restored.
	File *File `json:"file,omitempty"`
}

// Migrated holds what a step of a change did.
type Migrated struct {
	Change string      `json:"change"`
	Digest string      `json:"digest"`
	Step   string      `json:"step"`
	State  ChangeState `json:"state"`
	// Evidence is the database's account of the step.
	Evidence json.RawMessage `json:"evidence,omitempty"`
}

// Launching is written before the candidate is started, Launched when it is
// ready.
type Launching struct {
	Side     Side     `json:"side"`
	Revision Revision `json:"revision"`
}

// Launched says how many instances were ready.
type Launched struct {
	Side      Side     `json:"side"`
	Revision  Revision `json:"revision"`
	Instances int      `json:"instances"`
	Seconds   float64  `json:"seconds"`
}

// Checked says that the candidate was smoke-tested and warmed up.
type Checked struct {
	Side   Side `json:"side"`
	Smoke  int  `json:"smoke"`
	Warmup int  `json:"warmup"`
	// WarmupFailed counts warm-up requests without a good answer; they do not
	// stop a release.
	WarmupFailed int `json:"warmup_failed,omitempty"`
}

// Replacing is written before a rolling update's batch: the candidate's
// instances become To of Of.
type Replacing struct {
	From int `json:"from"`
	To   int `json:"to"`
	Of   int `json:"of"`
}

// Replaced says that the batch serves, tested before it did.
type Replaced struct {
	Replacing
	Checked
	Decided time.Time `json:"decided"`
	// InForce is when the batch took its part of the traffic.
	InForce time.Time `json:"in_force"`
	// Cut is as in Retired.
	Cut int `json:"cut,omitempty"`
}

// Shifting is written before traffic moves.
type Shifting struct {
	From   Weight `json:"from"`
	To     Weight `json:"to"`
	Reason string `json:"reason,omitempty"`
}

// Shifted says when the new weight was in force, as read back.
type Shifted struct {
	From    Weight    `json:"from"`
	To      Weight    `json:"to"`
	Reason  string    `json:"reason,omitempty"`
	Decided time.Time `json:"decided"`
	InForce time.Time `json:"in_force"`
}

// Judged is the verdict at a weight, with the counts it was made from.
type Judged struct {
	Weight  Weight    `json:"weight"`
	Since   time.Time `json:"since"`
	Verdict string    `json:"verdict"`
	Reason  string    `json:"reason"`
	// Judgement is the judge's own account.
	Judgement json.RawMessage `json:"judgement"`
}

// Retired says that a side was drained and stopped.
type Retired struct {
	Side     Side     `json:"side"`
	Revision Revision `json:"revision"`
	// Cut counts requests and upgraded connections that the end of the drain cut.
	Cut int `json:"cut,omitempty"`
}

// Settled ends a rollout that went through.
type Settled struct {
	Stable Revision `json:"stable"`
	Side   Side     `json:"side"`
	// Owed names the changes whose contract is still to come.
	Owed []string `json:"owed,omitempty"`
}

// RolledBack ends a rollout that went back to stable.
type RolledBack struct {
	From    Weight    `json:"from"`
	Reason  string    `json:"reason"`
	Decided time.Time `json:"decided"`
	InForce time.Time `json:"in_force"`
	Epoch   int       `json:"epoch"`
	// Found is set when it was done without the record and found later.
	Found bool `json:"found,omitempty"`
}

// Held keeps the rollout where it is. What was approved before is void, since
// the head has moved.
type Held struct {
	Reason string `json:"reason,omitempty"`
}

// Adopted begins the record of a service whose record was lost, by what was
// seen to serve.
type Adopted struct {
	Stable Revision `json:"stable"`
	Side   Side     `json:"side"`
	Reason string   `json:"reason"`
	// Lost is the head whose record could not be read.
	Lost   Head   `json:"lost"`
	Target string `json:"target"`
	Config File   `json:"config"`
	// Gates are those that were stamped on the platform.
	Gates Gates `json:"gates"`
}

// Ended is written when a phase ends.
type Ended struct {
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason,omitempty"`
	Hint    string  `json:"hint,omitempty"`
	Serving []Share `json:"serving,omitempty"`
	// Probe is what the probe saw during the phase; nil without a probe.
	Probe *Probed `json:"probe,omitempty"`
}

// Probed is what a client outside saw during a phase.
type Probed struct {
	Requests int64 `json:"requests"`
	Dropped  int64 `json:"dropped"`
}

// Kind implements Data.
func (Opened) Kind() Kind { return KindOpened }

// Kind implements Data.
func (Began) Kind() Kind { return KindBegan }

// Kind implements Data.
func (Migrating) Kind() Kind { return KindMigrating }

// Kind implements Data.
func (Migrated) Kind() Kind { return KindMigrated }

// Kind implements Data.
func (Launching) Kind() Kind { return KindLaunching }

// Kind implements Data.
func (Launched) Kind() Kind { return KindLaunched }

// Kind implements Data.
func (Checked) Kind() Kind { return KindChecked }

// Kind implements Data.
func (Replacing) Kind() Kind { return KindReplacing }

// Kind implements Data.
func (Replaced) Kind() Kind { return KindReplaced }

// Kind implements Data.
func (Shifting) Kind() Kind { return KindShifting }

// Kind implements Data.
func (Shifted) Kind() Kind { return KindShifted }

// Kind implements Data.
func (Judged) Kind() Kind { return KindJudged }

// Kind implements Data.
func (Retired) Kind() Kind { return KindRetired }

// Kind implements Data.
func (Settled) Kind() Kind { return KindSettled }

// Kind implements Data.
func (RolledBack) Kind() Kind { return KindRolledBack }

// Kind implements Data.
func (Held) Kind() Kind { return KindHeld }

// Kind implements Data.
func (Adopted) Kind() Kind { return KindAdopted }

// Kind implements Data.
func (Ended) Kind() Kind { return KindEnded }
