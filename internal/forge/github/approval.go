package github

import (
	"context"
	"strings"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// comment asks a gate that is a comment. The comment's own run passes it, and
// no other: who approved is then who brought the run about.
func (g *Gates) comment(ctx context.Context, ask rollout.Ask) (string, error) {
	of := g.job.Comment
	switch {
	case g.job.Event != "issue_comment" || of == nil:
		return "", fault(how(ask), "it is opened by a comment; this run is for event %s", g.job.Event)
	case of.PullRequest == 0:
		return "", fault(how(ask), "the comment is on an issue, not on the pull request that brought the revision")
	case ask.Used > 0:
		return "", fault(how(ask), "the comment has let a phase through already")
	}
	if err := names(of.Body, ask); err != nil {
		return "", err
	}
	if err := g.client.untouched(ctx, *of); err != nil {
		return "", err
	}
	has, err := g.client.permission(ctx, of.Author)
	if err != nil {
		return "", err
	}
	if !atLeast(has, ask.Gate.Comment) {
		return "", fault("have somebody comment who has it", "%s has permission %s on the repository, the gate asks for %s", of.Author, has, ask.Gate.Comment)
	}
	if err := g.brought(ctx, *of, ask); err != nil {
		return "", err
	}
	return of.Author, nil
}

// how is what opens the gate.
func how(ask rollout.Ask) string {
	return "comment on the pull request that brought the revision: /gapless " + string(verbOf(ask.Phase)) + " " + ask.Digest[:min(MinDigest, len(ask.Digest))]
}

// names checks that the comment approves this and nothing else.
func names(body string, ask rollout.Ask) error {
	c, err := ParseCommand(body)
	switch {
	case err != nil:
		return fault(how(ask), "the comment is no approval: %w", err)
	case !c.Verb.approves(ask.Phase):
		return fault(how(ask), "the comment asks for %s, due is %s", c.Verb, ask.Phase)
	case c.Digest == "":
		return fault(how(ask), "the comment does not name what it approves")
	case !strings.HasPrefix(ask.Digest, c.Digest):
		return fault(how(ask), "the comment approves %s, due is %s", c.Digest[:MinDigest], ask.Digest[:min(MinDigest, len(ask.Digest))])
	}
	return nil
}

// brought checks that the comment is on the pull request whose merge is what is
// released. To adopt is about a record that is lost, and with it what commit it
// was of: any that was merged here will do.
func (g *Gates) brought(ctx context.Context, of Comment, ask rollout.Ask) error {
	pull, err := g.client.pull(ctx, of.PullRequest)
	if err != nil {
		return err
	}
	if err := ownMerged(pull); err != nil {
		return err
	}
	adopts := ask.Phase == rollout.Adopt
	switch {
	case ask.Commit == "" && !adopts:
		return fault("release by a workflow that runs on push", "the rollout does not say which commit brought the revision")
	case pull.GetMergeCommitSHA() != ask.Commit && !adopts:
		return fault(how(ask), "pull request #%d was merged as %s, the rollout is of %s", pull.GetNumber(), short(pull.GetMergeCommitSHA()), short(ask.Commit))
	case ask.Gate.SecondPerson && (pull.User == nil || strings.EqualFold(pull.User.GetLogin(), of.Author)):
		return fault("have somebody else comment", "%s is the author of pull request #%d, the gate asks for a second person", of.Author, pull.GetNumber())
	}
	return nil
}

func short(sha string) string { return sha[:min(MinDigest, len(sha))] }
