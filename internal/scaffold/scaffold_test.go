package scaffold_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/scaffold"
	"github.com/gapless-deploy/gapless/internal/workflowtest"
)

// matrix is every combination of what changes the files' form.
func matrix() map[string]scaffold.Options {
	all := map[string]scaffold.Options{}
	for _, strategy := range []scaffold.Strategy{scaffold.Canary, scaffold.BlueGreen, scaffold.Rolling} {
		for _, gate := range []scaffold.Gate{scaffold.ByEnvironment, scaffold.ByComment, scaffold.Open} {
			if strategy == scaffold.Rolling && gate == scaffold.ByComment {
				continue // refused, see TestRollingTakesNoComment
			}
			for _, schema := range []bool{false, true} {
				o := scaffold.Defaults()
				o.Service, o.Strategy, o.Gate, o.Schema = "address-book", strategy, gate, schema
				o.Command = []string{`./releases/{revision}/it's "it"`, `--dir=C:\x`}
				o.Steps = []string{"0.5", "5", "100"}
				all[fmt.Sprintf("%s-%s-%v", strategy, gate, schema)] = o
			}
		}
	}
	return all
}

func TestFilesAreValid(t *testing.T) {
	dir := t.TempDir()
	var workflows []string
	for name, o := range matrix() {
		files, err := scaffold.Files(o)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			switch f.Path {
			case scaffold.ConfigPath:
				checkConfig(t, name, o, f.Text)
			case scaffold.ChangePath:
				if _, err := change.Parse(f.Path, []byte(f.Text)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			case scaffold.WorkflowPath:
				for _, fault := range workflowtest.Faults([]byte(f.Text)) {
					t.Errorf("%s: %s", name, fault)
				}
				file := filepath.Join(dir, name+".yml")
				if err := os.WriteFile(file, []byte(f.Text), 0o600); err != nil {
					t.Fatal(err)
				}
				workflows = append(workflows, file)
			default:
				t.Errorf("%s: %s", name, f.Path)
			}
		}
	}
	faults, err := workflowtest.Lint(t.Context(), dir, workflows...)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range faults {
		t.Error(fault)
	}
}

// checkConfig reads what was written as gapless does, and compares.
func checkConfig(t *testing.T, name string, o scaffold.Options, text string) {
	t.Helper()
	c, err := config.Parse(scaffold.ConfigPath, []byte(text))
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if c.Service != o.Service || string(c.Strategy.Kind()) != string(o.Strategy) || c.Target.Local.Instances != o.Instances {
		t.Errorf("%s: %+v", name, c)
	}
	if diff := cmp.Diff(o.Command, c.Target.Local.Command); diff != "" {
		t.Errorf("%s: command: %s", name, diff)
	}
	if (c.Schema != nil) != o.Schema || (c.Gates.Promote != nil) != (o.Gate != scaffold.Open) ||
		(c.Gates.Contract != nil) != (o.Schema && o.Gate != scaffold.Open) {
		t.Errorf("%s: schema %v, gates %+v", name, c.Schema, c.Gates)
	}
}

// TestGatedJobsRunInTheirEnvironments: a gate proves the job's environment, so
// the two files have to agree on it.
func TestGatedJobsRunInTheirEnvironments(t *testing.T) {
	o := scaffold.Defaults()
	o.Service, o.Command, o.Schema = "shop", []string{"./{revision}"}, true
	o.Environment, o.SchemaEnvironment = "live", "live-schema"
	files, err := scaffold.Files(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		file int
		text string
	}{
		{0, "promote: {environment: live}"},
		{0, "contract: {environment: live-schema}"},
		{1, "promote-5:\n    needs: deploy\n    if: needs.deploy.outputs.next-phase == 'promote'\n    runs-on: self-hosted\n    environment: live\n"},
		{1, "|| 'gapless' }}"},
		{1, "if: needs.due.outputs.next-phase == 'contract'\n    runs-on: self-hosted\n    environment: live-schema\n"},
	} {
		if !strings.Contains(files[want.file].Text, want.text) {
			t.Errorf("%s: want %q in\n%s", files[want.file].Path, want.text, files[want.file].Text)
		}
	}
}

func TestRollingTakesNoComment(t *testing.T) {
	o := scaffold.Defaults()
	o.Strategy, o.Gate = scaffold.Rolling, scaffold.ByComment
	if files, err := scaffold.Files(o); err == nil || len(files) > 0 {
		t.Errorf("got %d files, %v", len(files), err)
	}
}
