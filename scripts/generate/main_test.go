package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/scaffold"
)

// TestNothingHasDrifted: an edit of the code shows in the files that are made
// from it, and what is edited there by hand is found.
func TestNothingHasDrifted(t *testing.T) {
	const root = "../.."
	files, err := generated(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
			t.Errorf("%s has drifted, run make generate:\n%s", name, diff)
		}
	}
	examples, err := filepath.Glob(filepath.Join(root, scaffold.ExamplesDir, "*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range examples {
		if _, ok := files[scaffold.ExamplesDir+"/"+filepath.Base(path)]; !ok {
			t.Errorf("%s is an example that nothing makes", path)
		}
	}
}
