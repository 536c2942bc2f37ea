package workflowtest_test

import (
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/workflowtest"
)

const good = `
on: push
permissions: {}
jobs:
  a:
    environment: production
    permissions: {contents: read, id-token: write}
    steps:
      - uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683
        with: {persist-credentials: false}
      - uses: gapless-deploy/gapless@v1
      - run: echo "$X"
`

// TestFaults shows that each rule can fail.
func TestFaults(t *testing.T) {
	if faults := workflowtest.Faults([]byte(good)); len(faults) > 0 {
		t.Fatal(faults)
	}
	for _, tc := range []struct{ name, old, replaced, want string }{
		{"target", "on: push", "on: pull_request_target", "fork's pull request with our secrets"},
		{"top", "permissions: {}\n", "", "permissions: {} is missing"},
		{"top too wide", "permissions: {}\n", "permissions: write-all\n", "permissions: {} is missing"},
		{"job", "    permissions: {contents: read, id-token: write}\n", "", "a: says nothing of its permissions"},
		{"write", "contents: read", "contents: write", "a: may write contents"},
		{"actions", "contents: read", "actions: write", "a: may write actions"},
		{"group", "permissions: {}\n", "permissions: {}\nconcurrency: x\n", "holds a concurrency group"},
		{"job's group", "    environment: production\n", "    environment: production\n    concurrency: x\n", "a: waits for an approval and holds"},
		{"tag", "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683", "actions/checkout@v4", "not pinned"},
		{"short hash", "11bd71901bbe5b1630ceea73d27597364c9af683", "11bd719", "not pinned"},
		{"token", "persist-credentials: false", "fetch-depth: 1", "leaves the token behind"},
		{"event", `echo "$X"`, `echo ${{ github.event.comment.body }}`, "becomes a part of the script"},
		{"output", `echo "$X"`, `echo ${{ steps.x.outputs.y }}`, "becomes a part of the script"},
		{"branch", `echo "$X"`, `echo ${{ github.head_ref }}`, "becomes a part of the script"},
		{"secrets", "    environment: production\n", "    environment: production\n    secrets: inherit\n", "hands on all secrets"},
		{"not YAML", "on: push", "on: [", "["},
	} {
		t.Run(tc.name, func(t *testing.T) {
			faults := strings.Join(workflowtest.Faults([]byte(strings.Replace(good, tc.old, tc.replaced, 1))), "\n")
			if !strings.Contains(faults, tc.want) {
				t.Errorf("want %q, got %q", tc.want, faults)
			}
		})
	}
	if faults := workflowtest.Faults([]byte(strings.Replace(good, "contents: read", "contents: write", 1)), "a contents"); len(faults) > 0 {
		t.Error(faults)
	}
}
