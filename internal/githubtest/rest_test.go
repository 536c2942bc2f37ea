package githubtest_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-github/v90/github"

	"github.com/gapless-deploy/gapless/internal/githubtest"
)

func TestEveryOperationAnswersAsDescribed(t *testing.T) {
	s := githubtest.New(t)
	repo := s.Repository("acme/shop", githubtest.Protected("main"), githubtest.Private())
	fork := s.Repository("mallory/shop", githubtest.ForkOf(repo))
	repo.Environment("canary/1", githubtest.Protection{Reviewers: []string{"alice", "bob"}, PreventSelfReview: true, Wait: 0,
		Branches: githubtest.CustomBranches, Patterns: []string{"main", "release/*"}})
	repo.Environment("slow", githubtest.Protection{Wait: 1 << 40, Branches: githubtest.ProtectedBranches})
	repo.Collaborator("alice", githubtest.CanMaintain)
	open := repo.PullRequest(githubtest.PullRequestSpec{Head: fork, Author: "mallory", Draft: true})
	merged := repo.PullRequest(githubtest.PullRequestSpec{Author: "alice"})
	sha := merged.Merge("bob")
	comment := repo.Comment(merged.Number, "alice", "/gapless promote")
	run := repo.Run(githubtest.RunSpec{SHA: sha})
	job := run.Job(githubtest.JobSpec{Name: "deploy", Environment: "canary/1", Permissions: every})
	run.Approve("canary/1", "alice")
	waiting := run.Job(githubtest.JobSpec{Name: "promote", Environment: "canary/1", Permissions: every})
	run.Job(githubtest.JobSpec{Name: "later", Environment: "slow"})
	artifact := job.Artifact("gapless-shop", map[string][]byte{"record.json": []byte("{}")})
	deployment := repo.Deployments("canary/1")[0]

	base := "/repos/acme/shop"
	for _, request := range []struct {
		method, path, body string
		want               []string // in the body
	}{
		{"GET", base, "", []string{`"default_branch":"main"`, `"private":true`}},
		{"GET", "/repos/mallory/shop", "", []string{`"fork":true`, `"full_name":"acme/shop"`}},
		{"GET", base + "/collaborators/alice/permission", "", []string{`"permission":"write"`, `"role_name":"maintain"`}},
		{"GET", base + "/collaborators/mallory/permission", "", []string{`"permission":"none"`}},
		{"GET", "/users/github-actions%5Bbot%5D", "", []string{`"type":"Bot"`, `"id":41898282`}},
		{"GET", base + "/actions/artifacts?name=gapless-shop&per_page=1", "", []string{`"total_count":1`, artifact.Name}},
		{"GET", fmt.Sprintf("%s/actions/runs/%d/artifacts?name=gapless", base, run.ID), "", []string{`"total_count":0`}},
		{"GET", fmt.Sprintf("%s/actions/artifacts/%d", base, artifact.ID), "", []string{`"digest":"sha256:`, fmt.Sprintf(`"head_repository_id":%d`, repo.ID)}},
		{"GET", fmt.Sprintf("%s/actions/runs/%d", base, run.ID), "", []string{`"path":".github/workflows/deploy.yml"`, `"status":"`, sha}},
		{"GET", fmt.Sprintf("%s/actions/runs/%d/jobs", base, run.ID), "", []string{`"total_count":3`, `"status":"waiting"`, `"status":"in_progress"`}},
		{"GET", fmt.Sprintf("%s/actions/runs/%d/attempts/1/jobs", base, run.ID), "", []string{`"total_count":3`}},
		{"GET", fmt.Sprintf("%s/actions/runs/%d/approvals", base, run.ID), "", []string{`"state":"approved"`, `"login":"alice"`, `"name":"canary/1"`}},
		{"GET", fmt.Sprintf("%s/actions/runs/%d/pending_deployments", base, run.ID), "", []string{`"name":"canary/1"`, `"name":"slow"`, `"login":"bob"`}},
		{"GET", base + "/environments/canary%2F1", "", []string{`"required_reviewers"`, `"prevent_self_review":true`, `"custom_branch_policies":true`}},
		{"GET", base + "/environments/slow", "", []string{`"wait_timer":18`, `"protected_branches":true`}},
		{"GET", base + "/environments/canary%2F1/deployment-branch-policies", "", []string{`"name":"release/*"`, `"total_count":2`}},
		{"GET", base + "/commits/" + sha + "/pulls", "", []string{fmt.Sprintf(`"number":%d`, merged.Number), `"merge_commit_sha":"` + sha}},
		{"GET", fmt.Sprintf("%s/pulls/%d", base, merged.Number), "", []string{`"merged":true`, `"login":"bob"`}},
		{"GET", fmt.Sprintf("%s/pulls/%d", base, open.Number), "", []string{`"draft":true`, `"full_name":"mallory/shop"`, open.HeadSHA()}},
		{"GET", fmt.Sprintf("%s/issues/%d/comments", base, merged.Number), "", []string{"/gapless promote", "COLLABORATOR"}},
		{"POST", fmt.Sprintf("%s/issues/%d/comments", base, merged.Number), `{"body":"hello"}`, []string{"github-actions[bot]"}},
		{"GET", fmt.Sprintf("%s/issues/comments/%d", base, comment.ID), "", []string{"/gapless promote"}},
		{"POST", fmt.Sprintf("%s/issues/comments/%d/reactions", base, comment.ID), `{"content":"+1"}`, []string{`"content":"+1"`}},
		{"GET", fmt.Sprintf("%s/issues/comments/%d/reactions", base, comment.ID), "", []string{`"content":"+1"`}},
		{"GET", base + "/deployments?environment=canary/1", "", []string{fmt.Sprintf(`"id":%d`, deployment.ID)}},
		{"GET", fmt.Sprintf("%s/deployments/%d", base, deployment.ID), "", []string{sha}},
		{"POST", fmt.Sprintf("%s/deployments/%d/statuses", base, deployment.ID), `{"state":"success","description":"5 %","log_url":"https://example.com"}`, []string{`"5 %"`}},
		{"GET", fmt.Sprintf("%s/deployments/%d/statuses", base, deployment.ID), "", []string{`"state":"pending"`, `"state":"in_progress"`, `"state":"success"`}},
	} {
		want := http.StatusOK
		if request.method == http.MethodPost {
			want = http.StatusCreated
		}
		content := status(t, want, request.method, s.APIURL()+request.path, job.Token(), request.body)
		for _, part := range request.want {
			if !strings.Contains(content, part) {
				t.Errorf("%s %s: %s is not in %s", request.method, request.path, part, content)
			}
		}
	}
	if got := comment.Reactions()["github-actions[bot]"]; !slices.Equal(got, []string{"+1"}) {
		t.Errorf("reactions %v", got)
	}
	if waiting.Status() != "waiting" {
		t.Errorf("a second job of the environment is %s: one approval served two", waiting.Status())
	}
}

func TestClientOfGoGitHub(t *testing.T) {
	s := githubtest.New(t)
	repo, job := shop(s, githubtest.JobSpec{})
	pull := repo.PullRequest(githubtest.PullRequestSpec{})
	c := client(t, s, job.Token())
	made, _, err := c.Issues.CreateComment(t.Context(), "acme", "shop", pull.Number, &github.IssueComment{Body: new("one")})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Issues.EditComment(t.Context(), "acme", "shop", made.GetID(), &github.IssueComment{Body: new("two")}); err != nil {
		t.Fatal(err)
	}
	again, _, err := c.Issues.GetComment(t.Context(), "acme", "shop", made.GetID())
	if err != nil || again.GetBody() != "two" || !again.GetUpdatedAt().After(again.GetCreatedAt().Time) {
		t.Errorf("%v, %v: want an edited comment", again, err)
	}
	if _, err := c.Issues.DeleteComment(t.Context(), "acme", "shop", made.GetID()); err != nil {
		t.Error(err)
	}
	if left := repo.Comments(pull.Number); len(left) != 0 {
		t.Errorf("%d comments left", len(left))
	}
	human := repo.Comment(pull.Number, "alice", "mine")
	_, _, err = c.Issues.EditComment(t.Context(), "acme", "shop", human.ID, &github.IssueComment{Body: new("forged")})
	if wantStatus(t, err, http.StatusForbidden); human.Body() != "mine" {
		t.Errorf("a job edited a person's comment: %s", human.Body())
	}
	_, _, err = c.Issues.CreateComment(t.Context(), "acme", "shop", pull.Number, &github.IssueComment{Body: new(strings.Repeat("é", 65537))})
	wantStatus(t, err, http.StatusUnprocessableEntity)
	_, _, err = c.Repositories.GetEnvironment(t.Context(), "acme", "shop", "absent")
	wantStatus(t, err, http.StatusNotFound)
	_, _, err = c.Users.Get(t.Context(), "")
	wantStatus(t, err, http.StatusForbidden)
	me, _, err := client(t, s, s.PersonalToken("alice")).Users.Get(t.Context(), "")
	if err != nil || me.GetLogin() != "alice" {
		t.Errorf("%v, %v", me, err)
	}
}

func wantStatus(t *testing.T, err error, want int) {
	t.Helper()
	var refused *github.ErrorResponse
	if !errors.As(err, &refused) || refused.Response.StatusCode != want {
		t.Errorf("error %v, want status %d", err, want)
	}
}

func TestPages(t *testing.T) {
	s := githubtest.New(t)
	repo, job := shop(s, githubtest.JobSpec{})
	pull := repo.PullRequest(githubtest.PullRequestSpec{})
	const all = 205
	for i := range all {
		repo.Comment(pull.Number, "alice", fmt.Sprint(i))
	}
	c := client(t, s, job.Token())
	for size, wantPages := range map[int][]int{0: {30, 30, 30, 30, 30, 30, 25}, 100: {100, 100, 5}, 500: {100, 100, 5}} {
		options := &github.IssueListCommentsOptions{ListOptions: github.ListOptions{PerPage: size}}
		var pages []int
		next := 0
		for {
			page, response, err := c.Issues.ListComments(t.Context(), "acme", "shop", pull.Number, options)
			if err != nil {
				t.Fatal(err)
			}
			pages = append(pages, len(page))
			for _, one := range page {
				if one.GetBody() != fmt.Sprint(next) {
					t.Fatalf("comment %d says %s", next, one.GetBody())
				}
				next++
			}
			if want := len(wantPages); response.NextPage != 0 && response.LastPage != want {
				t.Errorf("last page %d, want %d", response.LastPage, want)
			}
			if response.NextPage == 0 {
				break
			}
			options.Page = response.NextPage
		}
		if !slices.Equal(pages, wantPages) {
			t.Errorf("per_page %d: pages of %v, want %v", size, pages, wantPages)
		}
	}
	status(t, http.StatusOK, "GET", fmt.Sprintf("%s/repos/acme/shop/issues/%d/comments?page=99", s.APIURL(), pull.Number), job.Token(), "")
}

func TestPermissions(t *testing.T) {
	s := githubtest.New(t)
	private := s.Repository("acme/secret", githubtest.Private())
	repo, all := shop(s, githubtest.JobSpec{})
	fork := s.Repository("mallory/shop", githubtest.ForkOf(repo))
	pull := repo.PullRequest(githubtest.PullRequestSpec{Head: fork})
	issue := repo.Issue()
	run := repo.Run(githubtest.RunSpec{})
	job := func(p githubtest.Permissions) string {
		return run.Job(githubtest.JobSpec{Name: "x", Permissions: p}).Token()
	}
	base := s.APIURL() + "/repos/acme/shop"
	artifacts := base + "/actions/artifacts"
	onPull := fmt.Sprintf("%s/issues/%d/comments", base, pull.Number)
	onIssue := fmt.Sprintf("%s/issues/%d/comments", base, issue)
	hello := `{"body":"hello"}`

	status(t, http.StatusForbidden, "GET", artifacts, job(nil), "")
	status(t, http.StatusOK, "GET", artifacts, job(githubtest.Permissions{githubtest.Actions: githubtest.Read}), "")
	if got := send(t, "GET", artifacts, job(nil), "").header.Get("X-Accepted-GitHub-Permissions"); got != "actions=read" {
		t.Errorf("accepted permissions %q", got)
	}
	reads := job(githubtest.Permissions{githubtest.PullRequests: githubtest.Read})
	status(t, http.StatusOK, "GET", onPull, reads, "")
	status(t, http.StatusForbidden, "POST", onPull, reads, hello)
	writes := job(githubtest.Permissions{githubtest.PullRequests: githubtest.Write})
	status(t, http.StatusCreated, "POST", onPull, writes, hello)
	status(t, http.StatusForbidden, "POST", onIssue, writes, hello)
	status(t, http.StatusCreated, "POST", onIssue, job(githubtest.Permissions{githubtest.Issues: githubtest.Write}), hello)

	status(t, http.StatusUnauthorized, "GET", base, "", "")
	status(t, http.StatusUnauthorized, "GET", base, "ghs_forged", "")
	status(t, http.StatusNotFound, "GET", s.APIURL()+"/repos/"+private.FullName(), all.Token(), "")
	status(t, http.StatusNotFound, "GET", s.APIURL()+"/repos/"+private.FullName(), s.PersonalToken("mallory"), "")
	status(t, http.StatusOK, "GET", s.APIURL()+"/repos/"+private.FullName(), s.PersonalToken("acme"), "")
	status(t, http.StatusForbidden, "POST", onPull, s.PersonalToken("stranger"), hello)
	all.Complete("success")
	status(t, http.StatusUnauthorized, "GET", base, all.Token(), "")

	forks := repo.Run(githubtest.RunSpec{Event: githubtest.OnPullRequest, PullRequest: pull}).Job(githubtest.JobSpec{Name: "plan", Permissions: every})
	status(t, http.StatusOK, "GET", onPull, forks.Token(), "")
	status(t, http.StatusForbidden, "POST", onPull, forks.Token(), hello)
	if env := forks.Env(); env["ACTIONS_ID_TOKEN_REQUEST_URL"] != "" {
		t.Error("a fork's run may ask for ID tokens")
	}
}

func TestFaultsOfTheCallerFailTheTest(t *testing.T) {
	r := &recorder{TB: t}
	s := githubtest.New(r)
	repo, job := shop(s, githubtest.JobSpec{})
	pull := repo.PullRequest(githubtest.PullRequestSpec{})
	base := s.APIURL() + "/repos/acme/shop"
	for name, wrong := range map[string]struct {
		method, url, body string
		status            int
		fault             string
	}{
		"operation":      {"GET", base + "/stargazers", "", http.StatusNotFound, "no such operation"},
		"method":         {"PUT", base, "", http.StatusNotFound, "no such operation"},
		"path":           {"GET", base + "/actions/runs/latest", "", http.StatusUnprocessableEntity, "run_id"},
		"unknown query":  {"GET", base + "/actions/artifacts?nme=x", "", http.StatusUnprocessableEntity, "nme"},
		"query twice":    {"GET", base + "/actions/artifacts?name=x&name=y", "", http.StatusUnprocessableEntity, "once"},
		"query's type":   {"GET", base + "/actions/artifacts?per_page=all", "", http.StatusUnprocessableEntity, "per_page"},
		"body's type":    {"POST", fmt.Sprintf("%s/issues/%d/comments", base, pull.Number), `{"body":1}`, http.StatusUnprocessableEntity, "body"},
		"no body":        {"POST", fmt.Sprintf("%s/issues/%d/comments", base, pull.Number), "", http.StatusUnprocessableEntity, "body"},
		"unknown member": {"POST", fmt.Sprintf("%s/issues/%d/comments", base, pull.Number), `{"body":"x","text":"y"}`, http.StatusUnprocessableEntity, "text"},
		"enumeration": {"POST", fmt.Sprintf("%s/deployments/%d/statuses", base, 1), `{"state":"done"}`,
			http.StatusUnprocessableEntity, "state"},
	} {
		t.Run(name, func(t *testing.T) {
			status(t, wrong.status, wrong.method, wrong.url, job.Token(), wrong.body)
			r.wantFault(wrong.fault)
		})
	}
	status(t, http.StatusNotFound, "GET", s.URL()+"/elsewhere", "", "")
	r.wantFault("/elsewhere is not served")
}

func TestJobsList(t *testing.T) {
	s := githubtest.New(t)
	_, job := shop(s, githubtest.JobSpec{})
	run := job.Run()
	run.Job(githubtest.JobSpec{Name: "promote"})
	run.Rerun()
	again := run.Job(githubtest.JobSpec{Name: "promote", Permissions: every})
	c := client(t, s, again.Token())
	for filter, want := range map[string]int{"latest": 2, "all": 3} {
		jobs, _, err := c.Actions.ListWorkflowJobs(t.Context(), "acme", "shop", run.ID, &github.ListWorkflowJobsOptions{Filter: filter})
		if err != nil || len(jobs.Jobs) != want {
			t.Errorf("%s: %v, %v, want %d jobs", filter, jobs, err, want)
		}
	}
	second, _, err := c.Actions.ListWorkflowJobsAttempt(t.Context(), "acme", "shop", run.ID, 2, nil)
	if err != nil || len(second.Jobs) != 1 || second.Jobs[0].GetID() != again.ID {
		t.Errorf("attempt 2: %v, %v, want the job made again", second, err)
	}
	_, _, err = c.Actions.ListWorkflowJobsAttempt(t.Context(), "acme", "shop", run.ID, 3, nil)
	wantStatus(t, err, http.StatusNotFound)
}

func TestPullRequestsOfACommit(t *testing.T) {
	s := githubtest.New(t)
	repo, job := shop(s, githubtest.JobSpec{})
	pull := repo.PullRequest(githubtest.PullRequestSpec{Branch: "change"})
	first, second := pull.HeadSHA(), pull.Push()
	merge := pull.Merge("alice")
	direct := repo.Commit("main")
	c := client(t, s, job.Token())
	for sha, want := range map[string]int{first: 1, second: 1, merge: 1, direct: 0} {
		got, _, err := c.PullRequests.ListPullRequestsWithCommit(t.Context(), "acme", "shop", sha, nil)
		if err != nil || len(got) != want || want == 1 && got[0].GetMergeCommitSHA() != merge {
			t.Errorf("%s: %v, %v, want %d", sha, got, err, want)
		}
	}
}

func TestRerunBySomebodyElse(t *testing.T) {
	s := githubtest.New(t)
	_, job := shop(s, githubtest.JobSpec{})
	run := job.Run()
	run.RerunBy("mallory")
	again := run.Job(githubtest.JobSpec{Name: "deploy", Permissions: every})
	got, _, err := client(t, s, again.Token()).Actions.GetWorkflowRunByID(t.Context(), "acme", "shop", run.ID)
	if err != nil || got.GetActor().GetLogin() != "acme" || got.GetTriggeringActor().GetLogin() != "mallory" || got.GetRunAttempt() != 2 {
		t.Errorf("%v, %v", got, err)
	}
	if env := again.Env(); env["GITHUB_ACTOR"] != "acme" || env["GITHUB_TRIGGERING_ACTOR"] != "mallory" || env["GITHUB_RUN_ATTEMPT"] != "2" {
		t.Errorf("%v", env)
	}
	if job.Status() != "completed" {
		t.Errorf("the first attempt's job is %s", job.Status())
	}
}
