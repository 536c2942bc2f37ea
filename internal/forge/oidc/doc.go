// Package oidc asks the runner for tokens that prove who a job is, and checks
// such tokens: the issuer signs into them the repository, the ref, the
// environment and the run of the job.
package oidc

import (
	"context"
	"errors"
	"strings"
	"time"
)

// What is told of a token; match with errors.Is. Every other error says that
// it could not be found out.
var (
	// ErrInvalid: the token is not genuine, or not for what it is shown for.
	ErrInvalid = errors.New("the token does not hold")
	// ErrUnknownKey: the key that the token names is not among those that the
	// issuer publishes now. It may have been, once.
	ErrUnknownKey = errors.New("the token is signed by a key that its issuer does not publish")
	// ErrNoToken: the job can get no token.
	ErrNoToken = errors.New("this job can get no OIDC token")
)

// Clock is the time of the machine that asks.
type Clock interface {
	Now() time.Time
	// Sleep returns after d, or earlier with the context's error.
	Sleep(ctx context.Context, d time.Duration) error
}

// Claims are what a token says of its job, as GitHub writes them; numbers are
// text there.
type Claims struct {
	Issuer   string
	Subject  string
	Audience string
	// IssuedAt and Expiry bound when the token is valid, by GitHub's clock.
	IssuedAt time.Time
	Expiry   time.Time

	Repository        string
	RepositoryID      string
	RepositoryOwnerID string
	Ref               string
	// RefProtected is "true" where rules protect the branch.
	RefProtected string
	SHA          string
	// Environment is empty for a job that runs in none.
	Environment    string
	WorkflowRef    string
	JobWorkflowRef string
	EventName      string
	RunID          string
	RunAttempt     string
	Actor          string
}

// OfPullRequest reports whether the job's event is one of a pull request: what
// runs then is, or may be, what its author wrote.
func (c Claims) OfPullRequest() bool {
	return strings.HasPrefix(c.EventName, "pull_request") // _target, _review and _review_comment too
}
