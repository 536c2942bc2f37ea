// Command generate writes the files that are made from the code into the
// repository whose root is its argument: the JSON Schemas, action.yml with the
// tables of its inputs and outputs, and the example workflows. "make generate"
// runs it; a test fails where one of them has drifted.
package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/gapless-deploy/gapless/internal/forge/runner/metadata"
	"github.com/gapless-deploy/gapless/internal/scaffold"
	"github.com/gapless-deploy/gapless/internal/schema"
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
	files, err := generated(args[0])
	if err != nil {
		return err
	}
	for name, data := range files {
		//nolint:gosec // G306: a file of the repository, which anyone may read
		if err := os.WriteFile(filepath.Join(args[0], filepath.FromSlash(name)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generated gives all files, by their paths from the root.
func generated(root string) (map[string][]byte, error) {
	all := map[string][]byte{}
	for _, files := range []func(root string) (map[string][]byte, error){schema.Files, metadata.Files} {
		some, err := files(root)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, some)
	}
	examples, err := scaffold.Examples()
	if err != nil {
		return nil, err
	}
	for _, f := range examples {
		all[f.Path] = []byte(f.Text)
	}
	return all, nil
}
