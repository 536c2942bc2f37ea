package rollout

import (
	"slices"
	"strings"
	"time"
)

// Approval is one that a phase was begun with.
type Approval struct {
	Gate, By, Run string
	At            time.Time
}

// Spent says how many approvals of an environment a run has used up.
type Spent struct {
	Gate  string `json:"gate"`
	Run   string `json:"run"`
	Times int    `json:"times"`
	// Last is when it did so last.
	Last time.Time `json:"last"`
}

// spentFor is how long a run can come back to what it was given: GitHub lets it
// be run again for 30 days, and then wait for 35.
const spentFor = 65 * 24 * time.Hour

func (s Spent) of(gate, run string) bool {
	return s.Run == run && strings.EqualFold(s.Gate, gate) // as GitHub tells environments apart
}

// Used counts the approvals of a gate that a run has used, in this rollout and
// in those before it: the forge counts them by run.
func (s State) Used(gate, run string) int {
	n := 0
	for _, a := range s.all() {
		if a.of(gate, run) {
			n += a.Times
		}
	}
	return n
}

// Spent gives what the next rollout has to know of at a time. A comment needs
// no such account: it names one place in one record.
func (s State) Spent(now time.Time) []Spent {
	return slices.DeleteFunc(s.all(), func(a Spent) bool {
		return !strings.HasPrefix(a.Gate, gateEnvironment) || now.Sub(a.Last) > spentFor
	})
}

// all adds up what was used before and in this rollout.
func (s State) all() []Spent {
	sum := slices.Clone(s.spent)
	for _, a := range s.Approvals {
		i := slices.IndexFunc(sum, func(b Spent) bool { return b.of(a.Gate, a.Run) })
		if i < 0 {
			i, sum = len(sum), append(sum, Spent{Gate: a.Gate, Run: a.Run})
		}
		sum[i].Times, sum[i].Last = sum[i].Times+1, a.At
	}
	return sum
}
