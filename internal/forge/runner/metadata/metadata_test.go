package metadata_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/gapless-deploy/gapless/internal/forge/runner"
	"github.com/gapless-deploy/gapless/internal/forge/runner/metadata"
	"github.com/gapless-deploy/gapless/internal/workflowtest"
)

const root = "../../../.."

// TestActionSaysWhatTheListsSay reads action.yml as GitHub does.
func TestActionSaysWhatTheListsSay(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "action.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var action struct {
		Inputs map[string]struct {
			Description, Default string
			Required             bool
		}
		Outputs map[string]struct{ Description string }
		Runs    map[string]any
	}
	if err := yaml.Unmarshal(data, &action); err != nil {
		t.Fatal(err)
	}
	for _, in := range runner.Inputs() {
		got, ok := action.Inputs[in.Name]
		if !ok || got.Description != in.Description || got.Default != in.Default || got.Required != in.Required {
			t.Errorf("input %s: %+v", in.Name, got)
		}
	}
	for _, out := range runner.Outputs() {
		if got := action.Outputs[out.Name]; got.Description != out.Description {
			t.Errorf("output %s: %+v", out.Name, got)
		}
	}
	if len(action.Inputs) != len(runner.Inputs()) || len(action.Outputs) != len(runner.Outputs()) {
		t.Errorf("%d inputs and %d outputs", len(action.Inputs), len(action.Outputs))
	}
	// The runner passes inputs by itself; "env" would put a secret's name to it twice.
	if _, ok := action.Runs["env"]; ok {
		t.Error("action.yml sets variables")
	}
}

// lint checks a workflow that uses the action, and the action by it. It gives
// one line for each fault.
func lint(t *testing.T, action, with, outputs string) string {
	t.Helper()
	dir := t.TempDir()
	workflow := filepath.Join(dir, ".github", "workflows", "w.yml")
	for name, text := range map[string]string{
		filepath.Join(dir, ".git", "HEAD"): "",
		filepath.Join(dir, "Dockerfile"):   "FROM scratch\n",
		filepath.Join(dir, "action.yml"):   action,
		// It is in the image; actionlint looks for it beside action.yml.
		filepath.Join(dir, "gapless-post"): "",
		workflow: "on: push\npermissions: {}\njobs:\n  j:\n    runs-on: ubuntu-latest\n    steps:\n      - id: g\n        uses: ./\n        with:\n" +
			with + "      - run: echo done\n        env:\n" + outputs,
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	faults, err := workflowtest.Lint(t.Context(), dir, workflow)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(faults, "\n")
}

func TestActionlintTakesTheAction(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "action.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var with, outputs strings.Builder
	for _, in := range runner.Inputs() {
		fmt.Fprintf(&with, "          %s: x\n", in.Name)
	}
	for i, out := range runner.Outputs() {
		fmt.Fprintf(&outputs, "          V%d: ${{ steps.g.outputs.%s }}\n", i, out.Name)
	}
	if found := lint(t, string(data), with.String(), outputs.String()); found != "" {
		t.Error(found)
	}
	for name, tc := range map[string]struct{ action, with, outputs, want string }{
		"an input that is none":   {string(data), "          phase: plan\n          revison: x\n", "          V: x\n", `input "revison" is not defined`},
		"an output that is none":  {string(data), "          phase: plan\n", "          V: ${{ steps.g.outputs.wieght }}\n", `property "wieght" is not defined`},
		"no phase":                {string(data), "          to: 5\n", "          V: x\n", `missing input "phase"`},
		"an icon that is not one": {strings.Replace(string(data), "icon: git-merge", "icon: rocket", 1), "          phase: plan\n", "          V: x\n", "incorrect icon name"},
	} {
		t.Run(name, func(t *testing.T) {
			if found := lint(t, tc.action, tc.with, tc.outputs); !strings.Contains(found, tc.want) {
				t.Errorf("want %q, got %q", tc.want, found)
			}
		})
	}
}

func TestDocumentsWithoutMarks(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte("# x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := metadata.Files(dir); err == nil || !strings.Contains(err.Error(), "README.md: the marks") {
		t.Errorf("got %v", err)
	}
}
