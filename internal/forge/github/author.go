package github

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-github/v90/github"
)

// permissions are those on a repository, rising, as GitHub names them.
func permissions() []string { return []string{"none", "read", "triage", "write", "maintain", "admin"} }

// permission gives what a person may do on the repository. GitHub tells the two
// standard roles in between, maintain and triage, beside the permission; a role
// that the owners made counts as the permission that it gives.
func (c *Client) permission(ctx context.Context, login string) (string, error) {
	level, _, err := c.api.Repositories.GetPermissionLevel(ctx, c.owner, c.name, login)
	if status(err) == http.StatusNotFound {
		return "none", nil
	}
	if err != nil {
		return "", asked(err, "contents: read", "read the permission of %s", login)
	}
	role := level.GetRoleName()
	if (role == "maintain" && level.GetPermission() == "write") || (role == "triage" && level.GetPermission() == "read") {
		return role, nil
	}
	return level.GetPermission(), nil
}

// atLeast compares two permissions; one that is not known is none.
func atLeast(has, needs string) bool {
	return slices.Index(permissions(), needs) > 0 && slices.Index(permissions(), has) >= slices.Index(permissions(), needs)
}

// untouched reads a comment again: it must say what brought the run about, by
// the same person, and never have been edited.
func (c *Client) untouched(ctx context.Context, of Comment) error {
	now, _, err := c.api.Issues.GetComment(ctx, c.owner, c.name, of.ID)
	if err != nil {
		return asked(err, "pull-requests: read", "read the comment again")
	}
	anew := "write it anew"
	switch {
	case of.Action != "created":
		return fault(anew, "the comment was not written but %s", of.Action)
	case !now.GetCreatedAt().Equal(now.GetUpdatedAt()) || now.GetBody() != of.Body:
		return fault(anew, "the comment was edited")
	case now.User == nil || !strings.EqualFold(now.User.GetLogin(), of.Author):
		return fault(anew, "the comment is by %s, not by %s", now.User.GetLogin(), of.Author)
	case now.User.GetType() != "User":
		return fault("a person has to write it", "%s is no person but a %s", of.Author, strings.ToLower(now.User.GetType()))
	}
	return nil
}

// pull reads a pull request.
func (c *Client) pull(ctx context.Context, number int) (*github.PullRequest, error) {
	pull, _, err := c.api.PullRequests.Get(ctx, c.owner, c.name, number)
	if err != nil {
		return nil, asked(err, "pull-requests: read", "read pull request #%d", number)
	}
	return pull, nil
}

// ownMerged checks that a pull request was merged from a branch of this
// repository: what is released is then what was reviewed here.
func ownMerged(pull *github.PullRequest) error {
	head, base := pull.GetHead().GetRepo().GetID(), pull.GetBase().GetRepo().GetID()
	switch {
	case !pull.GetMerged():
		return fault("merge it first, or comment on the pull request that brought the revision",
			"pull request #%d is not merged: its head can still move", pull.GetNumber())
	case head == 0 || head != base:
		return fault("run the phase by workflow_dispatch, or behind an environment",
			"pull request #%d comes from a fork", pull.GetNumber())
	}
	return nil
}
