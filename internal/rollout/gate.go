package rollout

import (
	"strconv"
	"strings"
)

// Gates are those in force for a rollout, settled when it is opened.
type Gates struct {
	// Promote stands before whatever gives a candidate traffic.
	Promote *Gate `json:"promote,omitempty"`
	// Contract stands before the removal of the old form from the schema.
	Contract *Gate `json:"contract,omitempty"`
}

// Gate is an environment or a comment, exactly one.
type Gate struct {
	// Environment is one of the forge's, with required reviewers, in which the
	// phase's job runs.
	Environment string `json:"environment,omitempty"`
	// Comment is the least permission on the repository of a person whose
	// comment lets the phase through: write, maintain or admin.
	Comment string `json:"comment,omitempty"`
	// SecondPerson asks that the comment be by somebody other than the author of
	// the pull request.
	SecondPerson bool `json:"second_person,omitempty"`
}

// gateEnvironment begins the names of gates that are environments.
const gateEnvironment = "environment "

// String names the gate for people and in the record.
func (g Gate) String() string {
	if g.Environment != "" {
		return gateEnvironment + g.Environment
	}
	return "comment by " + g.Comment
}

// WeightInName stands, in the name of an environment before promote, for the
// weight in percent that the phase goes to: each step can have its own.
const WeightInName = "{to}"

// Of gives the gate of a phase; exposes says whether it gives a candidate
// traffic, and to up to which weight, 0 being all of it. Nil where none is in
// force.
func (g Gates) Of(p Phase, exposes bool, to Weight) *Gate {
	switch {
	case exposes && g.Promote != nil:
		gate := *g.Promote
		if to == 0 {
			to = Full
		}
		gate.Environment = strings.ReplaceAll(gate.Environment, WeightInName, strconv.FormatFloat(to.Percent(), 'f', -1, 64))
		return &gate
	case exposes:
		return nil
	case p == Contract:
		return g.Contract
	}
	return nil
}

// Ask is what a gate is asked.
type Ask struct {
	Gate  Gate
	Phase Phase
	// Digest is what the approval has to be bound to.
	Digest string
	// Commit is the one that brought the revision; empty where it is not known.
	Commit string
	// Used counts the approvals of the gate that this run has used already.
	Used int
}
