package githubtest

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The events that start runs.
const (
	Push             = "push"
	OnPullRequest    = "pull_request"
	IssueComment     = "issue_comment"
	Schedule         = "schedule"
	WorkflowDispatch = "workflow_dispatch"
)

// RunSpec says what started a run of a workflow. What is left out is as in a
// push to the default branch by its owner.
type RunSpec struct {
	// ID is GITHUB_RUN_ID, a new one when zero.
	ID int64
	// Workflow is the file, ".github/workflows/deploy.yml" when empty.
	Workflow string
	// Name is that of the workflow, its file's when empty.
	Name string
	// Event is one of the constants; "push" when empty.
	Event string
	// Branch is what was pushed or dispatched, the default branch when empty;
	// comments and schedules have no other.
	Branch string
	// SHA is the branch's head when empty.
	SHA string
	// Actor is who started it, the repository's owner when empty.
	Actor string
	// PullRequest is that of a pull_request; its head may be in a fork.
	PullRequest *PullRequest
	// Comment is that of an issue_comment.
	Comment *Comment
	// Inputs are those of a workflow_dispatch.
	Inputs map[string]string
	// Cron is that of a schedule.
	Cron string
}

// Run is one run of a workflow.
type Run struct {
	// ID is GITHUB_RUN_ID.
	ID int64

	s         *Server
	repo      *Repository
	spec      RunSpec
	head      *Repository // where the commit lies
	branch    string      // of head
	headSHA   string
	ref, sha  string // of the jobs
	workflow  int64  // its id
	number    int
	attempt   int
	backend   map[int]string // by attempt
	created   time.Time
	jobs      []*Job
	approvals []approval
	artifacts []*Artifact

	triggeredBy string // who began the attempt
}

type approval struct {
	environment *Environment
	user        *user
	state       string
	comment     string
}

// Run starts a run.
func (r *Repository) Run(spec RunSpec) *Run {
	r.s.tb.Helper()
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	spec.Workflow = cmp.Or(spec.Workflow, ".github/workflows/deploy.yml")
	spec.Name = cmp.Or(spec.Name, strings.TrimSuffix(path.Base(spec.Workflow), path.Ext(spec.Workflow)))
	spec.Event = cmp.Or(spec.Event, Push)
	spec.Branch = cmp.Or(spec.Branch, r.DefaultBranch)
	spec.SHA = cmp.Or(spec.SHA, r.branches[spec.Branch])
	spec.Actor = cmp.Or(spec.Actor, r.Owner)
	of := r.workflow(spec.Workflow)
	of.runs++
	run := &Run{
		ID: cmp.Or(spec.ID, r.s.newID()), s: r.s, repo: r, spec: spec, head: r, branch: spec.Branch, headSHA: spec.SHA,
		ref: "refs/heads/" + spec.Branch, sha: spec.SHA, number: of.runs, workflow: of.id,
		backend: map[int]string{}, created: r.s.now(), triggeredBy: spec.Actor,
	}
	switch spec.Event {
	case OnPullRequest:
		pull := spec.PullRequest
		if pull == nil {
			r.s.tb.Fatalf("githubtest: a run of a pull_request needs a PullRequest")
		}
		run.head, run.branch, run.headSHA = pull.head, pull.branch, pull.headSHA
		run.ref, run.sha = fmt.Sprintf("refs/pull/%d/merge", pull.Number), pull.testSHA
	case IssueComment, Schedule:
		run.branch, run.headSHA = r.DefaultBranch, r.branches[r.DefaultBranch]
		run.ref, run.sha = "refs/heads/"+run.branch, run.headSHA
		if spec.Event == IssueComment && spec.Comment == nil {
			r.s.tb.Fatalf("githubtest: a run of an issue_comment needs a Comment")
		}
	}
	if run.sha == "" {
		r.s.tb.Fatalf("githubtest: %s has no branch %s", r.FullName(), spec.Branch)
	}
	run.begin()
	r.s.runs[run.ID] = run
	return run
}

// workflow returns a workflow, which has an id from its first run on.
func (r *Repository) workflow(file string) *workflow {
	if r.workflows[file] == nil {
		r.workflows[file] = &workflow{id: r.s.newID()}
	}
	return r.workflows[file]
}

// begin begins the next attempt.
func (run *Run) begin() {
	run.attempt++
	run.backend[run.attempt] = newUUID()
}

// Rerun ends the jobs of the attempt and begins the next one, whose jobs are
// those that Job then makes: all of them, the failed ones or one.
func (run *Run) Rerun() { run.RerunBy(run.spec.Actor) }

// RerunBy is Rerun by somebody else, who is GITHUB_TRIGGERING_ACTOR; the actor
// stays who started the run.
func (run *Run) RerunBy(login string) {
	run.s.mu.Lock()
	defer run.s.mu.Unlock()
	run.triggeredBy = login
	for _, job := range run.jobs {
		job.complete("cancelled")
	}
	run.begin()
}

// Attempt is GITHUB_RUN_ATTEMPT, from 1.
func (run *Run) Attempt() int {
	run.s.mu.Lock()
	defer run.s.mu.Unlock()
	return run.attempt
}

// SHA is GITHUB_SHA of its jobs.
func (run *Run) SHA() string { return run.sha }

// fork says whether strangers wrote what is run.
func (run *Run) fork() bool { return run.head != run.repo }

// workflowRef is GITHUB_WORKFLOW_REF.
func (run *Run) workflowRef() string { return run.refOf(run.spec.Workflow) }

func (run *Run) refOf(workflow string) string {
	return run.repo.FullName() + "/" + workflow + "@" + run.ref
}

func (run *Run) url() string { return fmt.Sprintf("%s/actions/runs/%d", run.repo.url(), run.ID) }

func (run *Run) htmlURL() string {
	return fmt.Sprintf("%s/actions/runs/%d", run.repo.htmlURL(), run.ID)
}

// status returns the run's status and conclusion.
func (run *Run) status() (string, any) {
	conclusion := "success"
	for _, job := range run.newest() {
		if state := job.status(); state != completedStatus {
			return state, nil
		}
		if job.conclusion != "success" && job.conclusion != "skipped" {
			conclusion = job.conclusion
		}
	}
	if len(run.newest()) == 0 {
		return "queued", nil
	}
	return completedStatus, conclusion
}

// newest returns the newest job of each name.
func (run *Run) newest() []*Job {
	var all []*Job
	for _, job := range run.jobs {
		if i := slices.IndexFunc(all, func(other *Job) bool { return other.Name == job.Name }); i >= 0 {
			all[i] = job
		} else {
			all = append(all, job)
		}
	}
	return all
}

// updated is when a job of it last began, or kept something.
func (run *Run) updated() time.Time {
	last := run.created
	for _, job := range run.jobs {
		if job.created.After(last) {
			last = job.created
		}
	}
	for _, a := range run.artifacts {
		if a.created.After(last) {
			last = a.created
		}
	}
	return last
}

func (run *Run) view() object {
	status, conclusion := run.status()
	return object{
		"id": run.ID, "name": run.spec.Name, "path": run.spec.Workflow, "event": run.spec.Event,
		"head_branch": run.branch, "head_sha": run.headSHA, "run_number": run.number, "run_attempt": run.attempt,
		"status": status, "conclusion": conclusion,
		"actor":            run.s.userView(run.s.user(run.spec.Actor)),
		"triggering_actor": run.s.userView(run.s.user(run.triggeredBy)),
		"workflow_id":      run.workflow, "display_title": run.spec.Name, "url": run.url(), "html_url": run.htmlURL(),
		"created_at": run.created, "updated_at": run.updated(), "run_started_at": run.created,
		"repository": run.repo.view(), "head_repository": run.head.view(), "head_repository_id": run.head.ID,
		"artifacts_url": run.url() + "/artifacts", "jobs_url": run.url() + "/jobs", "pull_requests": []object{},
		"head_commit": object{"id": run.headSHA, "tree_id": run.headSHA, "message": "commit", "timestamp": run.created,
			"author": object{"name": run.spec.Actor, "email": ""}, "committer": object{"name": run.spec.Actor, "email": ""}},
	}
}

func runOperations() map[string]*operation {
	reading := []need{{Actions, Read}}
	ofRun := func(serve func(*call, *Run) answer) *operation {
		return &operation{needs: reading, serve: func(c *call) answer {
			run := c.run()
			if run == nil {
				return notFound()
			}
			return serve(c, run)
		}}
	}
	return map[string]*operation{
		"GET /repos/{owner}/{repo}/actions/runs/{run_id}": ofRun(func(_ *call, run *Run) answer {
			return ok(run.view())
		}),
		"GET /repos/{owner}/{repo}/actions/runs/{run_id}/jobs": ofRun(func(c *call, run *Run) answer {
			if c.request.URL.Query().Get("filter") == "all" {
				return paged(c, run.jobs, listOf("jobs", (*Job).view))
			}
			return paged(c, run.newest(), listOf("jobs", (*Job).view))
		}),
		"GET /repos/{owner}/{repo}/actions/runs/{run_id}/attempts/{attempt_number}/jobs": ofRun(func(c *call, run *Run) answer {
			attempt, err := strconv.Atoi(c.params["attempt_number"])
			if err != nil || attempt < 1 || attempt > run.attempt {
				return notFound()
			}
			var jobs []*Job
			for _, job := range run.jobs {
				if job.attempt == attempt {
					jobs = append(jobs, job)
				}
			}
			return paged(c, jobs, listOf("jobs", (*Job).view))
		}),
		"GET /repos/{owner}/{repo}/actions/runs/{run_id}/approvals": ofRun(func(_ *call, run *Run) answer {
			return ok(views(run.approvals, run.approvalView))
		}),
		"GET /repos/{owner}/{repo}/actions/runs/{run_id}/pending_deployments": ofRun(func(c *call, run *Run) answer {
			return ok(run.pendingView(c))
		}),
	}
}

// run returns the run that the path names, nil where there is none.
func (c *call) run() *Run {
	id, err := strconv.ParseInt(c.params["run_id"], 10, 64)
	if err != nil {
		return nil
	}
	if run := c.runs[id]; run != nil && run.repo == c.repo {
		return run
	}
	return nil
}
