package github_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/forge/github"
	"github.com/gapless-deploy/gapless/internal/githubtest"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

func TestParseCommand(t *testing.T) {
	for body, want := range map[string]github.Command{
		"/gapless status":                              {Verb: github.Status},
		"/gapless rollback":                            {Verb: github.Rollback},
		"/gapless hold\r\nuntil Monday":                {Verb: github.Hold},
		"/gapless retire\n/gapless promote":            {Verb: github.Retire},
		"/gapless\tpromote  to 0.1%  0123456789ab  ":   {Verb: github.Promote, To: 1, Digest: "0123456789ab"},
		"/gapless promote to 100":                      {Verb: github.Promote, To: rollout.Full},
		"/gapless contract 0123456789abcdef":           {Verb: github.Contract, Digest: "0123456789abcdef"},
		"/gapless rollback " + strings.Repeat("a", 64): {Verb: github.Rollback, Digest: strings.Repeat("a", 64)},
	} {
		if got, err := github.ParseCommand(body); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", body, got, err, want)
		}
	}
	for _, body := range []string{
		"", "gapless status", " /gapless status", "\n/gapless status", "/gaplessly status", "/gapless-status", "/Gapless status",
		"I say: /gapless rollback", "`/gapless rollback`", "/gapless\u00a0status", "```\n/gapless rollback\n```",
	} {
		if got, err := github.ParseCommand(body); !errors.Is(err, github.ErrNoCommand) || got != (github.Command{}) {
			t.Errorf("%q: %+v, %v; want no command", body, got, err)
		}
	}
	for body, why := range map[string]string{
		"/gapless":                                "what to do",
		"/gapless\nstatus":                        "what to do",
		"/gapless deploy":                         `"deploy" is no command`,
		"/gapless Promote":                        `"Promote" is no command`,
		"/gapless promote now":                    `"now" is no digest`,
		"/gapless promote 0123456789a":            "is no digest",
		"/gapless promote 0123456789AB":           "is no digest",
		"/gapless promote to":                     `"to" is no digest`,
		"/gapless promote to 101":                 "0 to 100",
		"/gapless promote to 0.05":                "0.1",
		"/gapless promote to 0":                   "goes up",
		"/gapless rollback to 5":                  "goes to no weight",
		"/gapless promote 0123456789ab to 5":      "one word too many",
		"/gapless status 0123456789ab and please": "one word too many",
	} {
		_, err := github.ParseCommand(body)
		if _, ok := errors.AsType[*github.SyntaxError](err); !ok || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want a syntax error with %q", body, err, why)
		}
	}
}

// Whatever is written, a command is read only where it stands at the start, and
// what is read says the same when it is written out.
func TestParseAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.OneOf(rapid.String(), rapid.StringMatching(`/gapless [a-z ]{0,12}(to [0-9.%]{1,4} )?[0-9a-f]{0,14}`)).Draw(t, "body")
		c, err := github.ParseCommand(body)
		if err != nil {
			return
		}
		if !strings.HasPrefix(body, "/gapless") {
			t.Fatalf("%q is read as %+v", body, c)
		}
		again := "/gapless " + string(c.Verb)
		if c.To > 0 {
			again += " to " + c.To.String()
		}
		if got, err := github.ParseCommand(fmt.Sprint(again, " ", c.Digest)); err != nil || got != c {
			t.Fatalf("%q: %+v, then %+v (%v)", body, c, got, err)
		}
	})
}

// read has somebody comment and reads it in the comment's run.
func (s *stage) read(pull *githubtest.PullRequest, login, body string) (*githubtest.Comment, github.Taken, error) {
	s.t.Helper()
	c, told := s.comment(pull, login, body)
	taken, err := github.NewCommands(s.client(s.run(c))).Read(s.t.Context(), *told)
	return c, taken, err
}

func reacted(t *testing.T, c *githubtest.Comment, want ...string) {
	t.Helper()
	if got := c.Reactions()["github-actions[bot]"]; !slices.Equal(got, want) {
		t.Errorf("%q: reactions %q, want %q", c.Body(), got, want)
	}
}

// replies are what the bot wrote on a pull request.
func (s *stage) replies(pull *githubtest.PullRequest) []string {
	var bodies []string
	for _, c := range s.repo.Comments(pull.Number) {
		if c.Author() == "github-actions[bot]" {
			bodies = append(bodies, c.Body())
		}
	}
	return bodies
}

func TestCommandsTaken(t *testing.T) {
	s := newStage(t)
	open := s.repo.PullRequest(githubtest.PullRequestSpec{Branch: "next"})
	fork := s.github.Repository("mallory/address-book", githubtest.ForkOf(s.repo))
	foreign := s.repo.PullRequest(githubtest.PullRequestSpec{Head: fork, Branch: "patch", Author: "mallory"})
	merged := foreign.Merge("ben")
	for _, test := range []struct {
		pull        *githubtest.PullRequest
		login, body string
		want        github.Taken
	}{
		{s.pull, "ben", "/gapless promote to 5 0123456789ab", github.Taken{
			Command: github.Command{Verb: github.Promote, To: 50, Digest: "0123456789ab"}, Permission: "write", Commit: s.commit,
		}},
		{s.pull, "rita", "/gapless status", github.Taken{Command: github.Command{Verb: github.Status}, Permission: "read", Commit: s.commit}},
		{open, "ben", "/gapless rollback", github.Taken{Command: github.Command{Verb: github.Rollback}, Permission: "write"}},
		{foreign, "shop", "/gapless hold", github.Taken{Command: github.Command{Verb: github.Hold}, Permission: "admin", Commit: merged}},
	} {
		test.want.Author, test.want.PullRequest = test.login, test.pull.Number
		c, got, err := s.read(test.pull, test.login, test.body)
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v; want %+v", test.body, got, err, test.want)
		}
		reacted(t, c, "eyes")
		commands := github.NewCommands(s.client(s.run(c)))
		commands.Done(t.Context(), github.Comment{ID: c.ID})
		reacted(t, c, "eyes", "+1")
	}
	if got := s.replies(s.pull); len(got) != 0 {
		t.Errorf("replied to what was taken: %q", got)
	}
}

func TestCommandsRefused(t *testing.T) {
	s := newStage(t)
	open := s.repo.PullRequest(githubtest.PullRequestSpec{Branch: "next"})
	fork := s.github.Repository("mallory/address-book", githubtest.ForkOf(s.repo))
	foreign := s.repo.PullRequest(githubtest.PullRequestSpec{Head: fork, Branch: "patch", Author: "mallory"})
	foreign.Merge("ben")
	for _, test := range []struct {
		pull                       *githubtest.PullRequest
		login, body, why, reaction string
	}{
		{s.pull, "rita", "/gapless rollback", "rollback needs permission write", "-1"},
		{s.pull, "rita", "/gapless hold", "hold needs permission write", "-1"},
		{s.pull, "mallory", "/gapless promote 0123456789ab", "promote needs permission write", "-1"},
		{s.pull, "github-actions[bot]", "/gapless rollback", "no person", "-1"},
		{open, "ben", "/gapless promote 0123456789ab", "is not merged", "-1"},
		{foreign, "ben", "/gapless promote 0123456789ab", "comes from a fork", "-1"},
		{foreign, "ben", "/gapless retire", "comes from a fork", "-1"},
		{s.pull, "ben", "/gapless deploy", "is no command", "confused"},
	} {
		before := len(s.replies(test.pull))
		c, taken, err := s.read(test.pull, test.login, test.body)
		if _, ok := errors.AsType[*github.RefusedError](err); !ok || !strings.Contains(err.Error(), test.why) || taken != (github.Taken{}) {
			t.Errorf("%s by %s: %+v, %v; want %q", test.body, test.login, taken, err, test.why)
		}
		reacted(t, c, test.reaction)
		replies := s.replies(test.pull)
		if len(replies) == 0 || len(replies) == before || strings.Contains(replies[len(replies)-1], "@") {
			t.Errorf("%s by %s: replies %q", test.body, test.login, replies)
		}
	}

	edited, told := s.comment(s.pull, "ben", "/gapless rollback")
	job := s.run(edited)
	edited.Edit("/gapless status")
	if _, err := github.NewCommands(s.client(job)).Read(t.Context(), *told); err == nil || !strings.Contains(err.Error(), "was edited") {
		t.Errorf("an edited comment: %v", err)
	}
	issue, told := s.comment(s.pull, "ben", "/gapless rollback")
	told.PullRequest = 0
	if _, err := github.NewCommands(s.client(s.run(issue))).Read(t.Context(), *told); err == nil || !strings.Contains(err.Error(), "on an issue") {
		t.Errorf("a comment on an issue: %v", err)
	}
	reacted(t, issue, "-1")
}

func TestTalkIsNotAnswered(t *testing.T) {
	s := newStage(t)
	c, _, err := s.read(s.pull, "ben", "what does /gapless rollback do?")
	if !errors.Is(err, github.ErrNoCommand) {
		t.Errorf("%v, want %v", err, github.ErrNoCommand)
	}
	reacted(t, c)
	if got := s.replies(s.pull); len(got) != 0 {
		t.Errorf("replied %q", got)
	}
}

// What is quoted in a reply calls nobody, links nothing and formats nothing;
// a run that is repeated does not reply again.
func TestReply(t *testing.T) {
	s := newStage(t)
	c, told := s.comment(s.pull, "rita", "/gapless <b>@ben</b> #1 `x` [y](https://example.com) | **"+strings.Repeat("z", 200))
	job := s.run(c)
	for range 3 {
		if _, err := github.NewCommands(s.client(job)).Read(t.Context(), *told); err == nil {
			t.Fatal("taken")
		}
	}
	replies := s.replies(s.pull)
	if len(replies) != 1 {
		t.Fatalf("%d replies: %q", len(replies), replies)
	}
	lines := strings.Split(replies[0], "\n")
	quoted := strings.TrimSuffix(strings.TrimPrefix(lines[1], "> <code>"), "</code>")
	if quoted == lines[1] || strings.ContainsAny(quoted, "@<>`[]|*") || len([]rune(quoted)) > 600 {
		t.Errorf("quoted as %s", lines[1])
	}
	if !strings.HasPrefix(lines[0], "<!-- gapless:reply:") || !strings.Contains(replies[0], "To go on: ") {
		t.Errorf("reply %s", replies[0])
	}
}

// Without the permission to answer a command is read all the same.
func TestCommandThatCannotBeAnswered(t *testing.T) {
	s := newStage(t)
	c, told := s.comment(s.pull, "ben", "/gapless rollback")
	p := usual()
	p[githubtest.PullRequests] = githubtest.Read
	job := s.repo.Run(githubtest.RunSpec{Event: githubtest.IssueComment, Comment: c}).Job(githubtest.JobSpec{Name: "next", Permissions: p})
	taken, err := github.NewCommands(s.client(job)).Read(t.Context(), *told)
	if err != nil || taken.Verb != github.Rollback {
		t.Errorf("%+v, %v", taken, err)
	}
	if len(s.warned) != 1 || !strings.Contains(s.warned[0], "pull-requests: write") {
		t.Errorf("warned %q", s.warned)
	}
}
