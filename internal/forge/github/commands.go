package github

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Taken is a command by somebody who may give it.
type Taken struct {
	Command
	// Author is the login of who gave it, Permission what they may do on the
	// repository.
	Author     string
	Permission string
	// PullRequest is the one commented on; Commit is what it was merged as, empty
	// while it is open.
	PullRequest int
	Commit      string
}

// RefusedError says why a command was not taken.
type RefusedError struct{ err error }

// Error gives the reason.
func (e *RefusedError) Error() string { return "the command is refused: " + e.err.Error() }

// Unwrap gives the reason alone.
func (e *RefusedError) Unwrap() error { return e.err }

// Hint says what to do; it may be empty.
func (e *RefusedError) Hint() string { return rollout.HintOf(e.err) }

// Commands reads what comments say to gapless, and answers there.
type Commands struct{ client *Client }

// NewCommands gives the commands of a repository.
func NewCommands(client *Client) Commands { return Commands{client} }

// Read finds out what a comment commands and whether its author may. What is
// taken gets a reaction; what is refused a reaction and a reply that says why,
// and the error is a *RefusedError. It wraps ErrNoCommand, and nothing is
// answered, where the comment does not speak to gapless. Other errors say that
// it could not be found out.
//
// To go on with a rollout needs the permission to write, and a pull request
// that was merged from a branch of this repository. To go back or to hold needs
// the permission alone: a bad release must not have to wait. Who can read may
// ask for the status.
func (c Commands) Read(ctx context.Context, of Comment) (Taken, error) {
	command, err := ParseCommand(of.Body)
	if errors.Is(err, ErrNoCommand) {
		return Taken{}, err
	}
	taken := Taken{Command: command, Author: of.Author, PullRequest: of.PullRequest}
	if err != nil {
		err = &RefusedError{err}
	} else {
		err = refused(c.may(ctx, of, &taken))
	}
	if refusal, ok := errors.AsType[*RefusedError](err); ok {
		c.Refuse(ctx, of, refusal.err)
	}
	if err != nil {
		return Taken{}, err
	}
	c.react(ctx, of, "eyes")
	return taken, nil
}

// refused tells what was found wrong from what could not be found out.
func refused(err error) error {
	if e, ok := errors.AsType[*Error](err); ok && !e.unanswered {
		return &RefusedError{err}
	}
	return err
}

func (c Commands) may(ctx context.Context, of Comment, taken *Taken) error {
	if of.PullRequest == 0 {
		return fault("comment on the pull request that brought the revision", "it is on an issue")
	}
	if err := c.client.untouched(ctx, of); err != nil {
		return err
	}
	has, err := c.client.permission(ctx, of.Author)
	if err != nil {
		return err
	}
	taken.Permission = has
	needs := "write"
	if taken.Verb == Status {
		needs = "read"
	}
	if !atLeast(has, needs) {
		return fault("", "%s needs permission %s on the repository, %s has %s", taken.Verb, needs, of.Author, has)
	}
	pull, err := c.client.pull(ctx, of.PullRequest)
	if err != nil {
		return err
	}
	if pull.GetMerged() {
		taken.Commit = pull.GetMergeCommitSHA()
	}
	if taken.Verb.forward() {
		return ownMerged(pull)
	}
	return nil
}

// Done answers a command that led on.
func (c Commands) Done(ctx context.Context, of Comment) { c.react(ctx, of, "+1") }

// Refuse answers a command that cannot be followed, with the reason and the
// error's Hint. However often a run is repeated, there is one reply.
func (c Commands) Refuse(ctx context.Context, of Comment, why error) {
	reaction := "-1"
	if _, ok := errors.AsType[*SyntaxError](why); ok {
		reaction = "confused"
	}
	c.react(ctx, of, reaction)
	line, _, _ := strings.Cut(of.Body, "\n")
	reply := fmt.Sprintf("> %s\n\nNot done: %s.", quote(line), literal(why.Error()))
	if h := rollout.HintOf(why); h != "" {
		reply += "\n\nTo go on: " + literal(h)
	}
	number := of.PullRequest
	if number == 0 {
		return // the token may not write on issues; the reaction has to do
	}
	if err := c.client.Sticky(number).Publish(ctx, fmt.Sprintf("<!-- gapless:reply:%d -->", of.ID), reply); err != nil {
		c.client.warn(fmt.Sprintf("the command is not answered: %v", err))
	}
}

func (c Commands) react(ctx context.Context, of Comment, with string) {
	_, _, err := c.client.api.Reactions.CreateIssueCommentReaction(ctx, c.client.owner, c.client.name, of.ID, with)
	if err != nil {
		c.client.warn(asked(err, "pull-requests: write", "react to the comment").Error())
	}
}

// longestQuote bounds what is repeated of somebody's words, in characters.
const longestQuote = 120

// quote repeats somebody's words as they are, and so that they do nothing.
func quote(words string) string {
	runes := []rune(words)
	if len(runes) > longestQuote {
		runes = append(runes[:longestQuote-1:longestQuote-1], '…')
	}
	return "<code>" + literal(string(runes)) + "</code>"
}

// literal writes every sign so that it stands for itself: what Markdown, HTML
// or GitHub would act on becomes an entity, a call to somebody is cut.
func literal(words string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(words, "\uFFFD") {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == ' ':
			b.WriteRune(r)
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			b.WriteRune(unicode.ReplacementChar)
		case strings.ContainsRune(".,;:-()%'", r):
			b.WriteRune(r)
		case r == '@' || r == '#':
			fmt.Fprintf(&b, "&#%d;\u200B", r)
		default:
			fmt.Fprintf(&b, "&#%d;", r)
		}
	}
	return b.String()
}

// Phase gives the phase that a verb asks for; status is none.
func (v Verb) Phase() (rollout.Phase, bool) {
	return rollout.Phase(v), v.known() && v != Status
}
