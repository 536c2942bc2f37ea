package gapless_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gapless-deploy/gapless/internal/workflowtest"
)

// TestWorkflows holds our own workflows and the examples against the rules of
// workflowtest; "make lint" runs actionlint over them.
func TestWorkflows(t *testing.T) {
	for pattern, more := range map[string][]string{
		"workflows-examples/*.yml": nil,
		// A release writes the image, its attestation, and the tag.
		".github/workflows/*.yml": {"image packages", "image attestations", "tag contents"},
	} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files (%v)", pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, fault := range workflowtest.Faults(text, more...) {
				t.Errorf("%s: %s", file, fault)
			}
		}
	}
}
