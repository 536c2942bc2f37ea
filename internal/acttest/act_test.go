// Package acttest runs the example workflows with act, which is a runner of
// workflows on this machine: the action as the container that is released, a
// fake GitHub, a real agent, a real PostgreSQL. "make test-act" does; without
// its variable nothing is run.
package acttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/githubtest"
)

const (
	// envAct names act's program.
	envAct = "GAPLESS_TEST_ACT"

	service  = "address-book"
	reviewer = "ana"
)

// config is what the examples' own gapless.yaml would be, with shorter waits.
const config = `
service: address-book
target:
  local:
    agent: "https://%s"
    command: ["./releases/{revision}/address-book"]
    instances: 2
    health: /healthz
strategy:
  %s
ready_within: 20s
smoke: [{get: /healthz}, {get: /addresses/1}]
judge: {errors: {worse_by: 2pp}, slow: {worse_by: 10pp}, min_requests: 20}
schema: {url_env: DATABASE_URL, changes: [%s]}
rollback_window: 1s
gates:
  promote: {environment: production}
  contract: {environment: production-schema}
`

const (
	canary    = "canary: {steps: [5, 25, 100], bake: 1s, bake_limit: 60s, settle: 100ms}"
	blueGreen = "blue_green: {bake: 1s, bake_limit: 60s, settle: 100ms}"
)

// change is the name of the schema change, as it lies below testdata/demo.
const change = "db/changes/0007-split-street.yaml"

// rows is how many addresses there are before the release.
const rows = 2000

// TestSchemaChange releases a breaking schema change by the example's own
// workflows, under traffic, over four runs.
func TestSchemaChange(t *testing.T) {
	began := time.Now()
	on, h := stage(t)
	t.Logf("prepared: %s", time.Since(began).Round(time.Second))

	h.write(t, on, canary, "")
	first := h.repo.Head("main")
	on.release(t, first, "v1")
	r := h.play(t, play{
		file: "schema-change.yml", spec: githubtest.RunSpec{Event: githubtest.Push, Actor: "ben"},
		jobs:         []string{"build", "plan", "expand", "deploy"},
		environments: map[string]string{"deploy": "production"}, // a first release takes all traffic at once
	})
	wants(t, r, "deploy", map[string]string{"state": "settled", "outcome": "done", "way-back": "none"})

	nothingDropped := on.ask(t)
	old := on.post(t, "Elm Street 5")

	h.write(t, on, canary, change)
	pull := h.repo.PullRequest(githubtest.PullRequestSpec{Author: "ben", Title: "Split the street"})
	second := pull.Merge(reviewer)
	on.release(t, second, "v2")
	r = h.play(t, play{
		file: "schema-change.yml", spec: githubtest.RunSpec{Event: githubtest.Push, Actor: "ben"},
		jobs:         []string{"build", "plan", "expand", "deploy", "promote-5", "promote-25", "promote-100"},
		environments: map[string]string{"deploy": "gapless"},
	})
	wants(t, r, "plan", map[string]string{"next-phase": "expand"})
	wants(t, r, "promote-5", map[string]string{"weight": "5", "next-to": "25", "verdict": "pass", "way-back": "seconds"})
	wants(t, r, "promote-100", map[string]string{"weight": "100", "state": "live", "verdict": "pass", "next-phase": "retire"})
	inBothForms := "street = 'Elm Street 5' and street_name = 'Elm Street' and house_number = '5'"
	if got := on.sql(t, "select count(*) from address where id = "+old+" and "+inBothForms); got != "1" {
		t.Errorf("the address that the old version wrote is in both forms %s times", got)
	}
	fresh := on.post(t, "Elm Street 5") // by the new version
	if got := on.sql(t, "select count(*) from address where id = "+fresh+" and "+inBothForms); got != "1" {
		t.Errorf("the address that the new version wrote is in both forms %s times", got)
	}
	told(t, h.repo.Comments(pull.Number), "plan to release "+second[:12], second[:12]+" takes all traffic", "approved: ana")

	r = h.play(t, play{
		file: "tick.yml", spec: githubtest.RunSpec{Event: githubtest.Schedule, Cron: "17,47 * * * *"}, jobs: []string{"tick", "retire"},
	})
	wants(t, r, "tick", map[string]string{"next-phase": "retire", "waiting-for": ""})
	wants(t, r, "retire", map[string]string{"state": "settled", "outcome": "done"})

	r = h.play(t, play{
		file: "schema-change.yml", spec: githubtest.RunSpec{Event: githubtest.WorkflowDispatch, Actor: "ben"}, jobs: []string{"due", "contract"},
	})
	wants(t, r, "contract", map[string]string{"outcome": "done", "way-back": "none"})
	if got := on.sql(t, "select count(*) from information_schema.columns where table_name = 'address' and table_schema = 'public' and column_name = 'street'"); got != "0" {
		t.Error("the old form is still there")
	}
	if got := on.sql(t, "select count(*) from address where street_name is null or house_number is null"); got != "0" {
		t.Errorf("%s addresses lost their street", got)
	}

	told(t, h.repo.Comments(pull.Number), "plan to release", "contracted")

	nothingDropped()
}

// TestCommentTakesBack releases by blue-green, and takes the release back by a
// comment on the pull request that brought it.
func TestCommentTakesBack(t *testing.T) {
	on, h := stage(t)
	h.write(t, on, blueGreen, "")
	first := h.repo.Head("main")
	on.release(t, first, "v1")
	h.play(t, play{
		file: "blue-green.yml", spec: githubtest.RunSpec{Actor: "ben"},
		jobs: []string{"build", "plan", "deploy"}, environments: map[string]string{"deploy": "production"},
	})
	nothingDropped := on.ask(t)
	pull := h.repo.PullRequest(githubtest.PullRequestSpec{Author: "ben", Title: "Faster"})
	second := pull.Merge(reviewer)
	on.release(t, second, "v1")
	r := h.play(t, play{
		file: "blue-green.yml", spec: githubtest.RunSpec{Actor: "ben"},
		jobs: []string{"build", "plan", "deploy", "promote"}, environments: map[string]string{"deploy": "gapless"},
	})
	wants(t, r, "promote", map[string]string{"weight": "100", "state": "live", "verdict": "pass"})

	comment := h.repo.Comment(pull.Number, "ben", "/gapless rollback")
	r = h.play(t, play{
		file: "commands.yml", spec: githubtest.RunSpec{Event: githubtest.IssueComment, Actor: "ben", Comment: comment},
		jobs: []string{"command", "command-rollback"},
	})
	wants(t, r, "command", map[string]string{"next-phase": "rollback"})
	wants(t, r, "command-rollback", map[string]string{"state": "settled", "outcome": "done", "weight": "0"})
	if serving := r.Outputs["command-rollback"]["serving"]; !strings.Contains(serving, first) || strings.Contains(serving, second) {
		t.Errorf("serving: %s", serving)
	}
	nothingDropped()
}

// TestForkIsPlannedWithoutSecrets: a fork's pull request is told what its files
// say, by a job that has no secrets, and nothing is written on it.
func TestForkIsPlannedWithoutSecrets(t *testing.T) {
	on, h := stage(t)
	h.write(t, on, canary, change)
	h.secrets, h.variables = nil, nil
	fork := h.server.Repository("eve/shop", githubtest.ForkOf(h.repo))
	pull := h.repo.PullRequest(githubtest.PullRequestSpec{Author: "eve", Branch: "next", Head: fork})
	r := h.play(t, play{
		file: "plan.yml", spec: githubtest.RunSpec{Event: githubtest.OnPullRequest, Actor: "eve", PullRequest: pull}, jobs: []string{"fork"},
	})
	wants(t, r, "fork", map[string]string{"phase": "plan", "outcome": "done"})
	if comments := h.repo.Comments(pull.Number); len(comments) != 0 {
		t.Errorf("a comment on a fork's pull request: %s", comments[0].Body())
	}
}

// stage sets a host up, with a database, and the repository of its service. It
// skips the test where workflows cannot be run.
func stage(t *testing.T) (*host, *hub) {
	t.Helper()
	if os.Getenv(envAct) == "" {
		t.Skip("make test-act runs it")
	}
	if out, err := exec.CommandContext(t.Context(), "docker", "info").CombinedOutput(); err != nil {
		t.Skipf("no Docker daemon answers: %s", out)
	}
	on := newHost(t)
	on.exec(t, "create table address (id bigint generated by default as identity primary key, name text not null, phone text, street text)")
	on.exec(t, fmt.Sprintf("insert into address (name, street) select 'n', 'Main Street ' || n from generate_series(1, %d) n", rows))
	on.exec(t, "create extension if not exists pg_stat_statements")
	return on, newHub(t, on)
}

// newHub makes the repository of the service, and the fake GitHub that it is on.
func newHub(t *testing.T, on *host) *hub {
	t.Helper()
	h := &hub{
		server: githubtest.New(t), dir: t.TempDir(), action: t.TempDir(),
		base:      command(t, root, filepath.Join("scripts", "base-image"), "debian"),
		secrets:   map[string]string{"GAPLESS_AGENT_TOKEN": agentToken, "DATABASE_URL": on.database},
		variables: map[string]string{"GAPLESS_AGENT_CA": string(on.authority)},
	}
	h.repo = h.server.Repository("octo/shop", githubtest.Protected("main"))
	h.repo.Collaborator(reviewer, githubtest.CanAdmin)
	h.repo.Collaborator("ben", githubtest.CanWrite)
	for _, name := range []string{"production", "production-schema"} {
		h.repo.Environment(name, githubtest.Protection{Reviewers: []string{reviewer}, Branches: githubtest.ProtectedBranches})
	}
	h.repo.Environment("gapless", githubtest.Protection{Branches: githubtest.ProtectedBranches})

	text, err := os.ReadFile(filepath.Join(root, "action.yml"))
	if err != nil {
		t.Fatal(err)
	}
	// As the release pins it; see scripts/pin-action.
	pinned := strings.Replace(string(text), "\n  image: Dockerfile\n", "\n  image: docker://"+image(t)+"\n", 1)
	if pinned == string(text) {
		t.Fatal("action.yml has no line image: Dockerfile")
	}
	put(t, filepath.Join(h.action, "action.yml"), pinned, 0o600)
	put(t, filepath.Join(h.dir, "scripts", "release"), "#!/bin/sh\necho \"the program of $1 is there\"\n", 0o700)
	command(t, h.dir, "git", "init", "--quiet", "--initial-branch", "main")
	command(t, h.dir, "git", "remote", "add", "origin", "https://github.com/octo/shop")
	return h
}

// write writes the repository's config, with one schema change or none.
func (h *hub) write(t *testing.T, on *host, strategy, change string) {
	t.Helper()
	put(t, filepath.Join(h.dir, "gapless.yaml"), fmt.Sprintf(config, on.secure, strategy, change), 0o600)
	if change != "" {
		text, err := os.ReadFile(filepath.Join(root, "testdata", "demo", filepath.FromSlash(change)))
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(h.dir, filepath.FromSlash(change)), string(text), 0o600)
	}
	command(t, h.dir, "git", "add", "--all")
	command(t, h.dir, "git", "-c", "user.name=ben", "-c", "user.email=ben@example.com", "commit", "--quiet", "--message", "release")
}

func put(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// wants compares some of a job's outputs.
func wants(t *testing.T, r ran, job string, outputs map[string]string) {
	t.Helper()
	for name, want := range outputs {
		if got := r.Outputs[job][name]; got != want {
			t.Errorf("job %s: output %s is %q, want %q\n%s", job, name, got, want, r.Log)
		}
	}
}

// told wants two comments, of the plan and of the rollout, and texts in them.
func told(t *testing.T, comments []*githubtest.Comment, plan string, rollout ...string) {
	t.Helper()
	if len(comments) != 2 {
		t.Errorf("%d comments on the pull request, want the plan's and the rollout's", len(comments))
		return
	}
	if body := comments[0].Body(); !strings.Contains(body, plan) {
		t.Errorf("want %q in the comment of the plan:\n%s", plan, body)
	}
	for _, text := range rollout {
		if body := comments[1].Body(); !strings.Contains(body, text) {
			t.Errorf("want %q in the comment of the rollout:\n%s", text, body)
		}
	}
}
