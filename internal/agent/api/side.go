// Package api is the language spoken with a gapless agent: the JSON of its
// admin interface and a client for it. It knows nothing of how the agent works.
//
// Every change names the token of the state it was decided on. The agent
// refuses a change whose token is no longer the present one with [ErrConflict],
// so that of two writers one wins and the other looks again.
package api

import (
	"encoding/json"
	"fmt"
	"time"
)

// Side is one of the two places where a revision can stand.
type Side string

// The two sides of a service.
const (
	Blue  Side = "blue"
	Green Side = "green"
)

// Sides lists both sides in their fixed order.
func Sides() [2]Side { return [2]Side{Blue, Green} }

// Other is the side that s is not.
func (s Side) Other() Side {
	if s == Blue {
		return Green
	}
	return Blue
}

// Check returns an error that names s unless it is blue or green.
func (s Side) Check() error {
	if s != Blue && s != Green {
		return fmt.Errorf("side %q: must be blue or green", string(s))
	}
	return nil
}

// Revision names what runs: the version and the digest of its whole
// definition, so that a change of configuration alone is another revision.
type Revision struct {
	ID     string `json:"id"`
	Digest string `json:"digest,omitempty"`
}

// Whole is the sum of all weights: weights are counted in tenths of a percent.
const Whole = 1000

// Weights is each side's share of public traffic in tenths of a percent
// (0 to 1000); an absent side has none.
type Weights map[Side]int

// Check returns an error unless the weights name known sides, lie between 0
// and [Whole] and add up to it.
func (w Weights) Check() error {
	sum := 0
	for side, weight := range w {
		if err := side.Check(); err != nil {
			return fmt.Errorf("weights: %w", err)
		}
		if weight < 0 || weight > Whole {
			return fmt.Errorf("weight of %s: %d is not within 0 to %d (tenths of a percent)", side, weight, Whole)
		}
		sum += weight
	}
	if sum != Whole {
		return fmt.Errorf("weights add up to %d, must be %d (tenths of a percent)", sum, Whole)
	}
	return nil
}

// Equal tells whether both give each side the same share.
func (w Weights) Equal(other Weights) bool {
	return w[Blue] == other[Blue] && w[Green] == other[Green]
}

// Duration is a time.Duration written as text ("300ms").
type Duration time.Duration

// MarshalJSON writes the duration as text.
func (d Duration) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(d).String())
}

// UnmarshalJSON reads text as [time.ParseDuration] takes it.
func (d *Duration) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("duration %s: must be text such as \"300ms\"", raw)
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("duration %q: must be a number and a unit, such as \"300ms\"", text)
	}
	*d = Duration(parsed)
	return nil
}

// Std is d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }
