// Command generate writes the example workflows into the repository that its
// argument names.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gapless-deploy/gapless/internal/scaffold"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	files, err := scaffold.Examples()
	if err != nil {
		return err
	}
	for _, f := range files {
		//nolint:gosec // G306: everybody may read what the repository holds
		if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(f.Path)), []byte(f.Text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
