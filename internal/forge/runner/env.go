// Package runner is what a step knows of the GitHub Actions runner, and how it
// speaks to it: the action's inputs and outputs, the environment, the event,
// the files for outputs and the workflow commands in the log.
package runner

import (
	"crypto/rand"
	"fmt"
	"strconv"
)

// Env is what the runner tells a step. What it did not tell is zero.
type Env struct {
	// Repository is OWNER/NAME.
	Repository   string
	RepositoryID int64
	OwnerID      int64

	RunID int64
	// Attempt counts from 1; a re-run has the same RunID.
	Attempt int
	// Job is the key of the job in the workflow.
	Job      string
	Workflow string
	// WorkflowRef is OWNER/NAME/.github/workflows/FILE@REF.
	WorkflowRef string

	Ref       string
	RefName   string
	SHA       string
	EventName string
	// EventPath is the file that Event is read from.
	EventPath string
	// Actor brought the event about; TriggeringActor started this attempt.
	Actor           string
	TriggeringActor string

	// RetentionDays bounds how long an artifact of this run is kept.
	RetentionDays int
	// Temp outlives the step, not the job.
	Temp      string
	Workspace string
	ServerURL string
	APIURL    string

	// The files through which a step answers.
	OutputPath, StatePath, VariablesPath, SummaryPath string

	// RuntimeURL, ResultsURL and RuntimeToken lead to the services of the run,
	// IDTokenURL and IDTokenToken to its identity. The tokens are secrets.
	RuntimeURL, ResultsURL, RuntimeToken string
	IDTokenURL, IDTokenToken             string

	getenv func(string) string
	// delimiter gives a text that nobody can foresee.
	delimiter func() string
}

// Read reads the environment. The error names a value that is not what the
// runner writes.
func Read(getenv func(string) string) (Env, error) {
	r := numbers{getenv: getenv}
	e := Env{
		Repository: getenv("GITHUB_REPOSITORY"), RepositoryID: r.id("GITHUB_REPOSITORY_ID"), OwnerID: r.id("GITHUB_REPOSITORY_OWNER_ID"),
		RunID: r.id("GITHUB_RUN_ID"), Attempt: int(r.id("GITHUB_RUN_ATTEMPT")), Job: getenv("GITHUB_JOB"),
		Workflow: getenv("GITHUB_WORKFLOW"), WorkflowRef: getenv("GITHUB_WORKFLOW_REF"),
		Ref: getenv("GITHUB_REF"), RefName: getenv("GITHUB_REF_NAME"), SHA: getenv("GITHUB_SHA"),
		EventName: getenv("GITHUB_EVENT_NAME"), EventPath: getenv("GITHUB_EVENT_PATH"),
		Actor: getenv("GITHUB_ACTOR"), TriggeringActor: getenv("GITHUB_TRIGGERING_ACTOR"),
		RetentionDays: int(r.id("GITHUB_RETENTION_DAYS")), Temp: getenv("RUNNER_TEMP"), Workspace: getenv("GITHUB_WORKSPACE"),
		ServerURL: getenv("GITHUB_SERVER_URL"), APIURL: getenv("GITHUB_API_URL"),
		OutputPath: getenv("GITHUB_OUTPUT"), StatePath: getenv("GITHUB_STATE"),
		VariablesPath: getenv("GITHUB_ENV"), SummaryPath: getenv("GITHUB_STEP_SUMMARY"),
		RuntimeURL: getenv("ACTIONS_RUNTIME_URL"), ResultsURL: getenv("ACTIONS_RESULTS_URL"), RuntimeToken: getenv("ACTIONS_RUNTIME_TOKEN"),
		IDTokenURL: getenv("ACTIONS_ID_TOKEN_REQUEST_URL"), IDTokenToken: getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
		getenv: getenv, delimiter: rand.Text,
	}
	return e, r.err
}

// RunURL is the page of this attempt of the run; empty outside a run.
func (e Env) RunURL() string {
	if e.ServerURL == "" || e.Repository == "" || e.RunID == 0 {
		return ""
	}
	return fmt.Sprintf("%s/%s/actions/runs/%d/attempts/%d", e.ServerURL, e.Repository, e.RunID, max(e.Attempt, 1))
}

// Secrets are the values that must be masked in all that is written.
func (e Env) Secrets() []string {
	secrets := []string{e.RuntimeToken, e.IDTokenToken}
	for _, in := range Inputs() {
		if in.Secret {
			secrets = append(secrets, e.Input(in.Name))
		}
	}
	return nonEmpty(secrets)
}

func nonEmpty(all []string) []string {
	var some []string
	for _, s := range all {
		if s != "" {
			some = append(some, s)
		}
	}
	return some
}

// State gives what an earlier part of the same action kept by SaveState.
func (e Env) State(name string) string { return e.getenv("STATE_" + name) }

// numbers reads ids and counts, and keeps the first error.
type numbers struct {
	getenv func(string) string
	err    error
}

// id gives 0 for what is absent.
func (r *numbers) id(name string) int64 {
	text := r.getenv(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s: expected a number, observed %.40q", name, text)
	}
	return int64(n)
}
