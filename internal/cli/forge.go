package cli

import (
	"context"
	"strconv"

	"github.com/gapless-deploy/gapless/internal/forge/github"
	"github.com/gapless-deploy/gapless/internal/forge/runner"
	"github.com/gapless-deploy/gapless/internal/phase"
)

// github is GitHub as far as the job's token reaches; nil where the job has
// none.
func (j *job) github() (*github.Client, error) {
	token := j.Input(runner.InputGitHubToken)
	if token == "" {
		return nil, nil //nolint:nilnil // without a token there is nothing to ask with, which is no error
	}
	return github.New(github.Options{
		API: j.APIURL, Repository: j.Repository, Token: token, HTTP: forgeHTTP(), Clock: phase.SystemClock{},
		Warn: func(text string) { j.out.say("note: " + text + "\n") },
	})
}

// gates finds out whether somebody approved; nil outside of a job, where
// nothing could prove it.
func (env *environment) gates() (phase.Gates, error) {
	j := env.job
	if j == nil {
		return nil, nil //nolint:nilnil // see above
	}
	client, err := j.github()
	if err != nil || client == nil {
		return nil, err
	}
	return github.NewGates(client, j.tokens(), j.verifier(), github.Job{
		RepositoryID: strconv.FormatInt(j.RepositoryID, 10), Run: strconv.FormatInt(j.RunID, 10), Attempt: max(j.Attempt, 1),
		Ref: j.Ref, Event: j.EventName, Comment: j.comment(),
	}), nil
}

// comment is the one that brought the run about; nil where none did.
func (j *job) comment() *github.Comment {
	c := j.event.Comment
	if c == nil {
		return nil
	}
	of := &github.Comment{ID: c.ID, Body: c.Body, Author: c.Author, Action: j.event.Action}
	if p := j.event.PullRequest; p != nil {
		of.PullRequest = p.Number
	}
	return of
}

// sticky is the comment on the pull request that brought a commit, or that the
// run is about. Where there is none, nothing is published, which is said once.
type sticky struct {
	client *github.Client
	// number is that of the pull request, 0 while it is not known.
	number int
	commit string
	say    func(string)
	to     *github.Sticky
	none   bool
}

// find finds out which pull request it is.
func (s *sticky) find(ctx context.Context) error {
	if s.none || s.to != nil {
		return nil
	}
	if s.number == 0 {
		number, why, err := s.client.PullRequestOf(ctx, s.commit)
		if err != nil {
			return err
		}
		if s.number = number; number == 0 {
			s.none = true
			s.say(why + "\n")
			return nil
		}
	}
	s.to = s.client.Sticky(s.number)
	return nil
}

// Publish implements publisher.
func (s *sticky) Publish(ctx context.Context, marker, body string) error {
	if err := s.find(ctx); err != nil || s.none {
		return err
	}
	return s.to.Publish(ctx, marker, body)
}

// Shown gives what the comment with the marker says now; empty where there is
// none.
func (s *sticky) Shown(ctx context.Context, marker string) (string, error) {
	if err := s.find(ctx); err != nil || s.none {
		return "", err
	}
	return s.to.Shown(ctx, marker)
}

// Flush implements publisher.
func (s *sticky) Flush(ctx context.Context) error {
	if s.to == nil {
		return nil
	}
	return s.to.Flush(ctx)
}

// sticky is where the job's comment goes; nil where none is wanted.
func (j *job) sticky(commit string) (*sticky, error) {
	wanted, err := j.Bool(runner.InputComment)
	if err != nil || !wanted {
		return nil, err
	}
	client, err := j.github()
	if err != nil || client == nil {
		return nil, err
	}
	s := &sticky{client: client, commit: commit, say: j.out.say}
	if p := j.event.PullRequest; p != nil && j.event.Comment == nil {
		s.number = p.Number
	}
	return s, nil
}
