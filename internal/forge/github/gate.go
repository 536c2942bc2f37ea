package github

import (
	"context"

	"github.com/gapless-deploy/gapless/internal/forge/oidc"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Job is the one that asks, as the runner describes it.
type Job struct {
	// RepositoryID and Run are GITHUB_REPOSITORY_ID and GITHUB_RUN_ID.
	RepositoryID string
	Run          string
	Attempt      int
	// Ref is in full: "refs/heads/main".
	Ref string
	// Event is what brought the run about.
	Event string
	// Comment is that of an issue_comment, nil for other events.
	Comment *Comment
}

// Comment is one as the event's payload has it: what was read when the run was
// brought about.
type Comment struct {
	ID   int64
	Body string
	// Author is a login.
	Author string
	// PullRequest is the number of the one commented on, 0 for an issue.
	PullRequest int
	// Action is "created", unless a comment was edited or deleted.
	Action string
}

// Gates finds out whether a gate is open.
type Gates struct {
	client   *Client
	source   *oidc.Source
	verifier *oidc.Verifier
	job      Job
}

// NewGates gives the gates as a job meets them. Its tokens prove in which
// environment it runs.
func NewGates(client *Client, source *oidc.Source, verifier *oidc.Verifier, job Job) *Gates {
	return &Gates{client: client, source: source, verifier: verifier, job: job}
}

// Approval gives who opened the gate. An error says why it is shut, and its
// Hint how it is opened: also where it could not be found out, it is shut.
func (g *Gates) Approval(ctx context.Context, ask rollout.Ask) (who string, err error) {
	switch {
	case ask.Digest == "":
		return "", fault("", "there is no digest that an approval could be bound to")
	case ask.Gate.Environment != "" && ask.Gate.Comment == "":
		return g.environment(ctx, ask)
	case ask.Gate.Comment != "" && ask.Gate.Environment == "":
		return g.comment(ctx, ask)
	}
	return "", fault("name an environment or a comment in the config", "gate %q is neither an environment nor a comment", ask.Gate)
}
