package acttest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/gapless-deploy/gapless/internal/githubtest"
)

// uses is the action as the examples name it.
const uses = "gapless-deploy/gapless@v1"

// hub is a fake GitHub whose runs are carried out by act.
type hub struct {
	server *githubtest.Server
	repo   *githubtest.Repository
	dir    string // of the repository's files
	action string // directory with the action
	base   string // the image of the runners
	// secrets are those of every environment.
	secrets map[string]string
	// variables are the repository's.
	variables map[string]string
}

// ran is what became of a run: of each job, by its key, how it ended and what
// it handed on.
type ran struct {
	Results map[string]string
	Outputs map[string]map[string]string
	Log     string
}

// play is a run of a workflow.
type play struct {
	file string // below workflows-examples
	spec githubtest.RunSpec
	// jobs are those that should run, in their order; all others are skipped.
	jobs []string
	// environments are those of jobs whose file gives an expression.
	environments map[string]string
}

// play carries a run out. GitHub would have a job wait for its environment's
// reviewers and then give it tokens of its own, which act does not: here each
// job that should run is approved, one approval each, and finds its tokens in
// its own environment variables.
func (h *hub) play(t *testing.T, p play) ran {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "workflows-examples", p.file))
	if err != nil {
		t.Fatal(err)
	}
	var workflow map[string]any
	if err := yaml.Unmarshal(text, &workflow); err != nil {
		t.Fatal(err)
	}
	p.spec.Workflow = ".github/workflows/" + p.file
	run := h.repo.Run(p.spec)
	jobs := mapOf(t, workflow["jobs"])
	var common map[string]string
	for _, name := range p.jobs {
		job := mapOf(t, jobs[name])
		environment, _ := job["environment"].(string)
		if given, ok := p.environments[name]; ok {
			environment = given
		}
		spec := githubtest.JobSpec{Name: name, Environment: environment, Permissions: githubtest.Permissions{}}
		for scope, access := range mapOf(t, job["permissions"]) {
			spec.Permissions[githubtest.Scope(scope)] = githubtest.Access(fmt.Sprint(access))
		}
		started := run.Job(spec)
		if started.Status() == "waiting" {
			run.Approve(environment, reviewer)
		}
		common = h.give(t, job, started.Env())
	}
	file := filepath.Join(t.TempDir(), p.file)
	out, err := yaml.Marshal(workflow)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, out, 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r := h.act(t, file, common)
	t.Logf("%s on %s: %s", p.file, common["GITHUB_EVENT_NAME"], time.Since(began).Round(100*time.Millisecond))
	var want []string
	for _, name := range slices.Sorted(slices.Values(p.jobs)) {
		want = append(want, name+" success")
	}
	var got []string
	for _, name := range slices.Sorted(maps.Keys(r.Results)) {
		got = append(got, name+" "+r.Results[name])
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%s: jobs %v, want %v\n%s", p.file, got, want, r.Log)
	}
	return r
}

// give hands a job what is its own, and returns what all jobs of the run share.
func (h *hub) give(t *testing.T, job map[string]any, env map[string]string) map[string]string {
	t.Helper()
	token := env["INPUT_GITHUB-TOKEN"]
	own := map[string]any{}
	for _, name := range []string{"ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"} {
		own[name] = env[name]
		delete(env, name)
	}
	job["env"] = own
	steps, _ := job["steps"].([]any)
	for _, s := range steps {
		step := mapOf(t, s)
		if step["uses"] == uses {
			with := mapOf(t, step["with"])
			with["github-token"], with["oidc-issuer"] = token, h.server.Issuer()
		}
	}
	for _, name := range []string{"INPUT_GITHUB-TOKEN", "RUNNER_TEMP", "GITHUB_WORKSPACE", "GITHUB_OUTPUT", "GITHUB_STATE",
		"GITHUB_ENV", "GITHUB_PATH", "GITHUB_STEP_SUMMARY", "GITHUB_JOB", "CI", "GITHUB_ACTIONS"} {
		delete(env, name)
	}
	return env
}

// act runs a workflow's file.
func (h *hub) act(t *testing.T, file string, env map[string]string) ran {
	t.Helper()
	args := []string{
		env["GITHUB_EVENT_NAME"], "--workflows", file, "--eventpath", env["GITHUB_EVENT_PATH"], "--actor", env["GITHUB_ACTOR"], "--json",
		"--platform", "ubuntu-latest=" + h.base, "--platform", "self-hosted=" + h.base,
		"--pull=false", "--action-offline-mode", "--no-cache-server", "--concurrent-jobs", "1", "--rm",
		"--action-cache-path", filepath.Join(t.TempDir(), "cache"), "--local-repository", uses + "=" + h.action,
	}
	delete(env, "GITHUB_EVENT_PATH")
	delete(env, "GITHUB_ACTOR")
	for _, name := range slices.Sorted(maps.Keys(env)) {
		args = append(args, "--env", name+"="+env[name])
	}
	for _, name := range slices.Sorted(maps.Keys(h.secrets)) {
		args = append(args, "--secret", name) // its value is read from act's own environment
	}
	for _, name := range slices.Sorted(maps.Keys(h.variables)) {
		args = append(args, "--var", name+"="+h.variables[name])
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Getenv(envAct), args...)
	cmd.Dir = h.dir
	cmd.Env = os.Environ()
	for name, value := range h.secrets {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run() // which jobs failed is told by what they say
	r := read(out.Bytes())
	if len(r.Results) == 0 {
		t.Fatalf("act: %v\n%s", err, out.String())
	}
	for name, value := range h.secrets {
		for line := range strings.Lines(r.Log) {
			if strings.Contains(line, value) {
				t.Errorf("the log shows secret %s: %s", name, line)
			}
		}
	}
	return r
}

// read reads act's log of lines of JSON.
func read(log []byte) ran {
	r := ran{Results: map[string]string{}, Outputs: map[string]map[string]string{}}
	var text strings.Builder
	for line := range bytes.Lines(log) {
		var said struct {
			Msg, JobID, JobResult, Command, Name, Arg string
		}
		if json.Unmarshal(line, &said) != nil {
			text.Write(line)
			continue
		}
		if said.Command == "add-mask" { // act repeats what it is told to hide
			continue
		}
		fmt.Fprintf(&text, "%s: %s\n", said.JobID, strings.TrimSuffix(said.Msg, "\n"))
		if said.JobResult != "" {
			r.Results[said.JobID] = said.JobResult
		}
		if said.Command == "set-output" {
			if r.Outputs[said.JobID] == nil {
				r.Outputs[said.JobID] = map[string]string{}
			}
			r.Outputs[said.JobID][said.Name] = said.Arg
		}
	}
	r.Log = text.String()
	return r
}

func mapOf(t *testing.T, value any) map[string]any {
	t.Helper()
	m, ok := value.(map[string]any)
	if !ok {
		t.Fatalf("expected a map, observed %v", value)
	}
	return m
}
