package phase

import (
	"context"
	"net/http"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// Platform is where a service runs. Each verb converges, is safe to repeat,
// and returns once it is in force.
type Platform interface {
	// Observe reports what is there now, in the platform's own time.
	Observe(ctx context.Context) (rollout.Observation, error)
	// Claim stamps the mark by compare-and-set. A stale token is an error that
	// wraps rollout.ErrConflict.
	Claim(ctx context.Context, seen rollout.Token, mark rollout.Mark) error
	// Reach gives a way to one instance past the public routing; requests
	// need a path only.
	Reach(ctx context.Context, instance rollout.Instance) (http.RoundTripper, error)
}

// Sides is a platform that holds two revisions beside each other. A stale
// token is an error that wraps rollout.ErrConflict.
type Sides interface {
	Platform
	// Launch starts spec on side and returns once every instance is ready.
	Launch(ctx context.Context, seen rollout.Token, side rollout.Side, spec rollout.Spec) error
	// Shift divides the traffic.
	Shift(ctx context.Context, seen rollout.Token, split rollout.Split) error
	// Retire drains and stops a side that takes no traffic. It tells how many
	// requests and upgraded connections were cut at the end of the drain.
	Retire(ctx context.Context, seen rollout.Token, side rollout.Side) (cut int, err error)
}

// Roller is a platform that replaces the instances of one revision by those
// of another, some at a time. A stale token is an error that wraps
// rollout.ErrConflict.
type Roller interface {
	Platform
	// Roll brings at least so many of to.Instances into service, in place of as
	// large a part of the other revision, and returns once they serve. At no
	// time are fewer ready than before. What is rolled so far is the candidate's
	// share, see rollout.PartOf; Observe tells it as the split.
	//
	// admit, unless nil, is asked of each new instance once it is ready: before
	// it takes traffic where the platform can hold it back. An error of admit's
	// ends Roll; the instance stays, without traffic if it had none.
	//
	// A specification without a target asks for what the platform kept of the
	// revision, its number of instances included. Roll(stable, all) is the way
	// back: the other revision's instances are then gone. cut is as in
	// Sides.Retire.
	Roll(ctx context.Context, seen rollout.Token, to rollout.Spec, atLeast int,
		admit func(context.Context, rollout.Instance) error) (cut int, err error)
}

// Meter reads what revisions did: one sample for each revision and constant
// split. What is missing is absent, never zero. Of several revisions the last
// is the candidate.
type Meter interface {
	Counts(ctx context.Context, in rollout.Window, of ...rollout.Revision) ([]verdict.Sample, error)
}

// Database runs the steps of schema changes. Each is safe to repeat and goes
// on where a killed one stopped.
type Database interface {
	Inspect(ctx context.Context, c change.Change) (change.Facts, error)
	// Lock lets one runner work at a time; the error names who does.
	Lock(ctx context.Context, holder string) (unlock func(context.Context) error, err error)
	Apply(ctx context.Context, c change.Change, s change.Step, progress func(change.Progress)) (change.Evidence, error)
	Verify(ctx context.Context, c change.Change, scope change.Scope) (change.Evidence, error)
	// Usage tells who used the old form since then.
	Usage(ctx context.Context, c change.Change, since time.Time) (change.Usage, error)
	Registry
}

// Registry is what gapless keeps in a database of all services that use it.
type Registry interface {
	Inventory(ctx context.Context) (change.Inventory, error)
	// ClaimUses says what the service uses by a rollout, besides what it claimed
	// before.
	ClaimUses(ctx context.Context, rollout string, uses []change.Use) error
	// SettleUses leaves of the service's claims those of a rollout, DropUses all
	// others.
	SettleUses(ctx context.Context, rollout string) error
	DropUses(ctx context.Context, rollout string) error
	// Uninstall takes gapless out of the database or, where a service is named,
	// that service's claims. It refuses while something needs them.
	Uninstall(ctx context.Context, service string, dropArchives bool) (change.Removed, error)
}

// Store keeps records.
type Store interface {
	// Load gives the record that ends at want or, where want is zero, the
	// newest. Its errors wrap rollout.ErrNotFound, ErrForked
	// or ErrBroken.
	Load(ctx context.Context, service string, want rollout.Head) (rollout.Record, error)
	// Save keeps a record that follows another one. It returns once the
	// content is safe; the head is moved afterwards, on the platform.
	Save(ctx context.Context, record rollout.Record, follows rollout.Head) error
}

// Seal vouches for records, so that one which nobody entitled has written is
// told from a genuine one.
type Seal interface {
	// Sign signs the newest entry, and by it all before.
	Sign(ctx context.Context, record rollout.Record) (rollout.Signature, error)
	// Verify checks a record's signatures. Its errors wrap rollout.ErrBroken
	// where they do not hold; others say that it could not be found out.
	Verify(ctx context.Context, record rollout.Record) error
}

// Journal keeps what a phase has done on the machine that it runs on, so that
// a later step can write down what a phase that was cut short could not.
type Journal interface {
	Keep(ctx context.Context, kept rollout.Journalled) error
	// Load gives what was kept last; its error wraps rollout.ErrNotFound where
	// there is nothing.
	Load(ctx context.Context) (rollout.Journalled, error)
	Drop(ctx context.Context) error
}

// Probe asks the service from outside while a phase works.
type Probe interface {
	// Start begins; stop ends it and tells what was seen.
	Start(ctx context.Context) (stop func() rollout.Probed)
}
