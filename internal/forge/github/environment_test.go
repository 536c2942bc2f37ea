package github_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/forge/github"
	"github.com/gapless-deploy/gapless/internal/githubtest"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// guarded is an environment as the guide says.
func guarded() githubtest.Protection {
	return githubtest.Protection{Reviewers: []string{"ben", "eva"}, Branches: githubtest.CustomBranches, Patterns: []string{"main"}}
}

func production() rollout.Ask {
	return rollout.Ask{Gate: rollout.Gate{Environment: "production"}, Phase: rollout.Promote, Digest: due}
}

func spec(environment string) githubtest.JobSpec {
	return githubtest.JobSpec{Name: "promote", Environment: environment, Permissions: usual()}
}

// approved is a job of a new run that ben let into production.
func (s *stage) approved(p githubtest.Protection, permissions githubtest.Permissions) *githubtest.Job {
	s.t.Helper()
	s.repo.Environment("production", p)
	run := s.repo.Run(githubtest.RunSpec{})
	job := run.Job(githubtest.JobSpec{Name: "promote", Environment: "production", Permissions: permissions})
	if len(p.Reviewers) > 0 {
		run.Approve("production", "ben")
	}
	s.clock.Advance(p.Wait)
	return job
}

func TestApprovedEnvironment(t *testing.T) {
	s := newStage(t)
	open(t, s.gates(s.approved(guarded(), usual()), nil, nil), production(), "ben")
	open(t, s.gates(s.approved(githubtest.Protection{Reviewers: []string{"ben"}, Branches: githubtest.ProtectedBranches}, usual()), nil, nil),
		production(), "ben")
}

func TestEnvironmentThatIsNotProtected(t *testing.T) {
	change := func(f func(*githubtest.Protection)) githubtest.Protection { p := guarded(); f(&p); return p }
	tests := map[string]struct {
		protection githubtest.Protection
		why, todo  string
	}{
		"nobody configured it": {githubtest.Protection{}, "no required reviewers", "Settings > Environments > production > Required reviewers"},
		"a wait timer only": {
			change(func(p *githubtest.Protection) { p.Reviewers, p.Wait = nil, time.Minute }),
			"no required reviewers", "comment gate",
		},
		"any branch": {
			change(func(p *githubtest.Protection) { p.Branches = githubtest.AnyBranch }),
			"takes every branch", "Settings > Environments > production > Deployment branches and tags",
		},
		"a pattern for any branch of a letter or more": {
			change(func(p *githubtest.Protection) { p.Patterns = []string{"?*"} }), `takes the branches ["?*"]`, "Deployment branches",
		},
		"a pattern for any branch": {
			change(func(p *githubtest.Protection) { p.Patterns = []string{"main", "*"} }), `takes the branches ["main" "*"]`, "Deployment branches",
		},
	}
	for name, test := range tests {
		s := newStage(t)
		shut(t, s.gates(s.approved(test.protection, usual()), nil, nil), production(), name, test.why, test.todo)
	}
}

// "Protected branches only" takes every branch while none is protected.
func TestProtectedBranchesOfWhichThereAreNone(t *testing.T) {
	s := newStage(t)
	s.repo = s.github.Repository("shop/billing", githubtest.Protected("main"))
	job := s.approved(githubtest.Protection{Reviewers: []string{"ben"}, Branches: githubtest.ProtectedBranches}, usual())
	open(t, s.gates(job, nil, nil), production(), "ben")
	token := job.IDToken("gapless:gate:"+due, map[string]any{"ref_protected": "false"})
	shut(t, s.gatesWith(job, token), production(), "main is not protected", "takes protected branches, and refs/heads/main is none", "protect the branch")
}

// The reviewers were taken out after the job had started, or the environment
// was removed altogether.
func TestEnvironmentThatChanged(t *testing.T) {
	s := newStage(t)
	job := s.approved(guarded(), usual())
	env := s.repo.Environment("production", githubtest.Protection{Branches: githubtest.CustomBranches, Patterns: []string{"main"}})
	shut(t, s.gates(job, nil, nil), production(), "reviewers removed", "no required reviewers", "Required reviewers")
	s.repo.Environment("production", githubtest.Protection{Reviewers: []string{"ben"}, Branches: githubtest.CustomBranches})
	shut(t, s.gates(job, nil, nil), production(), "patterns removed", "takes the branches []", "Deployment branches")
	env.Delete()
	shut(t, s.gates(job, nil, nil), production(), "environment removed", "does not exist", "Settings > Environments > production")
}

// A rule that only looks like reviewers is none.
func TestRulesWithoutReviewers(t *testing.T) {
	s := newStage(t)
	job := s.approved(guarded(), usual())
	transport := s.github.Client().Transport
	for _, rule := range []string{
		`{"id": 1, "type": "required_reviewers", "reviewers": []}`,
		`{"id": 1, "type": "wait_timer", "wait_timer": 5, "reviewers": [{"type": "User", "reviewer": {"login": "ben"}}]}`,
		`{"id": 1, "type": "required_reviewers", "reviewers": [{"type": "Robot", "reviewer": {"login": "ben"}}]}`,
	} {
		env := job.Env()
		client, err := github.New(github.Options{
			API: s.github.APIURL(), Repository: s.repo.FullName(), Token: job.Token(), Clock: s.clock,
			HTTP: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if !strings.HasSuffix(r.URL.Path, "/environments/production") {
					return transport.RoundTrip(r)
				}
				body := `{"name": "production", "deployment_branch_policy": {"protected_branches": true}, "protection_rules": [` + rule + `]}`
				return &http.Response{StatusCode: http.StatusOK, Request: r, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
			})},
		})
		if err != nil {
			t.Fatal(err)
		}
		gates := s.gatesOf(client, s.described(job), env["ACTIONS_ID_TOKEN_REQUEST_URL"], env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
		shut(t, gates, production(), rule, "environment production", "")
	}
}

func TestJobOutsideOfTheEnvironment(t *testing.T) {
	s := newStage(t)
	approved := s.approved(guarded(), usual())
	run := approved.Run()
	shut(t, s.gates(run.Job(spec("")), nil, nil), production(), "a job of the same run, in none", "runs in no environment", "environment: production")
	s.repo.Environment("staging", githubtest.Protection{})
	shut(t, s.gates(run.Job(spec("staging")), nil, nil), production(), "in another one", "runs in environment staging", "environment: production")

	lies := map[string]func(*github.Job){
		"run":        func(j *github.Job) { j.Run = "1" },
		"attempt":    func(j *github.Job) { j.Attempt = 2 },
		"ref":        func(j *github.Job) { j.Ref = "refs/heads/feature" },
		"repository": func(j *github.Job) { j.RepositoryID = "1" },
	}
	for what, lie := range lies {
		shut(t, s.gates(approved, nil, lie), production(), "a job that says to be another one", "the job's token is for "+what, "")
	}
	bare := run.Job(githubtest.JobSpec{Name: "promote", Permissions: without(githubtest.IDToken)})
	shut(t, s.gates(bare, nil, nil), production(), "a job without a token", "can get no OIDC token", "id-token: write")
}

// A token that was made for another gate, or another purpose, opens none.
func TestTokensOfOthers(t *testing.T) {
	s := newStage(t)
	job := s.approved(guarded(), usual())
	for name, token := range map[string]string{
		"for another digest":       job.IDToken("gapless:gate:"+strings.Repeat("f", 64), nil),
		"that signs a record":      job.IDToken("gapless:"+due, nil),
		"of another issuer":        job.IDToken("gapless:gate:"+due, map[string]any{"iss": "https://example.com"}),
		"that has expired":         job.IDToken("gapless:gate:"+due, map[string]any{"exp": s.clock.Now().Add(-time.Hour).Unix()}),
		"of a pull request's run":  job.IDToken("gapless:gate:"+due, map[string]any{"event_name": "pull_request_target"}),
		"of another run":           job.IDToken("gapless:gate:"+due, map[string]any{"run_id": "7"}),
		"without an environment":   job.IDToken("gapless:gate:"+due, map[string]any{"environment": nil}),
		"of another repository":    job.IDToken("gapless:gate:"+due, map[string]any{"repository_id": "7"}),
		"of a similar environment": job.IDToken("gapless:gate:"+due, map[string]any{"environment": "Production"}),
	} {
		shut(t, s.gatesWith(job, token), production(), "a token "+name, "", "")
	}
	open(t, s.gatesWith(job, job.IDToken("gapless:gate:"+due, nil)), production(), "ben")
}

func TestApprovalsAreCounted(t *testing.T) {
	s := newStage(t)
	job := s.approved(guarded(), usual())
	run := job.Run()
	used := production()
	used.Used = 1
	shut(t, s.gates(job, nil, nil), used, "an approval used before", "1 approvals of environment production, 1 of them used", "run it again")

	// A job run again is approved again, and GitHub tells of both.
	run.Rerun()
	again := run.Job(spec("production"))
	run.Approve("production", "eva")
	open(t, s.gates(again, nil, nil), used, "ben, eva")
	used.Used = 2
	shut(t, s.gates(again, nil, nil), used, "both used", "2 approvals", "")
}

func TestApprovalsThatDoNotCount(t *testing.T) {
	s := newStage(t)
	s.repo.Environment("production", guarded())
	s.repo.Environment("staging", guarded())

	run := s.repo.Run(githubtest.RunSpec{})
	run.Job(spec("production"))
	run.Reject("production", "ben")
	run.Job(spec("staging"))
	run.Approve("staging", "ben")
	p := guarded()
	p.AdminsBypass = true
	s.repo.Environment("production", p)
	job := run.Job(spec("production"))
	job.Bypass()
	shut(t, s.gates(job, nil, nil), production(), "rejected, approved for another environment, and bypassed", "0 approvals", "")

	other := s.repo.Run(githubtest.RunSpec{})
	other.Job(spec("production"))
	other.Approve("production", "ben")
	shut(t, s.gates(job, nil, nil), production(), "approved in another run", "0 approvals", "")
}

// One approval lets every waiting job of the environment start; it still lets
// one phase through.
func TestOneApprovalForTwoJobs(t *testing.T) {
	s := newStage(t)
	s.repo.Environment("production", guarded())
	run := s.repo.Run(githubtest.RunSpec{})
	one, two := run.Job(spec("production")), run.Job(spec("production"))
	run.Approve("production", "ben")
	open(t, s.gates(one, nil, nil), production(), "ben")
	used := production()
	used.Used = 1
	shut(t, s.gates(two, nil, nil), used, "the second job", "1 of them used", "")
}

func TestSecondPersonOfAnEnvironment(t *testing.T) {
	s := newStage(t)
	ask := production()
	ask.Gate.SecondPerson = true
	shut(t, s.gates(s.approved(guarded(), usual()), nil, nil), ask, "self-review is possible", "approve their own runs", "Prevent self-review")
	p := guarded()
	p.PreventSelfReview = true
	open(t, s.gates(s.approved(p, usual()), nil, nil), ask, "ben")
}

func TestGateThatCannotBeAsked(t *testing.T) {
	s := newStage(t)
	shut(t, s.gates(s.approved(guarded(), without(githubtest.Actions)), nil, nil), production(),
		"a token without actions: read", "lacks the permission actions: read", "permissions: actions: read")

	job := s.approved(guarded(), usual())
	approvals := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/approvals") }
	s.github.Fail(5, approvals, githubtest.Status(http.StatusBadGateway))
	shut(t, s.gates(job, nil, nil), production(), "GitHub is down", "502", "")
	s.github.Fail(1, approvals, githubtest.PrimaryLimit(time.Hour))
	shut(t, s.gates(job, nil, nil), production(), "the limit is lifted in an hour", "rate limit", "later")
	ask := production()
	ask.Digest = ""
	shut(t, s.gates(job, nil, nil), ask, "no digest", "no digest", "")
	ask = production()
	ask.Gate.Comment = "write"
	shut(t, s.gates(job, nil, nil), ask, "two gates in one", "neither", "config")
	open(t, s.gates(job, nil, nil), production(), "ben")
}
