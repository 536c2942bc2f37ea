package github_test

import (
	"testing"

	"github.com/gapless-deploy/gapless/internal/forge/github"
	"github.com/gapless-deploy/gapless/internal/githubtest"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// byComment asks for a comment of somebody who may write.
func (s *stage) byComment() rollout.Ask {
	return rollout.Ask{Gate: rollout.Gate{Comment: "write"}, Phase: rollout.Promote, Digest: due, Commit: s.commit}
}

// comment has somebody comment on a pull request.
func (s *stage) comment(pull *githubtest.PullRequest, login, body string) (*githubtest.Comment, *github.Comment) {
	c := s.repo.Comment(pull.Number, login, body)
	return c, &github.Comment{ID: c.ID, Body: body, Author: login, PullRequest: pull.Number, Action: "created"}
}

// run is a job of the comment's own run.
func (s *stage) run(c *githubtest.Comment) *githubtest.Job {
	return s.repo.Run(githubtest.RunSpec{Event: githubtest.IssueComment, Comment: c, Actor: c.Author()}).
		Job(githubtest.JobSpec{Name: "next", Permissions: usual()})
}

// says gives the gates as the run of somebody's comment meets them.
func (s *stage) says(login, body string) *github.Gates {
	s.t.Helper()
	c, told := s.comment(s.pull, login, body)
	return s.gates(s.run(c), told, nil)
}

func TestApprovedByComment(t *testing.T) {
	s := newStage(t)
	ask := s.byComment()
	open(t, s.says("ben", "/gapless promote "+due), ask, "ben")
	open(t, s.says("ben", "/gapless promote to 5 "+due[:12]+"\nlooks good"), ask, "ben")
	s.repo.Collaborator("mia", "maintain")
	s.repo.Collaborator("adam", githubtest.CanAdmin)
	for _, login := range []string{"ben", "mia", "adam"} {
		open(t, s.says(login, "/gapless promote "+due[:20]), ask, login)
	}
	ask.Phase = rollout.Deploy // a rolling update's own exposure
	open(t, s.says("ben", "/gapless promote "+due), ask, "ben")
	ask.Phase = rollout.Contract
	open(t, s.says("ben", "/gapless contract "+due), ask, "ben")
	ask.Phase, ask.Commit = rollout.Adopt, "" // the record is lost, and what commit it was of
	open(t, s.says("ben", "/gapless adopt "+due), ask, "ben")
	shut(t, s.says("ben", "/gapless promote "+due), ask, "a promote for an adoption", "due is adopt", "/gapless adopt")
	ask.Gate.SecondPerson = true
	shut(t, s.says("ana", "/gapless adopt "+due), ask, "the author alone", "second person", "somebody else")
}

func TestCommentThatNamesSomethingElse(t *testing.T) {
	s := newStage(t)
	ask := s.byComment()
	for body, why := range map[string]string{
		"/gapless promote":                      "does not name what it approves",
		"/gapless promote fedcba987654":         "approves fedcba987654, due is 0123456789ab",
		"/gapless promote " + due[:11]:          "is no digest",
		"/gapless promote " + due + "0":         "is no digest",
		"/gapless promote " + due[:12] + "fedc": "approves 0123456789ab",
		"/gapless contract " + due:              "asks for contract, due is promote",
		"/gapless rollback " + due:              "asks for rollback",
		"/gapless status " + due:                "asks for status",
		"looks good\n/gapless promote " + due:   "is no approval",
		" /gapless promote " + due:              "is no approval",
		"/gaplesspromote " + due:                "is no approval",
		"> /gapless promote " + due:             "is no approval",
		"/gapless\npromote " + due:              "is no approval",
	} {
		shut(t, s.says("ben", body), ask, body, why, "/gapless promote 0123456789ab")
	}
	ask.Phase = rollout.Contract
	shut(t, s.says("ben", "/gapless promote "+due), ask, "a promote for a contract", "due is contract", "/gapless contract 0123456789ab")
}

func TestCommentBySomebodyWhoMayNot(t *testing.T) {
	s := newStage(t)
	body := "/gapless promote " + due
	shut(t, s.says("rita", body), s.byComment(), "a reader", "rita has permission read", "")
	shut(t, s.says("mallory", body), s.byComment(), "a stranger", "mallory has permission read", "")
	shut(t, s.says("github-actions[bot]", body), s.byComment(), "a bot", "no person", "")
	s.repo.Collaborator("mia", "maintain")
	for needs, logins := range map[string][]string{"maintain": {"ben"}, "admin": {"ben", "mia"}} {
		ask := s.byComment()
		ask.Gate.Comment = needs
		for _, login := range logins {
			shut(t, s.says(login, body), ask, login+" where "+needs+" is needed", "the gate asks for "+needs, "")
		}
	}
	ask := s.byComment()
	ask.Gate.Comment = "anything"
	shut(t, s.says("ben", body), ask, "a permission that does not exist", "the gate asks for anything", "")
}

func TestSecondPerson(t *testing.T) {
	s := newStage(t)
	ask := s.byComment()
	ask.Gate.SecondPerson = true
	shut(t, s.says("ana", "/gapless promote "+due), ask, "the author", "ana is the author", "somebody else")
	open(t, s.says("ben", "/gapless promote "+due), ask, "ben")
}

func TestCommentThatChanged(t *testing.T) {
	s := newStage(t)
	body := "/gapless promote " + due
	edited, told := s.comment(s.pull, "ben", "looks good")
	edited.Edit(body)
	told.Body = body
	shut(t, s.gates(s.run(edited), told, nil), s.byComment(), "edited into an approval", "was edited", "anew")

	back, told := s.comment(s.pull, "ben", body)
	job := s.run(back)
	back.Edit("wait")
	shut(t, s.gates(job, told, nil), s.byComment(), "taken back", "was edited", "anew")
	back.Edit(body)
	shut(t, s.gates(job, told, nil), s.byComment(), "taken back, and restored", "was edited", "anew")

	other, _ := s.comment(s.pull, "ben", body)
	c, told := s.comment(s.pull, "rita", body)
	told.Author = "ben"
	shut(t, s.gates(s.run(c), told, nil), s.byComment(), "in another's name", "is by rita, not by ben", "")
	told.Author, told.ID = "ben", 1
	shut(t, s.gates(s.run(other), told, nil), s.byComment(), "deleted", "not found", "")
	_, told = s.comment(s.pull, "ben", body)
	told.Action = "edited"
	shut(t, s.gates(s.run(other), told, nil), s.byComment(), "an event of another kind", "not written but edited", "anew")
}

func TestRunsThatAreNoComments(t *testing.T) {
	s := newStage(t)
	c, told := s.comment(s.pull, "ben", "/gapless promote "+due)
	job := s.run(c)
	push := s.repo.Run(githubtest.RunSpec{}).Job(spec(""))
	shut(t, s.gates(push, nil, nil), s.byComment(), "a push", "this run is for event push", "/gapless promote")
	shut(t, s.gates(push, told, nil), s.byComment(), "a push that brings a comment", "this run is for event push", "")
	shut(t, s.gates(job, nil, nil), s.byComment(), "without a comment", "this run is for event issue_comment", "")

	issue := *told
	issue.PullRequest = 0
	shut(t, s.gates(job, &issue, nil), s.byComment(), "on an issue", "on an issue", "")

	used := s.byComment()
	used.Used = 1
	shut(t, s.gates(job, told, nil), used, "run again", "has let a phase through already", "")
}

func TestCommentOnAnotherPullRequest(t *testing.T) {
	s := newStage(t)
	body := "/gapless promote " + due
	on := func(pull *githubtest.PullRequest) *github.Gates {
		c, told := s.comment(pull, "ben", body)
		return s.gates(s.run(c), told, nil)
	}
	unmerged := s.repo.PullRequest(githubtest.PullRequestSpec{Branch: "next"})
	shut(t, on(unmerged), s.byComment(), "one that is open", "is not merged", "merge it")
	unmerged.Merge("ben")
	shut(t, on(unmerged), s.byComment(), "one merged later", "was merged as", "")

	fork := s.github.Repository("mallory/address-book", githubtest.ForkOf(s.repo))
	foreign := s.repo.PullRequest(githubtest.PullRequestSpec{Head: fork, Branch: "patch", Author: "mallory"})
	ask := s.byComment()
	ask.Commit = foreign.Merge("ben")
	shut(t, on(foreign), ask, "one from a fork", "comes from a fork", "workflow_dispatch")

	ask = s.byComment()
	ask.Commit = ""
	shut(t, on(s.pull), ask, "a rollout of no known commit", "which commit", "")
	open(t, on(s.pull), s.byComment(), "ben")
}

func TestCommentGateThatCannotBeAsked(t *testing.T) {
	s := newStage(t)
	c, told := s.comment(s.pull, "ben", "/gapless promote "+due)
	job := s.repo.Run(githubtest.RunSpec{Event: githubtest.IssueComment, Comment: c}).
		Job(githubtest.JobSpec{Name: "next", Permissions: without(githubtest.PullRequests)})
	shut(t, s.gates(job, told, nil), s.byComment(), "a token without pull-requests: read", "lacks the permission pull-requests: read", "pull-requests: read")
}
