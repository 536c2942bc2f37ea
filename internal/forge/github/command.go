package github

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// MinDigest is how many hex digits of a digest name it at least.
const MinDigest = 12

// Verb is what a comment asks for.
type Verb string

// The verbs.
const (
	Promote  Verb = "promote"
	Rollback Verb = "rollback"
	Hold     Verb = "hold"
	Contract Verb = "contract"
	Retire   Verb = "retire"
	Adopt    Verb = "adopt"
	Status   Verb = "status"
)

// Command is what a comment says to gapless.
type Command struct {
	Verb Verb
	// To is the weight that promote goes to, 0 for the next step.
	To rollout.Weight
	// Digest names what is approved, in 12 to 64 hex digits; it may be empty.
	Digest string
}

// ErrNoCommand says that the comment does not speak to gapless.
var ErrNoCommand = errors.New("the comment is no command")

// SyntaxError says what is wrong with a comment that does.
type SyntaxError struct{ Why string }

// Error gives the reason.
func (e *SyntaxError) Error() string { return e.Why }

// Hint shows how commands look.
func (*SyntaxError) Hint() string {
	return "/gapless promote|rollback|hold|contract|retire|adopt|status [to N] [digest]"
}

var hexDigest = regexp.MustCompile(`^[0-9a-f]{12,64}$`)

// ParseCommand reads a comment. A command stands at its very start, followed by
// white space or nothing; what follows its first line is talk. The error wraps
// ErrNoCommand or is a *SyntaxError.
func ParseCommand(body string) (Command, error) {
	line, _, _ := strings.Cut(body, "\n")
	rest, ok := strings.CutPrefix(line, "/gapless")
	words := strings.Fields(rest)
	if !ok || strings.TrimLeft(rest, " \t\r") == rest && rest != "" {
		return Command{}, ErrNoCommand
	}
	if len(words) == 0 {
		return Command{}, &SyntaxError{"it does not say what to do"}
	}
	c := Command{Verb: Verb(words[0])}
	if !c.Verb.known() {
		return Command{}, &SyntaxError{fmt.Sprintf("%q is no command", words[0])}
	}
	return c.arguments(words[1:])
}

func (c Command) arguments(words []string) (Command, error) {
	if len(words) > 1 && words[0] == "to" {
		to, err := rollout.ParseWeight(words[1])
		switch {
		case c.Verb != Promote:
			return Command{}, &SyntaxError{fmt.Sprintf("%s goes to no weight", c.Verb)}
		case err != nil:
			return Command{}, &SyntaxError{err.Error()}
		case to == 0:
			return Command{}, &SyntaxError{"promote goes up; rollback takes all traffic back"}
		}
		c.To, words = to, words[2:]
	}
	if len(words) > 0 {
		if !hexDigest.MatchString(words[0]) {
			return Command{}, &SyntaxError{fmt.Sprintf("%q is no digest: it has %d to 64 digits of 0-9 and a-f", words[0], MinDigest)}
		}
		c.Digest, words = words[0], words[1:]
	}
	if len(words) > 0 {
		return Command{}, &SyntaxError{fmt.Sprintf("%q is one word too many", words[0])}
	}
	return c, nil
}

func (v Verb) known() bool {
	switch v {
	case Promote, Rollback, Hold, Contract, Retire, Adopt, Status:
		return true
	}
	return false
}

// approves reports whether the verb lets a phase through its gate.
func (v Verb) approves(p rollout.Phase) bool { return v == verbOf(p) }

// verbOf is the verb that lets a phase through its gate: promote whatever
// gives a candidate traffic, contract and adopt the phases of these names.
func verbOf(p rollout.Phase) Verb {
	switch p {
	case rollout.Contract:
		return Contract
	case rollout.Adopt:
		return Adopt
	default:
		return Promote
	}
}

// forward reports whether the verb goes on with a rollout, rather than back or
// nowhere.
func (v Verb) forward() bool { return v == Promote || v == Contract || v == Retire || v == Adopt }
