package database

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// UnreachableError is a database that no connection could be made to.
type UnreachableError struct{ Err error }

func (e *UnreachableError) Error() string { return fmt.Sprintf("reach the database: %v", e.Err) }
func (e *UnreachableError) Unwrap() error { return e.Err }

// Hint says what a person can do.
func (e *UnreachableError) Hint() string {
	return "check the address, the credentials and that the server takes connections from here"
}

// PooledError is a connection through a pooler. That it hands statements to
// several servers in turn, as in transaction mode, cannot be told from one that
// does so only between clients: both are refused.
type PooledError struct{}

func (e *PooledError) Error() string {
	return "the connection goes through a pooler: session settings and locks could be another client's"
}

// Hint says what a person can do.
func (e *PooledError) Hint() string { return "give the address of PostgreSQL itself" }

// Blocker is a session that holds what another waits for.
type Blocker struct {
	PID         int32
	Application string
	State       string        // as in pg_stat_activity: idle in transaction, active, ...
	Age         time.Duration // of its transaction
}

func (b Blocker) String() string {
	application := b.Application
	if application == "" {
		application = "no application name"
	}
	return fmt.Sprintf("pid %d (%s, %s for %s)", b.PID, application, b.State, b.Age.Round(time.Second))
}

// LockedError is an object that stayed locked through all attempts.
type LockedError struct {
	Object   string
	Attempts int
	Wait     time.Duration // of each attempt
	Blockers []Blocker
	Err      error // of the last attempt
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s stayed locked, %d attempts of %s: %v", e.Object, e.Attempts, e.Wait, e.Err)
}
func (e *LockedError) Unwrap() error { return e.Err }

// Hint names who holds the lock.
func (e *LockedError) Hint() string {
	if len(e.Blockers) == 0 {
		return "run this again; who held the lock could not be seen"
	}
	names := make([]string, len(e.Blockers))
	for i, b := range e.Blockers {
		names[i] = b.String()
	}
	verb, it := "holds", "it"
	if len(names) > 1 {
		verb, it = "hold", "them"
	}
	return fmt.Sprintf("%s %s it; end %s, then run this again", strings.Join(names, ", "), verb, it)
}

// BusyError is another runner at work on the same database.
type BusyError struct {
	Holder string // as it named itself
	PID    int32
	Since  time.Duration // it connected
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("another runner works on this database: %s (pid %d, for %s)", e.Holder, e.PID, e.Since.Round(time.Second))
}

// Unwrap makes it somebody else at work.
func (e *BusyError) Unwrap() error { return rollout.ErrBusy }

// Hint says what a person can do.
func (e *BusyError) Hint() string { return "wait until it ends, then run this again" }

// EditedError is a change whose file is no longer the one that was begun.
type EditedError struct {
	Change, Was, Is string
	// State is how far the change has come.
	State rollout.ChangeState
}

// Unwrap makes it bad input: nothing was tried.
func (e *EditedError) Unwrap() error { return rollout.ErrInput }

func (e *EditedError) Error() string {
	return fmt.Sprintf("change %s was edited after it was begun: digest %.12s, begun with %.12s", e.Change, e.Is, e.Was)
}

// Hint says what a person can do.
func (e *EditedError) Hint() string {
	switch e.State {
	case rollout.Expanding, rollout.Expanded, rollout.Reverting:
		return "put the file back as it was; or give the edited change a new name; or, where its rollout went back, take it out of the schema with gapless rollback --schema revert and expand it anew"
	default:
		return "put the file back as it was, or give the edited change a new name"
	}
}

// RefusedError is a change that cannot be made, or no further, and why.
type RefusedError struct {
	Change  string
	Reasons []string
	Remedy  string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("change %s: %s", e.Change, strings.Join(e.Reasons, "; "))
}

// Hint says what a person can do.
func (e *RefusedError) Hint() string { return e.Remedy }

// HeldError is an uninstall that something stands against.
type HeldError struct {
	Reasons []string
	Remedy  string
}

// Unwrap makes it a refusal: nothing was tried.
func (e *HeldError) Unwrap() error { return rollout.ErrInput }

func (e *HeldError) Error() string {
	return "gapless is needed in this database: " + strings.Join(e.Reasons, "; ")
}

// Hint says what a person can do.
func (e *HeldError) Hint() string { return e.Remedy }

// SQLSTATEs that are told apart.
const (
	noPrivilege          = "42501"
	lockNotAvailable     = "55P03"
	deadlockDetected     = "40P01"
	serializationFailure = "40001"
	queryCanceled        = "57014"
	raiseException       = "P0001"
	duplicateObject      = "42710"
	undefinedTable       = "42P01"
	undefinedColumn      = "42703"

	insufficientPrivilege = "42501"
)

func sqlState(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}

// metLock tells whether err is about a lock that another try may get.
func metLock(err error) bool {
	code := sqlState(err)
	return code == lockNotAvailable || code == deadlockDetected || code == serializationFailure || errors.Is(err, errLockedParts)
}

// aboutValue tells whether err is what a mapping raises for a value: the
// classes that the sync trigger catches.
func aboutValue(err error) bool {
	code := sqlState(err)
	return strings.HasPrefix(code, "22") || strings.HasPrefix(code, "23") || code == raiseException
}
