package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/document"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// repository puts files into a directory and loads the gapless.yaml that names
// these changes.
func repository(t *testing.T, files map[string]string, changes ...string) (string, *config.Config) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repository")
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "gapless.yaml")
	text := least + "schema: {url_env: U, changes: [" + strings.Join(changes, ", ") + "]}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return dir, c
}

func TestReadChanges(t *testing.T) {
	_, c := repository(t, map[string]string{"db/b.yaml": "B", "a.yaml": "A", "c.yaml": "C"}, "db/b.yaml", "./a.yaml")
	got, err := c.ReadChanges()
	if err != nil {
		t.Fatal(err)
	}
	want := []rollout.File{{Name: "db/b.yaml", Data: []byte("B")}, {Name: "./a.yaml", Data: []byte("A")}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, c := repository(t, nil); len(read(t, c)) != 0 {
		t.Error("no changes are some")
	}
}

func read(t *testing.T, c *config.Config) []rollout.File {
	t.Helper()
	files, err := c.ReadChanges()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestReadChangesTellsEveryFileItCannotRead(t *testing.T) {
	_, c := repository(t, map[string]string{"a.yaml": "A", "d/x": ""}, "gone.yaml", "a.yaml", "d", "a.yaml/b")
	files, err := c.ReadChanges()
	if len(files) != 1 || files[0].Name != "a.yaml" {
		t.Errorf("want the one that can be read, got %v", files)
	}
	faults := document.FaultsOf(err)
	if len(faults) != 3 {
		t.Fatalf("want three faults, got %v", err)
	}
	for i, want := range []string{
		"5:32: read change gone.yaml: no such file or directory; paths are relative to this file",
		"5:51: read change d: is a directory;", "5:54: read change a.yaml/b: not a directory;",
	} {
		if got := faults[i].Error(); !strings.Contains(got, "gapless.yaml:"+want) {
			t.Errorf("want %s\n got %s", want, got)
		}
	}
}

func TestReadChangesDoesNotFollowLinksOut(t *testing.T) {
	dir, c := repository(t, map[string]string{"inside.yaml": "I"}, "out.yaml", "in.yaml")
	if err := os.WriteFile(filepath.Join(dir, "..", "secret"), []byte("S"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"out.yaml": "../secret", "in.yaml": "inside.yaml"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.ReadChanges()
	if faults := document.FaultsOf(err); len(faults) != 1 || !strings.Contains(err.Error(), "read change out.yaml: ") {
		t.Errorf("want the link out refused and the other followed, got %v", err)
	}
}

func TestReadChangesKeepsToWhatARecordEmbeds(t *testing.T) {
	half := strings.Repeat("#", document.MaxSize/2)
	_, c := repository(t, map[string]string{"a": half, "b": half}, "a", "b")
	_, err := c.ReadChanges()
	if err == nil || !strings.Contains(err.Error(), "5:35: this file and its changes up to here have more than the 262144 bytes that a record embeds") {
		t.Errorf("want b to be too much, got %v", err)
	}
	if _, c := repository(t, map[string]string{"a": half}, "a"); len(read(t, c)) != 1 {
		t.Error("half of what a record embeds is refused")
	}
}
