package githubtest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Env returns what the runner exports to a container action in the job, as in
// "Variables reference" and as actions/runner sets it: files are in a
// directory of the job's own, and each call is another step. The token is in INPUT_GITHUB-TOKEN, as an input
// with the default ${{ github.token }} has it. A job that waits, or has ended,
// has none: the test fails.
func (job *Job) Env() map[string]string {
	s := job.run.s
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !job.running() {
		s.tb.Fatalf("githubtest: job %s is %s, no step of it runs", job.Name, job.status())
	}
	run, repo := job.run, job.run.repo
	env := map[string]string{
		"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": s.ServerURL(),
		"GITHUB_API_URL": s.APIURL(), "GITHUB_GRAPHQL_URL": s.URL() + "/api/graphql",
		"GITHUB_REPOSITORY": repo.FullName(), "GITHUB_REPOSITORY_ID": strconv.FormatInt(repo.ID, 10),
		"GITHUB_REPOSITORY_OWNER": repo.Owner, "GITHUB_REPOSITORY_OWNER_ID": strconv.FormatInt(repo.OwnerID, 10),
		"GITHUB_RUN_ID": strconv.FormatInt(run.ID, 10), "GITHUB_RUN_NUMBER": strconv.Itoa(run.number),
		"GITHUB_RUN_ATTEMPT": strconv.Itoa(job.attempt), "GITHUB_RETENTION_DAYS": strconv.Itoa(repo.retention),
		"GITHUB_WORKFLOW": run.spec.Name, "GITHUB_WORKFLOW_REF": run.workflowRef(), "GITHUB_WORKFLOW_SHA": run.sha,
		"GITHUB_REF": run.ref, "GITHUB_REF_NAME": refName(run.ref), "GITHUB_REF_TYPE": "branch",
		"GITHUB_REF_PROTECTED": strconv.FormatBool(repo.protected[refName(run.ref)]),
		"GITHUB_SHA":           run.sha, "GITHUB_EVENT_NAME": run.spec.Event, "GITHUB_JOB": job.Name, "GITHUB_ACTION": "__self",
		"GITHUB_ACTOR": run.spec.Actor, "GITHUB_ACTOR_ID": strconv.FormatInt(s.user(run.spec.Actor).id, 10),
		"GITHUB_TRIGGERING_ACTOR": run.triggeredBy, "GITHUB_HEAD_REF": "", "GITHUB_BASE_REF": "",
		"RUNNER_OS": "Linux", "RUNNER_ARCH": "X64", "RUNNER_ENVIRONMENT": "github-hosted",
		"ACTIONS_RUNTIME_URL": s.URL() + "/", "ACTIONS_RUNTIME_TOKEN": job.runtime, "INPUT_GITHUB-TOKEN": job.token,
	}
	if pull := run.spec.PullRequest; run.spec.Event == OnPullRequest {
		env["GITHUB_HEAD_REF"], env["GITHUB_BASE_REF"] = pull.branch, pull.base
	}
	if !s.enterprise {
		env["ACTIONS_RESULTS_URL"] = s.URL() + "/"
	}
	if job.idRequest != "" {
		env["ACTIONS_ID_TOKEN_REQUEST_URL"] = s.URL() + idTokenPath + "?api-version=2.0"
		env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = job.idRequest
	}
	maps.Copy(env, job.files())
	return env
}

// files writes the files of a step and returns the variables that name them.
func (job *Job) files() map[string]string {
	s := job.run.s
	job.steps++
	env := map[string]string{"RUNNER_TEMP": "temp", "GITHUB_WORKSPACE": "workspace"}
	for name, dir := range env {
		env[name] = filepath.Join(job.dir, dir)
		if err := os.MkdirAll(env[name], 0o755); err != nil {
			s.tb.Fatalf("githubtest: %v", err)
		}
	}
	for name, file := range map[string]string{"GITHUB_OUTPUT": "output", "GITHUB_STATE": "state",
		"GITHUB_ENV": "env", "GITHUB_PATH": "path", "GITHUB_STEP_SUMMARY": "summary"} {
		env[name] = filepath.Join(job.dir, fmt.Sprintf("%s-%d", file, job.steps))
		if err := os.WriteFile(env[name], nil, 0o600); err != nil {
			s.tb.Fatalf("githubtest: %v", err)
		}
	}
	env["GITHUB_EVENT_PATH"] = filepath.Join(job.dir, "event.json")
	if err := os.WriteFile(env["GITHUB_EVENT_PATH"], job.run.event(), 0o600); err != nil {
		s.tb.Fatalf("githubtest: %v", err)
	}
	return env
}

func refName(ref string) string {
	for _, prefix := range []string{"refs/heads/", "refs/tags/", "refs/pull/"} {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			return name
		}
	}
	return ref
}
