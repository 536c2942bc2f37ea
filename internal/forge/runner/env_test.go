package runner

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

func TestReadsTheEnvironment(t *testing.T) {
	e := testEnv(t, map[string]string{
		"GITHUB_REPOSITORY": "ana/book", "GITHUB_REPOSITORY_ID": "7", "GITHUB_REPOSITORY_OWNER_ID": "8", "GITHUB_RUN_ID": "12345678901",
		"GITHUB_RUN_ATTEMPT": "2", "GITHUB_RETENTION_DAYS": "90", "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REF": "refs/heads/main",
		"GITHUB_WORKFLOW_REF": "ana/book/.github/workflows/release.yml@refs/heads/main", "ACTIONS_RUNTIME_TOKEN": "runtime-token",
		"INPUT_RECORD-KEY": " key-of-32-bytes \n", "INPUT_GITHUB-TOKEN": "ghs_token", "STATE_journal": "kept",
	})
	want := Env{
		Repository: "ana/book", RepositoryID: 7, OwnerID: 8, RunID: 12345678901, Attempt: 2, RetentionDays: 90,
		ServerURL: "https://github.com", Ref: "refs/heads/main",
		WorkflowRef: "ana/book/.github/workflows/release.yml@refs/heads/main", RuntimeToken: "runtime-token",
	}
	if diff := cmp.Diff(want, e, cmpopts.IgnoreUnexported(Env{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := e.RunURL(); got != "https://github.com/ana/book/actions/runs/12345678901/attempts/2" {
		t.Errorf("run URL %s", got)
	}
	if got := e.Secrets(); !slices.Equal(got, []string{"runtime-token", "key-of-32-bytes", "ghs_token"}) {
		t.Errorf("secrets %q", got)
	}
	if e.State("journal") != "kept" {
		t.Error("the state of an earlier part is not read")
	}
	_, err := Read(func(name string) string { return map[string]string{"GITHUB_RUN_ID": "-1"}[name] })
	if err == nil || !strings.Contains(err.Error(), `GITHUB_RUN_ID: expected a number, observed "-1"`) {
		t.Errorf("a run id that is none: %v", err)
	}
}

func TestInputs(t *testing.T) {
	variables := map[string]string{"INPUT_CONFIG": "  ", "INPUT_DRY-RUN": " true ", "INPUT_COMMENT": "yes", "INPUT_TO": "25"}
	e := testEnv(t, variables)
	for name, want := range map[string]string{InputConfig: "gapless.yaml", InputTo: "25", InputGitHubToken: "", InputRevision: ""} {
		if got := e.Input(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if on, err := e.Bool(InputDryRun); err != nil || !on {
		t.Errorf("dry-run is %v, %v", on, err)
	}
	if on, err := e.Bool(InputSupersede); err != nil || on {
		t.Errorf("supersede is %v, %v", on, err)
	}
	if _, err := e.Bool(InputComment); err == nil || err.Error() != `input comment: expected true or false, observed "yes"` {
		t.Errorf("comment: %v", err)
	}
}

func TestPhases(t *testing.T) {
	for given, want := range map[string]string{
		"promote": "", "command": "",
		"":         "input phase is missing, expected one of plan, expand",
		"promotte": `"promotte" is not a phase, did you mean "promote"?`,
		"xyzzyxyz": `"xyzzyxyz" is not a phase, expected one of plan, expand`,
	} {
		_, err := testEnv(t, map[string]string{"INPUT_PHASE": given}).Phase()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: want %q, got %v", given, want, err)
		}
	}
	all := slices.Sorted(slices.Values(Phases()))
	if len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Errorf("a phase is in the list twice: %v", all)
	}
}

func TestFlags(t *testing.T) {
	given := map[string]string{"INPUT_PHASE": "promote", "INPUT_TO": "25", "INPUT_EXPECT": "--x", "INPUT_SUPERSEDE": "false", "INPUT_RECORD-KEY": "k"}
	got, err := testEnv(t, given).Flags(rollout.Promote)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"--to=25", "--expect=--x", "--config=gapless.yaml"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	got, err = testEnv(t, map[string]string{"INPUT_SUPERSEDE": "true"}).Flags(rollout.Deploy)
	if err != nil || !slices.Contains(got, "--supersede") {
		t.Errorf("got %q, %v", got, err)
	}
	for variable, want := range map[string]string{
		"INPUT_TO": "input to: phase retire does not take it, only promote, can", "INPUT_SUPERSEDE": "input supersede: phase retire does not take it",
		"INPUT_COMMENT": "input comment: expected true or false",
	} {
		value := map[string]string{"INPUT_TO": "5", "INPUT_SUPERSEDE": "true", "INPUT_COMMENT": "1"}[variable]
		_, err := testEnv(t, map[string]string{variable: value}).Flags(rollout.Retire)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s=%s: want %q, got %v", variable, value, want, err)
		}
	}
}

func TestListsFitTogether(t *testing.T) {
	for _, in := range Inputs() {
		if in.Secret && in.Flag != "" {
			t.Errorf("secret %s would stand on a command line", in.Name)
		}
		for _, p := range in.For {
			if !slices.Contains(Phases(), p) {
				t.Errorf("%s is for %q, which is no phase", in.Name, p)
			}
		}
		if !strings.HasSuffix(in.Description, ".") || !named.MatchString(in.Name) {
			t.Errorf("input %q: %q", in.Name, in.Description)
		}
	}
	for _, out := range Outputs() {
		if !strings.HasSuffix(out.Description, ".") || !named.MatchString(out.Name) {
			t.Errorf("output %q: %q", out.Name, out.Description)
		}
	}
}

func TestUnknownInputs(t *testing.T) {
	got := Unknown([]string{"INPUT_REVISON=1", "INPUT_RECORD-KEY=x", "INPUT_SOMETHING_ELSE=", "PATH=/bin", "XINPUT_A=1"})
	want := []string{
		`input "revison" is not known and does nothing: did you mean "revision"?`,
		`input "something_else" is not known and does nothing`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEvents(t *testing.T) {
	const repository = `"repository": {"id": 7, "default_branch": "main"}, "sender": {"login": "ana", "id": 1}`
	base := Event{DefaultBranch: "main", RepositoryID: 7, Sender: "ana"}
	with := func(change func(*Event)) Event { e := base; change(&e); return e }
	at := time.Date(2026, 3, 1, 2, 40, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		payload string
		want    Event
	}{
		"push":              {`{` + repository + `, "commits": [{"id": "x"}]}`, base},
		"schedule":          {`{"schedule": "17 * * * *"}`, Event{}},
		"workflow_dispatch": {`{` + repository + `, "inputs": {"phase": "rollback"}}`, base},
		"pull_request": {
			`{"action": "opened", ` + repository + `, "pull_request": {"number": 3, "user": {"login": "eve"}, "head": {"sha": "abc", "repo": {"id": 9}}, "base": {"repo": {"id": 7}}}}`,
			with(func(e *Event) {
				e.Action, e.PullRequest = "opened", &PullRequest{Number: 3, Author: "eve", HeadSHA: "abc", HeadRepositoryID: 9, BaseRepositoryID: 7}
			}),
		},
		"pull_request_target": {
			`{` + repository + `, "pull_request": {"number": 3, "user": null, "head": {"sha": "abc", "repo": null}, "base": {"repo": {"id": 7}}}}`,
			with(func(e *Event) { e.PullRequest = &PullRequest{Number: 3, HeadSHA: "abc", BaseRepositoryID: 7} }),
		},
		"issue_comment": {
			`{"action": "created", ` + repository + `, "issue": {"number": 3, "user": {"login": "eve"}, "pull_request": {"url": "x"}}, "comment": {"id": 55, "body": "/gapless promote abc\r\n", "user": {"login": "bob", "id": 2}, "created_at": "2026-03-01T02:40:00Z", "updated_at": "2026-03-01T02:40:00Z"}}`,
			with(func(e *Event) {
				e.Action, e.Issue, e.PullRequest = "created", 3, &PullRequest{Number: 3, Author: "eve"}
				e.Comment = &Comment{ID: 55, Body: "/gapless promote abc\r\n", Author: "bob", AuthorID: 2, Created: at, Updated: at}
			}),
		},
		"issues": {`{"action": "opened", ` + repository + `, "issue": {"number": 4}}`, with(func(e *Event) { e.Action, e.Issue = "opened", 4 })},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "event.json")
			if err := os.WriteFile(path, []byte(tc.payload), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := testEnv(t, map[string]string{"GITHUB_EVENT_NAME": name, "GITHUB_EVENT_PATH": path}).Event()
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Name = name
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestForks(t *testing.T) {
	for pr, want := range map[PullRequest]bool{
		{HeadRepositoryID: 7, BaseRepositoryID: 7}: false,
		{HeadRepositoryID: 9, BaseRepositoryID: 7}: true,
		{BaseRepositoryID: 7}:                      true,
		{}:                                         true, // not told
	} {
		if pr.Fork() != want {
			t.Errorf("%+v: fork %v", pr, pr.Fork())
		}
	}
}

func TestEventsThatAreNone(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.json")
	f, err := os.Create(large)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(maxEvent + 1); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(dir, "broken.json")
	if err := os.WriteFile(broken, []byte(`{"action": 5}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{large: "more than 33554432 bytes", broken: "cannot unmarshal number", filepath.Join(dir, "none"): "no such file"} {
		if _, err := testEnv(t, map[string]string{"GITHUB_EVENT_PATH": path}).Event(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", filepath.Base(path), want, err)
		}
	}
	got, err := testEnv(t, map[string]string{"GITHUB_EVENT_NAME": "push"}).Event()
	if err != nil || got.Name != "push" {
		t.Errorf("without a payload: %+v, %v", got, err)
	}
}
