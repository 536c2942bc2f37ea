// Command generate writes action.yml and the tables of inputs and outputs into
// the repository whose root is its argument. Run it by
// go generate ./internal/forge/runner/...
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gapless-deploy/gapless/internal/forge/runner/metadata"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("expected the repository's root as the only argument")
	}
	files, err := metadata.Files(args[0])
	if err != nil {
		return err
	}
	for name, data := range files {
		//nolint:gosec // G306: a file of the repository, which anyone may read
		if err := os.WriteFile(filepath.Join(args[0], name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
