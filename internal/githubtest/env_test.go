package githubtest_test

import (
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/githubtest"
)

func id(n int64) string { return strconv.FormatInt(n, 10) }

func TestEnvironmentOfAJob(t *testing.T) {
	s := githubtest.New(t)
	repo, job := shop(s, githubtest.JobSpec{})
	env := job.Env()
	for name, want := range map[string]string{
		"GITHUB_ACTIONS": "true", "GITHUB_API_URL": s.URL() + "/api/v3", "GITHUB_SERVER_URL": "https://github.com",
		"GITHUB_REPOSITORY": "acme/shop", "GITHUB_REPOSITORY_ID": id(repo.ID), "GITHUB_REPOSITORY_OWNER": "acme",
		"GITHUB_REPOSITORY_OWNER_ID": id(repo.OwnerID), "GITHUB_RUN_ID": id(job.Run().ID), "GITHUB_RUN_ATTEMPT": "1",
		"GITHUB_WORKFLOW": "deploy", "GITHUB_WORKFLOW_REF": "acme/shop/.github/workflows/deploy.yml@refs/heads/main",
		"GITHUB_REF": "refs/heads/main", "GITHUB_REF_NAME": "main", "GITHUB_SHA": repo.Head("main"), "GITHUB_EVENT_NAME": "push",
		"GITHUB_ACTOR": "acme", "GITHUB_JOB": "deploy", "GITHUB_RETENTION_DAYS": "90", "INPUT_GITHUB-TOKEN": job.Token(),
		"ACTIONS_RESULTS_URL": s.URL() + "/",
	} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
	for _, file := range []string{"GITHUB_OUTPUT", "GITHUB_STATE", "GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_EVENT_PATH", "RUNNER_TEMP"} {
		if _, err := os.Stat(env[file]); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	if next := job.Env(); next["GITHUB_OUTPUT"] == env["GITHUB_OUTPUT"] || next["RUNNER_TEMP"] != env["RUNNER_TEMP"] {
		t.Error("steps of a job have outputs of their own and share RUNNER_TEMP")
	}
}

func TestEvents(t *testing.T) {
	s := githubtest.New(t)
	repo := s.Repository("acme/shop")
	fork := s.Repository("mallory/shop", githubtest.ForkOf(repo))
	pull := repo.PullRequest(githubtest.PullRequestSpec{Head: fork, Branch: "patch"})
	comment := repo.Comment(pull.Number, "alice", "/gapless promote")
	for event, test := range map[string]struct {
		spec githubtest.RunSpec
		ref  string
		want []string // in the payload
	}{
		"push": {githubtest.RunSpec{}, "refs/heads/main", []string{`"ref":"refs/heads/main"`, `"after":"` + repo.Head("main")}},
		"pull_request": {githubtest.RunSpec{PullRequest: pull}, "refs/pull/1/merge",
			[]string{`"number":1`, `"sha":"` + pull.HeadSHA(), `"full_name":"mallory/shop"`}},
		"issue_comment": {githubtest.RunSpec{Comment: comment, Actor: "alice"}, "refs/heads/main",
			[]string{`"action":"created"`, `"body":"/gapless promote"`, `"pull_request":{`, `"sender":{`}},
		"schedule":          {githubtest.RunSpec{Cron: "17 * * * *"}, "refs/heads/main", []string{`"schedule":"17 * * * *"`}},
		"workflow_dispatch": {githubtest.RunSpec{Inputs: map[string]string{"phase": "rollback"}}, "refs/heads/main", []string{`"inputs":{"phase":"rollback"}`}},
	} {
		test.spec.Event = event
		env := repo.Run(test.spec).Job(githubtest.JobSpec{Name: "x"}).Env()
		if env["GITHUB_REF"] != test.ref || env["GITHUB_EVENT_NAME"] != event {
			t.Errorf("%s: ref %s, event %s", event, env["GITHUB_REF"], env["GITHUB_EVENT_NAME"])
		}
		payload, err := os.ReadFile(env["GITHUB_EVENT_PATH"])
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range test.want {
			if !strings.Contains(string(payload), part) {
				t.Errorf("%s: %s is not in %s", event, part, payload)
			}
		}
	}
}

func TestEnterpriseServer(t *testing.T) {
	s := githubtest.New(t, githubtest.Enterprise())
	_, job := shop(s, githubtest.JobSpec{})
	env := job.Env()
	if _, there := env["ACTIONS_RESULTS_URL"]; there || strings.HasSuffix(env["GITHUB_SERVER_URL"], "github.com") {
		t.Errorf("%v", env)
	}
}

func TestProtectedEnvironments(t *testing.T) {
	clock := noon()
	r := &recorder{TB: t}
	s := githubtest.New(r, githubtest.WithClock(clock))
	repo := s.Repository("acme/shop", githubtest.Protected("main"))
	repo.Commit("evil")
	repo.Environment("reviewed", githubtest.Protection{Reviewers: []string{"alice", "acme"}, PreventSelfReview: true, Wait: time.Minute})
	repo.Environment("main", githubtest.Protection{Branches: githubtest.ProtectedBranches})
	repo.Environment("release", githubtest.Protection{Branches: githubtest.CustomBranches, Patterns: []string{"release/*"}, AdminsBypass: true})
	run := repo.Run(githubtest.RunSpec{})
	job := run.Job(githubtest.JobSpec{Name: "deploy", Environment: "reviewed"})
	r.fatal(func() { job.Env() })
	r.wantFault("job deploy is waiting")
	status(t, http.StatusUnauthorized, "GET", s.APIURL()+"/repos/acme/shop", job.Token(), "")
	r.fatal(func() { run.Approve("reviewed", "mallory") })
	r.wantFault("mallory is no reviewer")
	r.fatal(func() { run.Approve("reviewed", "acme") })
	r.wantFault("prevents that acme reviews")
	r.fatal(job.Bypass)
	r.wantFault("may not bypass")
	run.Approve("reviewed", "alice")
	if got := job.Status(); got != "waiting" {
		t.Errorf("approved, its time not over: %s", got)
	}
	clock.Advance(time.Minute)
	if got := job.Status(); got != "in_progress" {
		t.Errorf("approved and waited: %s", got)
	}
	r.fatal(func() { run.Approve("reviewed", "alice") })
	r.wantFault("no job")
	refused := run.Job(githubtest.JobSpec{Name: "again", Environment: "reviewed"})
	if run.Reject("reviewed", "alice"); refused.Status() != "completed" {
		t.Errorf("rejected: %s", refused.Status())
	}
	repo.Environment("pulls", githubtest.Protection{Branches: githubtest.CustomBranches, Patterns: []string{"refs/pull/*/merge"}})
	evil := repo.Run(githubtest.RunSpec{Branch: "evil"})
	pulled := repo.Run(githubtest.RunSpec{Event: githubtest.OnPullRequest, PullRequest: repo.PullRequest(githubtest.PullRequestSpec{})})
	for environment, want := range map[string]map[*githubtest.Run]string{
		"main":    {run: "in_progress", evil: "completed"},
		"release": {run: "completed", evil: "completed"},
		"pulls":   {run: "completed", pulled: "in_progress"},
		"nobody":  {run: "in_progress", evil: "in_progress"},
	} {
		for run, want := range want {
			if got := run.Job(githubtest.JobSpec{Name: environment, Environment: environment}).Status(); got != want {
				t.Errorf("%s: %s, want %s", environment, got, want)
			}
		}
	}
}
