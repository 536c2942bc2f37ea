package githubtest_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/gapless-deploy/gapless/internal/githubtest"
)

// asked asks for an ID token as a job does.
func asked(t *testing.T, job *githubtest.Job, audience string) string {
	t.Helper()
	env := job.Env()
	content := status(t, http.StatusOK, "GET", env["ACTIONS_ID_TOKEN_REQUEST_URL"]+"&audience="+audience, env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"], "")
	token, _ := decode(t, content)["value"].(string)
	return token
}

// verified verifies a token by the published keys, as they are now.
func verified(t *testing.T, s *githubtest.Server, clock *githubtest.Clock, audience, token string) (*oidc.IDToken, error) {
	t.Helper()
	provider, err := oidc.NewProvider(t.Context(), s.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	return provider.Verifier(&oidc.Config{ClientID: audience, Now: clock.Now}).Verify(t.Context(), token)
}

func TestIDTokens(t *testing.T) {
	clock := noon()
	s := githubtest.New(t, githubtest.WithClock(clock))
	_, job := shop(s, githubtest.JobSpec{Environment: "canary-1"})
	token := asked(t, job, "gapless:abc")
	got, err := verified(t, s, clock, "gapless:abc", token)
	if err != nil {
		t.Fatal(err)
	}
	if got.Subject != "repo:acme/shop:environment:canary-1" || got.Expiry.Sub(got.IssuedAt) != 5*time.Minute {
		t.Errorf("subject %s, %s to %s", got.Subject, got.IssuedAt, got.Expiry)
	}
	claims := map[string]any{}
	if err := got.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	env := job.Env()
	for claim, want := range map[string]string{
		"ref": env["GITHUB_REF"], "sha": env["GITHUB_SHA"], "repository": env["GITHUB_REPOSITORY"],
		"repository_id": env["GITHUB_REPOSITORY_ID"], "repository_owner": "acme", "repository_owner_id": env["GITHUB_REPOSITORY_OWNER_ID"],
		"run_id": env["GITHUB_RUN_ID"], "run_attempt": "1", "run_number": "1", "actor": "acme", "actor_id": env["GITHUB_ACTOR_ID"],
		"workflow": env["GITHUB_WORKFLOW"], "workflow_ref": env["GITHUB_WORKFLOW_REF"], "workflow_sha": env["GITHUB_SHA"],
		"job_workflow_ref": env["GITHUB_WORKFLOW_REF"], "event_name": "push", "ref_type": "branch", "ref_protected": "true",
		"environment": "canary-1", "head_ref": "", "base_ref": "", "repository_visibility": "public", "runner_environment": "github-hosted",
	} {
		if claims[claim] != want {
			t.Errorf("claim %s is %v, want %q", claim, claims[claim], want)
		}
	}
	if _, err := verified(t, s, clock, "gapless:another", token); err == nil {
		t.Error("a token for another audience is verified")
	}
	s.RotateKeys()
	if _, err := verified(t, s, clock, "gapless:abc", token); err != nil {
		t.Errorf("after a new key: %v", err)
	}
	if _, err := verified(t, s, clock, "x", asked(t, job, "x")); err != nil {
		t.Errorf("by the new key: %v", err)
	}
	s.ForgetKeys()
	if _, err := verified(t, s, clock, "gapless:abc", token); err == nil {
		t.Error("a token of a forgotten key is verified")
	}
	token = asked(t, job, "y")
	clock.Advance(5*time.Minute + time.Second)
	if _, err := verified(t, s, clock, "y", token); err == nil {
		t.Error("an old token is verified")
	}
	if forged, err := verified(t, s, clock, "y", job.IDToken("y", map[string]any{"sub": "repo:evil", "environment": nil})); err != nil || forged.Subject != "repo:evil" {
		t.Errorf("%v, %v", forged, err)
	}
	without := job.Run().Job(githubtest.JobSpec{Name: "plan", Permissions: githubtest.Permissions{githubtest.IDToken: githubtest.Read}}).Env()
	if without["ACTIONS_ID_TOKEN_REQUEST_URL"] != "" || without["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] != "" {
		t.Error("a job without id-token: write may ask for one")
	}
	status(t, http.StatusUnauthorized, "GET", env["ACTIONS_ID_TOKEN_REQUEST_URL"], "forged", "")
	job.Complete("success")
	status(t, http.StatusUnauthorized, "GET", env["ACTIONS_ID_TOKEN_REQUEST_URL"], env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"], "")
}

func TestSubjects(t *testing.T) {
	clock := noon()
	s := githubtest.New(t, githubtest.WithClock(clock))
	repo, job := shop(s, githubtest.JobSpec{})
	newer := s.Repository("acme/new", githubtest.SubjectWithIDs(), githubtest.DefaultBranch("trunk"), githubtest.Private())
	pull := repo.PullRequest(githubtest.PullRequestSpec{Branch: "change"})
	reused := githubtest.JobSpec{Name: "x", Permissions: every, Workflow: ".github/workflows/reused.yml"}
	for want, job := range map[string]*githubtest.Job{
		"repo:acme/shop:ref:refs/heads/main":                                             job,
		"repo:acme/shop:pull_request":                                                    repo.Run(githubtest.RunSpec{Event: githubtest.OnPullRequest, PullRequest: pull}).Job(reused),
		fmt.Sprintf("repo:acme@%d/new@%d:ref:refs/heads/trunk", newer.OwnerID, newer.ID): newer.Run(githubtest.RunSpec{}).Job(reused),
	} {
		token, err := verified(t, s, clock, "a", asked(t, job, "a"))
		if err != nil || token.Subject != want {
			t.Errorf("subject %v, %v, want %s", token, err, want)
		}
	}
}
