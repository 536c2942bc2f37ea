package plan

import (
	"fmt"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Step is one act. A phase knows how to do each kind.
type Step interface {
	// Name says in a few words what is about to be done.
	Name() string
}

// Open begins a rollout's record.
type Open struct{ Opened rollout.Opened }

// Migrate runs one step of a change, during which the change is in state Before
// and after which it is in State.
type Migrate struct {
	Change        change.Change
	Step          change.Step
	Before, State rollout.ChangeState
	// New is set where the record does not hold the change yet.
	New bool
}

// Claim says in the database what the service uses.
type Claim struct{ Uses []change.Use }

// Look finds out what is left of changes in the schema. It is asked for once all
// traffic is back: a database that does not answer delays no way back.
type Look struct{ Changes []change.Change }

// Verify checks that old and new form agree.
type Verify struct {
	Change change.Change
	Scope  change.Scope
}

// Launch starts a revision on a side, weight 0.
type Launch struct {
	Side rollout.Side
	Spec rollout.Spec
}

// Check smoke-tests a side past the public routing, then warms it up.
type Check struct{ Side rollout.Side }

// Shift moves traffic: the candidate on Side gets To.
type Shift struct {
	Side     rollout.Side
	From, To rollout.Weight
	Reason   string
}

// Replace brings a rolling update's next batch into service: started, ready,
// smoke-tested and warm before it takes traffic, then as many of the others
// drained and stopped.
type Replace struct {
	Spec rollout.Spec
	rollout.Replacing
}

// Refill brings stable back to its full strength before it takes traffic back.
type Refill struct {
	Side   rollout.Side
	Stable rollout.Revision
}

// Succeed goes on to the new rollout, once the one that it supersedes has
// ended.
type Succeed struct{ Reason string }

// Watch looks at the counts until Until at the latest.
type Watch struct{ Until time.Time }

// Rule writes a verdict down.
type Rule struct{ Judged rollout.Judged }

// GoBack gives all traffic to stable, at once. Judged is the verdict that led
// to it, nil where there was none.
type GoBack struct {
	Back   rollout.GoingBack
	Judged *rollout.Judged
}

// Remove drains and stops a side. After a rollback nothing is then left of the
// candidate.
type Remove struct {
	Side     rollout.Side
	Revision rollout.Revision
	Back     bool
}

// Settle makes the candidate the stable revision.
type Settle struct{ Settled rollout.Settled }

// Hold keeps the rollout where it is.
type Hold struct{ Held rollout.Held }

// Adopt begins the record anew, by what serves.
type Adopt struct{ Adopted rollout.Adopted }

// Acknowledge writes down a rollback that was done without the record.
type Acknowledge struct{ RolledBack rollout.RolledBack }

// Name implements Step.
func (Open) Name() string { return "open the rollout" }

// Name implements Step.
func (s Migrate) Name() string { return "change " + s.Change.ID + ": " + s.Step.ID }

// Name implements Step.
func (s Claim) Name() string {
	return "say what the service uses of " + count(len(s.Uses), "table", "tables")
}

// Name implements Step.
func (Look) Name() string { return "look what the schema has of the rollout" }

// Name implements Step.
func (s Verify) Name() string { return "change " + s.Change.ID + ": verify" }

// Name implements Step.
func (s Launch) Name() string {
	return "launch " + s.Spec.Revision.String() + " on " + string(s.Side)
}

// Name implements Step.
func (s Check) Name() string { return "smoke-test and warm up " + string(s.Side) }

// Name implements Step.
func (s Shift) Name() string { return "shift from " + s.From.String() + " to " + s.To.String() }

// Name implements Step.
func (s Replace) Name() string {
	return fmt.Sprintf("replace instances: %d to %d of %d run %s", s.From, s.To, s.Of, s.Spec.Revision)
}

// Name implements Step.
func (s Refill) Name() string { return "bring " + s.Stable.String() + " back to its full strength" }

// Name implements Step.
func (s Succeed) Name() string { return s.Reason }

// Name implements Step.
func (Watch) Name() string { return "watch" }

// Name implements Step.
func (s Rule) Name() string { return "verdict: " + s.Judged.Verdict }

// Name implements Step.
func (GoBack) Name() string { return "all traffic back to stable" }

// Name implements Step.
func (s Remove) Name() string { return "drain and stop " + string(s.Side) }

// Name implements Step.
func (Settle) Name() string { return "settle" }

// Name implements Step.
func (Hold) Name() string { return "hold" }

// Name implements Step.
func (s Adopt) Name() string { return "begin the record anew with " + s.Adopted.Stable.String() }

// Name implements Step.
func (Acknowledge) Name() string { return "note the rollback found" }
