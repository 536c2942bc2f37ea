package github_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/forge/github"
	"github.com/gapless-deploy/gapless/internal/forge/oidc"
	"github.com/gapless-deploy/gapless/internal/githubtest"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

var _ phase.Gates = (*github.Gates)(nil)

// due is the digest of what is to be approved.
var due = strings.Repeat("0123456789abcdef", 4)

// stage is a repository with people in it and a merged pull request.
type stage struct {
	t      *testing.T
	github *githubtest.Server
	clock  *githubtest.Clock
	repo   *githubtest.Repository
	pull   *githubtest.PullRequest
	commit string
	warned []string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	clock := githubtest.NewClock(time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC))
	s := &stage{t: t, clock: clock, github: githubtest.New(t, githubtest.WithClock(clock))}
	s.repo = s.github.Repository("shop/address-book", githubtest.Protected("main"))
	s.repo.Collaborator("ana", githubtest.CanWrite)
	s.repo.Collaborator("ben", githubtest.CanWrite)
	s.repo.Collaborator("rita", githubtest.CanRead)
	s.pull = s.repo.PullRequest(githubtest.PullRequestSpec{Author: "ana"})
	s.commit = s.pull.Merge("ben")
	return s
}

// usual are the permissions that the guide asks for.
func usual() githubtest.Permissions {
	return githubtest.Permissions{
		githubtest.Contents: githubtest.Read, githubtest.Actions: githubtest.Read,
		githubtest.PullRequests: githubtest.Write, githubtest.IDToken: githubtest.Write,
	}
}

func without(scope githubtest.Scope) githubtest.Permissions {
	p := usual()
	delete(p, scope)
	return p
}

func (s *stage) client(job *githubtest.Job) *github.Client { return s.clientWith(job.Token()) }

func (s *stage) clientWith(token string) *github.Client {
	s.t.Helper()
	client, err := github.New(github.Options{
		API: s.github.APIURL(), Repository: s.repo.FullName(), Token: token, HTTP: s.github.Client(), Clock: s.clock,
		Warn: func(text string) { s.warned = append(s.warned, text) },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return client
}

// gates are those that a job meets; change may have it lie about itself.
func (s *stage) gates(job *githubtest.Job, comment *github.Comment, change func(*github.Job)) *github.Gates {
	s.t.Helper()
	env := job.Env()
	described := s.described(job)
	described.Comment = comment
	if change != nil {
		change(&described)
	}
	return s.gatesOf(s.client(job), described, env["ACTIONS_ID_TOKEN_REQUEST_URL"], env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
}

// gatesWith are those of a job that has a token of one's choice.
func (s *stage) gatesWith(job *githubtest.Job, token string) *github.Gates {
	s.t.Helper()
	runner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := fmt.Fprintf(w, `{"value": %q}`, token); err != nil {
			s.t.Error(err)
		}
	}))
	s.t.Cleanup(runner.Close)
	return s.gatesOf(s.client(job), s.described(job), runner.URL, "secret")
}

func (s *stage) described(job *githubtest.Job) github.Job {
	s.t.Helper()
	env := job.Env()
	attempt, err := strconv.Atoi(env["GITHUB_RUN_ATTEMPT"])
	if err != nil {
		s.t.Fatal(err)
	}
	return github.Job{
		RepositoryID: env["GITHUB_REPOSITORY_ID"], Run: env["GITHUB_RUN_ID"], Attempt: attempt,
		Ref: env["GITHUB_REF"], Event: env["GITHUB_EVENT_NAME"],
	}
}

func (s *stage) gatesOf(client *github.Client, described github.Job, url, token string) *github.Gates {
	s.t.Helper()
	source := &oidc.Source{URL: url, Token: token, HTTP: s.github.Client(), Clock: s.clock}
	verifier := oidc.NewVerifier(s.github.Issuer(), s.github.Client(), s.clock)
	return github.NewGates(client, source, verifier, described)
}

// shut fails unless the gate is shut, with words that say why and a hint that
// says what to do.
func shut(t *testing.T, g *github.Gates, ask rollout.Ask, name, why, todo string) {
	t.Helper()
	who, err := g.Approval(t.Context(), ask)
	if err == nil || who != "" {
		t.Errorf("%s: let through, by %q", name, who)
		return
	}
	if !strings.Contains(err.Error(), why) {
		t.Errorf("%s: shut, but not because of %q: %v", name, why, err)
	}
	if !strings.Contains(hintOf(err), todo) {
		t.Errorf("%s: the hint does not say %q: %q", name, todo, hintOf(err))
	}
}

func open(t *testing.T, g *github.Gates, ask rollout.Ask, want string) {
	t.Helper()
	who, err := g.Approval(t.Context(), ask)
	if err != nil || who != want {
		t.Errorf("approved by %q, %v; want %q", who, err, want)
	}
}

func hintOf(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	return ""
}
