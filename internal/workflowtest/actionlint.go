package workflowtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// actionlint is built apart from the module: it needs a version of a YAML
// library that others of the module's cannot be built with.
const actionlint = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"

// Lint runs actionlint over files of a directory and gives one line for each
// fault.
func Lint(ctx context.Context, dir string, files ...string) ([]string, error) {
	var out, problems bytes.Buffer
	args := append([]string{"run", actionlint, "-oneline", "-no-color", "-shellcheck=", "-pyflakes="}, files...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &problems
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	if err := cmd.Run(); err != nil && out.Len() == 0 {
		return nil, fmt.Errorf("actionlint: %w\n%s", err, problems.String())
	}
	return strings.FieldsFunc(out.String(), func(r rune) bool { return r == '\n' }), nil
}
