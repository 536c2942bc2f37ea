package githubtest

import (
	"fmt"
	"maps"
	"time"
)

// JobSpec is a job of a workflow's file.
type JobSpec struct {
	// Name is GITHUB_JOB, the job's key in the file.
	Name string
	// Environment is what the job names; a new one is made without protection,
	// as GitHub does.
	Environment string
	// Permissions are those of its token. Of a fork's run they end at read.
	Permissions Permissions
	// Workflow is the file of a reusable workflow that the job is in, where it
	// is not the run's.
	Workflow string
}

const (
	waitingStatus    = "waiting"
	inProgressStatus = "in_progress"
	completedStatus  = "completed"
)

// Job is one job of one attempt of a run.
type Job struct {
	// ID and Name are as in the REST API.
	ID   int64
	Name string

	run         *Run
	spec        JobSpec
	attempt     int
	backend     string
	environment *Environment
	deployment  *Deployment
	permissions Permissions
	approved    bool
	conclusion  string
	created     time.Time
	token       string
	runtime     string
	idRequest   string
	dir         string // of the files that it gets
	steps       int    // so far
}

// Job starts a job. It waits where its environment is protected, see
// Run.Approve, and fails where its environment does not take the branch.
func (run *Run) Job(spec JobSpec) *Job {
	s := run.s
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	job := &Job{
		ID: s.newID(), Name: spec.Name, run: run, spec: spec, attempt: run.attempt, backend: newUUID(),
		permissions: maps.Clone(spec.Permissions), created: s.now(),
		token: newSecret("ghs_"), dir: s.tb.TempDir(),
	}
	if run.fork() {
		for scope, access := range job.permissions {
			if access == Write {
				job.permissions[scope] = Read
			}
		}
		delete(job.permissions, IDToken)
	}
	s.tokens[job.token] = &token{job: job}
	job.runtime = s.signed(object{
		"scp": fmt.Sprintf("Actions.ExampleScope Actions.Results:%s:%s", run.backend[run.attempt], job.backend),
		"iss": s.Issuer(), "exp": s.now().Add(jobLimit).Unix(), "nbf": s.now().Unix(), "trust_tier": "3",
	})
	s.runtime[job.runtime] = job
	if job.permissions[IDToken] == Write {
		job.idRequest = newSecret("")
		s.idRequests[job.idRequest] = job
	}
	run.jobs = append(run.jobs, job)
	if spec.Environment != "" {
		job.environment = run.repo.environment(spec.Environment)
		job.deployment = run.repo.deploy(run.sha, run.ref, spec.Environment, s.users[botLogin])
		if job.tellDeployment(job.status()); !job.environment.takes(run) {
			job.complete("failure")
		}
	}
	return job
}

// jobLimit is how long a job may run.
const jobLimit = 6 * time.Hour

// status is "waiting", "in_progress" or "completed".
func (job *Job) status() string {
	switch e := job.environment; {
	case job.conclusion != "":
		return completedStatus
	case e == nil || job.approved && job.run.s.now().Sub(job.created) >= e.wait:
		return inProgressStatus
	case len(e.reviewers) > 0 || job.run.s.now().Sub(job.created) < e.wait:
		return waitingStatus
	}
	return inProgressStatus
}

func (job *Job) running() bool { return job.status() == inProgressStatus }

// Status is "waiting", "in_progress" or "completed".
func (job *Job) Status() string {
	job.run.s.mu.Lock()
	defer job.run.s.mu.Unlock()
	return job.status()
}

// Run is the run that it belongs to.
func (job *Job) Run() *Run { return job.run }

// Bypass starts a waiting job as an administrator may where the environment
// lets them: nothing tells of it in the run's approvals.
func (job *Job) Bypass() {
	s := job.run.s
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if job.environment == nil || !job.environment.adminsBypass {
		s.tb.Fatalf("githubtest: administrators may not bypass the protection of job %s", job.Name)
	}
	job.approved, job.created = true, s.now().Add(-job.environment.wait)
	job.tellDeployment(inProgressStatus)
}

// Complete ends the job with a conclusion such as "success", "failure" or
// "cancelled"; its tokens end with it.
func (job *Job) Complete(conclusion string) {
	job.run.s.mu.Lock()
	defer job.run.s.mu.Unlock()
	job.complete(conclusion)
}

func (job *Job) complete(conclusion string) {
	if job.conclusion != "" {
		return
	}
	job.conclusion = conclusion
	if conclusion != "success" {
		conclusion = "failure"
	}
	job.tellDeployment(conclusion)
}

// tellDeployment adds the status that GitHub gives the deployment of a job.
func (job *Job) tellDeployment(state string) {
	if job.deployment == nil {
		return
	}
	if state == waitingStatus {
		state = "pending" // statuses know no other word
	}
	s := job.run.s
	job.deployment.statuses = append(job.deployment.statuses, deploymentStatus{s.newID(),
		object{"state": state, "log_url": job.htmlURL()}, s.users[botLogin], s.now()})
}

func (job *Job) htmlURL() string { return fmt.Sprintf("%s/job/%d", job.run.htmlURL(), job.ID) }

// Token is the token that INPUT_GITHUB-TOKEN has.
func (job *Job) Token() string { return job.token }

func (job *Job) url() string { return fmt.Sprintf("%s/actions/jobs/%d", job.run.repo.url(), job.ID) }

func (job *Job) view() object {
	view := object{
		"id": job.ID, "name": job.Name, "run_id": job.run.ID, "run_attempt": job.attempt, "status": job.status(),
		"conclusion": nil, "head_sha": job.run.headSHA, "head_branch": job.run.branch, "workflow_name": job.run.spec.Name,
		"created_at": job.created, "started_at": job.created, "completed_at": nil, "labels": []string{"ubuntu-latest"},
		"run_url": job.run.url(), "url": job.url(), "html_url": job.htmlURL(),
		"steps": []object{},
	}
	if job.conclusion != "" {
		view["conclusion"], view["completed_at"] = job.conclusion, job.run.s.now()
	}
	return view
}
