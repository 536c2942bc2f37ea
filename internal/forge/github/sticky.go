package github

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/go-github/v90/github"
)

const (
	// maxComment is how many characters GitHub takes.
	maxComment = 65536
	// apart is how long two updates of a comment lie apart at least; each counts
	// against the repository's thousand requests an hour.
	apart = 15 * time.Second
	// bot is who comments by a job's own token.
	bot = "github-actions[bot]"
)

const forCommenting = "pull-requests: write"

// Sticky is a comment that is kept up to date: one for each marker, found again
// by it from run to run.
type Sticky struct {
	client *Client
	number int

	mu     sync.Mutex
	login  string // whose comments are ours
	marker string
	id     int64
	shown  string
	at     time.Time
	// due is what is to be shown once the last update is long enough ago.
	due string
}

// Sticky gives the comment on a pull request.
func (c *Client) Sticky(number int) *Sticky { return &Sticky{client: c, number: number} }

// Publish shows body in the comment with the marker, which becomes its first
// line if it is not that already. The comment is made where there is none, and
// changed only where it differs, every 15 s at most: what comes earlier is kept
// for Flush, or replaced by what comes then. A comment by anybody else is never
// taken for it, whatever it says.
func (s *Sticky) Publish(ctx context.Context, marker, body string) error {
	if !strings.HasPrefix(body, marker+"\n") {
		body = marker + "\n" + body
	}
	if n := utf8.RuneCountInString(body); n > maxComment {
		return fault("", "the comment has %d characters, GitHub takes %d", n, maxComment)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if marker != s.marker {
		if err := s.flush(ctx); err != nil {
			return err
		}
		s.marker, s.id, s.shown, s.at = marker, 0, "", time.Time{}
	}
	s.due = body
	if !s.at.IsZero() && s.client.clock.Now().Sub(s.at) < apart {
		return nil
	}
	return s.flush(ctx)
}

// Shown gives what our comment with the marker says now; empty where there is
// none.
func (s *Sticky) Shown(ctx context.Context, marker string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.login == "" {
		s.login = s.client.self(ctx)
	}
	if s.marker != marker {
		s.marker, s.id, s.shown, s.at = marker, 0, "", time.Time{}
	}
	found, err := s.find(ctx)
	if err != nil || found == nil {
		return "", err
	}
	return found.GetBody(), nil
}

// Flush shows what came last, however soon after the one before.
func (s *Sticky) Flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flush(ctx)
}

func (s *Sticky) flush(ctx context.Context) error {
	if s.due == "" || s.due == s.shown {
		s.due = ""
		return nil
	}
	err := s.show(ctx, s.due)
	if err == nil {
		s.shown, s.due = s.due, ""
	}
	s.at = s.client.clock.Now() // also after a failure: GitHub is not pressed
	return err
}

func (s *Sticky) show(ctx context.Context, body string) error {
	if s.id != 0 {
		gone, err := s.edit(ctx, body)
		if !gone { // else somebody deleted it
			return err
		}
	}
	if s.login == "" {
		s.login = s.client.self(ctx)
	}
	found, err := s.find(ctx)
	if err != nil {
		return err
	}
	if found == nil {
		return s.create(ctx, body)
	}
	s.id = found.GetID()
	if found.GetBody() == body {
		return nil
	}
	_, err = s.edit(ctx, body)
	return err
}

// self is who comments by the token: a person where it is one's own, else the
// bot of the job's token. That of another app shows in what it writes first.
func (c *Client) self(ctx context.Context) string {
	if c.app {
		return bot
	}
	user, _, err := c.api.Users.Get(ctx, "")
	if err != nil || user.GetLogin() == "" {
		return bot
	}
	return user.GetLogin()
}

// find gives our oldest comment with the marker, nil where there is none.
func (s *Sticky) find(ctx context.Context) (*github.IssueComment, error) {
	var found *github.IssueComment
	err := pages(func(o github.ListOptions) (*github.Response, error) {
		list, resp, err := s.client.api.Issues.ListComments(ctx, s.client.owner, s.client.name, s.number, &github.IssueListCommentsOptions{ListOptions: o})
		for _, c := range list {
			ours := c.User.GetLogin() == s.login && strings.HasPrefix(c.GetBody(), s.marker+"\n")
			if ours && (found == nil || c.GetID() < found.GetID()) {
				found = c
			}
		}
		return resp, err
	})
	if err != nil {
		return nil, asked(err, forCommenting, "look for the comment on #%d", s.number)
	}
	return found, nil
}

// create makes the comment. Where another job did so at the same time, the
// older one stays and ours goes.
func (s *Sticky) create(ctx context.Context, body string) error {
	made, _, err := s.client.api.Issues.CreateComment(ctx, s.client.owner, s.client.name, s.number, &github.IssueComment{Body: &body})
	if err != nil {
		return asked(err, forCommenting, "comment on #%d", s.number)
	}
	s.id, s.login = made.GetID(), made.User.GetLogin()
	oldest, err := s.find(ctx)
	if err != nil || oldest == nil || oldest.GetID() == s.id {
		return err
	}
	ours := s.id
	s.id = oldest.GetID()
	if _, err := s.edit(ctx, body); err != nil {
		return err
	}
	if _, err := s.client.api.Issues.DeleteComment(ctx, s.client.owner, s.client.name, ours); err != nil && status(err) != http.StatusNotFound {
		return asked(err, forCommenting, "delete the second comment on #%d", s.number)
	}
	return nil
}

func (s *Sticky) edit(ctx context.Context, body string) (gone bool, err error) {
	_, _, err = s.client.api.Issues.EditComment(ctx, s.client.owner, s.client.name, s.id, &github.IssueComment{Body: &body})
	if err != nil {
		return status(err) == http.StatusNotFound, asked(err, forCommenting, "update the comment on #%d", s.number)
	}
	return false, nil
}

// PullRequestOf gives the pull request that brought a commit: the one that was
// merged as it. Where there is none, why says so in one line.
func (c *Client) PullRequestOf(ctx context.Context, commit string) (number int, why string, err error) {
	if commit == "" {
		return 0, "no comment: the commit that brought the revision is not known", nil
	}
	err = pages(func(o github.ListOptions) (*github.Response, error) {
		list, resp, err := c.api.PullRequests.ListPullRequestsWithCommit(ctx, c.owner, c.name, commit, &o)
		for _, p := range list {
			if p.MergedAt != nil && p.GetMergeCommitSHA() == commit && (number == 0 || p.GetNumber() < number) {
				number = p.GetNumber()
			}
		}
		return resp, err
	})
	if err != nil {
		return 0, "", asked(err, "pull-requests: read", "find the pull request of commit %s", short(commit))
	}
	if number == 0 {
		why = fmt.Sprintf("no comment: commit %s was merged from no pull request", short(commit))
	}
	return number, why, nil
}
