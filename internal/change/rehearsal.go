package change

import (
	"fmt"
	"strings"
	"time"
)

// Rehearsal is what a change did to an empty copy of the schema.
type Rehearsal struct {
	Change string
	// Skipped says why the change was not rehearsed, Failed why it did not come
	// to its end; both empty where it did.
	Skipped, Failed string
	// Statements are those that took a strong lock, or changed a definition while
	// one was held.
	Statements []Rehearsed
	// Refusals are what keeps the change from a running service; see Judge.
	Refusals []string
}

// Rehearsed is one statement of a rehearsal.
type Rehearsed struct {
	Part      Part
	Step      string
	Statement string
	// Locks are those that it took, stronger than a writer's, on tables, views
	// and sequences of the application.
	Locks []TableLock
	// Under is set where it ran under locks that statements before it had taken.
	Under bool
	// Rewrites are the tables whose file is another one afterwards.
	Rewrites []string
	// Took is how long it ran, Held how long until its locks were released.
	Took, Held time.Duration
}

// TableLock is a lock on a table, both names as PostgreSQL writes them.
type TableLock struct {
	Table string // qualified and quoted
	Mode  string // ACCESS EXCLUSIVE, ...
}

func (l TableLock) String() string { return strings.ToLower(l.Mode) + " on " + l.Table }

// Blocks reports whether readers or writers of the table wait.
func (l TableLock) Blocks() bool { return l.Mode != "SHARE UPDATE EXCLUSIVE" }

// Judge refuses what a running service must not meet: a rewrite, or a lock that
// was held for longer than a statement may wait for one, though there was not a
// row.
func (r *Rehearsal) Judge(longest time.Duration) {
	r.Refusals = nil
	if r.Failed != "" {
		r.Refusals = append(r.Refusals, "its rehearsal failed: "+r.Failed)
	}
	for _, s := range r.Statements {
		for _, table := range s.Rewrites {
			r.Refusals = append(r.Refusals, fmt.Sprintf("%s rewrites table %s: %s", s.where(), table, s.Statement))
		}
		for _, l := range s.Locks {
			if l.Blocks() && s.Held > longest {
				r.Refusals = append(r.Refusals, fmt.Sprintf("%s held its lock, %s, for %s without a row, allowed %s: %s", s.where(), l, s.Held.Round(time.Millisecond), longest, s.Statement))
			}
		}
	}
}

func (s Rehearsed) where() string { return fmt.Sprintf("%s, step %s", s.Part, s.Step) }
