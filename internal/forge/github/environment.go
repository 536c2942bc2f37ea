package github

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-github/v90/github"

	"github.com/gapless-deploy/gapless/internal/forge/oidc"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// environment asks a gate that is an environment: the job's token proves that
// it runs there, the API that this needed somebody's approval, and whose.
func (g *Gates) environment(ctx context.Context, ask rollout.Ask) (string, error) {
	claims, err := g.prove(ctx, ask)
	if err != nil {
		return "", err
	}
	if err := g.protected(ctx, ask.Gate, claims); err != nil {
		return "", err
	}
	return g.approved(ctx, ask)
}

// prove has GitHub sign who this job is, for this gate and nothing else.
func (g *Gates) prove(ctx context.Context, ask rollout.Ask) (oidc.Claims, error) {
	audience := "gapless:gate:" + ask.Digest
	token, err := g.source.Request(ctx, audience)
	if err != nil {
		return oidc.Claims{}, fmt.Errorf("prove that this job runs in %s: %w", ask.Gate, err)
	}
	claims, err := g.verifier.Verify(ctx, token, audience)
	if err != nil {
		return oidc.Claims{}, fmt.Errorf("prove that this job runs in %s: %w", ask.Gate, err)
	}
	return claims, g.own(claims, ask.Gate.Environment)
}

// own checks that the token is this job's, and this job the gate's.
func (g *Gates) own(c oidc.Claims, environment string) error {
	for _, claim := range []struct{ name, proven, said string }{
		{"repository", c.RepositoryID, g.job.RepositoryID},
		{"run", c.RunID, g.job.Run},
		{"attempt", c.RunAttempt, strconv.Itoa(g.job.Attempt)},
		{"ref", c.Ref, g.job.Ref},
	} {
		if claim.proven == "" || claim.proven != claim.said {
			return fault("", "the job's token is for %s %q, the job says %q", claim.name, claim.proven, claim.said)
		}
	}
	switch {
	case c.OfPullRequest():
		return fault("run this phase on push, schedule, workflow_dispatch or issue_comment",
			"a run for event %s may hold what nobody has reviewed", c.EventName)
	case c.Environment == "":
		return fault(fmt.Sprintf("write \"environment: %s\" into the job", environment), "this job runs in no environment, the gate is %s", environment)
	case c.Environment != environment:
		return fault(fmt.Sprintf("write \"environment: %s\" into the job, letter by letter", environment),
			"this job runs in environment %s, the gate is %s", c.Environment, environment)
	}
	return nil
}

const forReading = "actions: read"

// protected checks that whoever runs in the environment was approved, and that
// not just any branch may ask for that. An environment that nobody configured
// lets everything in.
func (g *Gates) protected(ctx context.Context, gate rollout.Gate, claims oidc.Claims) error {
	name := gate.Environment
	env, _, err := g.client.api.Repositories.GetEnvironment(ctx, g.client.owner, g.client.name, url.PathEscape(name))
	if status(err) == http.StatusNotFound {
		return fault(click(name, "Required reviewers"), "environment %s does not exist, or the token lacks the permission %s", name, forReading)
	}
	if err != nil {
		return asked(err, forReading, "read environment %s", name)
	}
	if err := reviewed(env, gate); err != nil {
		return err
	}
	return g.fromBranches(ctx, env, name, claims)
}

// click names the place in GitHub's pages.
func click(environment, setting string) string {
	return fmt.Sprintf("Settings > Environments > %s > %s", environment, setting)
}

func reviewed(env *github.Environment, gate rollout.Gate) error {
	for _, rule := range env.ProtectionRules {
		if rule.GetType() != "required_reviewers" || len(rule.Reviewers) == 0 {
			continue
		}
		if gate.SecondPerson && !rule.GetPreventSelfReview() {
			return fault("tick "+click(gate.Environment, "Prevent self-review"),
				"environment %s lets people approve their own runs, the gate asks for a second person", gate.Environment)
		}
		return nil
	}
	return fault("name somebody in "+click(gate.Environment, "Required reviewers")+
		"; where the plan has no such setting (private repositories need GitHub Enterprise), take a comment gate: {comment: write}",
		"environment %s has no required reviewers: everybody gets in", gate.Environment)
}

// fromBranches checks that only chosen branches may deploy to the environment.
func (g *Gates) fromBranches(ctx context.Context, env *github.Environment, name string, claims oidc.Claims) error {
	choose := "choose in " + click(name, "Deployment branches and tags") + " which may deploy, the default branch say"
	policy := env.DeploymentBranchPolicy
	switch {
	case policy.GetProtectedBranches():
		// While no branch is protected, GitHub takes all of them.
		if claims.RefProtected != "true" {
			return fault("protect the branch in Settings > Rules or Branches, or "+choose,
				"environment %s takes protected branches, and %s is none", name, claims.Ref)
		}
		return nil
	case !policy.GetCustomBranchPolicies():
		return fault(choose, "environment %s takes every branch: whoever can push one gets in without a review of it", name)
	}
	var patterns []string
	err := pages(func(o github.ListOptions) (*github.Response, error) {
		list, resp, err := g.client.api.Repositories.ListDeploymentBranchPolicies(ctx, g.client.owner, g.client.name, url.PathEscape(name), &o)
		if err != nil {
			return resp, err
		}
		for _, p := range list.BranchPolicies {
			patterns = append(patterns, p.GetName())
		}
		return resp, nil
	})
	if err != nil {
		return asked(err, forReading, "read the branches of environment %s", name)
	}
	everything := func(pattern string) bool { return strings.Trim(pattern, "*?/") == "" }
	if len(patterns) == 0 || slices.ContainsFunc(patterns, everything) {
		return fault(choose, "environment %s takes the branches %q", name, patterns)
	}
	return nil
}

// approval is one review of a run's waiting jobs. GitHub tells neither when nor
// in which attempt it was given, so they are counted.
type approval struct {
	State        string                `json:"state"`
	User         *github.User          `json:"user"`
	Environments []*github.Environment `json:"environments"`
}

// approved finds one more approval of the environment in this run than were
// used. Who gave it is, of several people, not told: all are named.
func (g *Gates) approved(ctx context.Context, ask rollout.Ask) (string, error) {
	name := ask.Gate.Environment
	given, err := g.approvals(ctx)
	if err != nil {
		return "", asked(err, forReading, "read the approvals of run %s", g.job.Run)
	}
	named := func(e *github.Environment) bool { return strings.EqualFold(e.GetName(), name) } // as GitHub tells them apart
	count := 0
	var people []string
	for _, a := range given {
		if a.State != "approved" || !slices.ContainsFunc(a.Environments, named) {
			continue
		}
		count++
		if login := a.User.GetLogin(); login != "" && !slices.Contains(people, login) {
			people = append(people, login)
		}
	}
	switch {
	case count <= ask.Used:
		return "", fault("have the job reviewed: run it again (Re-run this job) and approve it there; a reviewer's approval lets one phase through",
			"run %s has %d approvals of environment %s, %d of them used", g.job.Run, count, name, ask.Used)
	case len(people) == 0:
		return "", fault("", "GitHub does not tell who approved environment %s", name)
	}
	return strings.Join(people, ", "), nil
}

func (g *Gates) approvals(ctx context.Context) ([]approval, error) {
	path := fmt.Sprintf("repos/%s/%s/actions/runs/%s/approvals", g.client.owner, g.client.name, url.PathEscape(g.job.Run))
	req, err := g.client.api.NewRequest(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	var given []approval
	_, err = g.client.api.Do(req, &given)
	return given, err
}
