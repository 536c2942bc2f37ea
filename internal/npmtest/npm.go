// Package npmtest gives tests and the demo what they need from npm packages:
// each pinned by its version and its hash, installed once into a cache that
// all processes of the machine share, with downloads from elsewhere.
//
// GAPLESS_CACHE_DIR says where the cache is.
package npmtest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Package is one version of an npm package that needs no other one. A new
// version's Integrity is found with "npm view NAME@VERSION dist.integrity".
type Package struct {
	Name      string // "@scope/name" or "name"
	Version   string // exact, as in "1.2.3"
	Integrity string // "sha512-..." as npm checks it
}

// Dir returns where in dir the package lies once it is installed.
func (p Package) Dir(dir string) string {
	return filepath.Join(dir, "node_modules", filepath.FromSlash(p.Name))
}

// Install installs the package into dir with the ordinary client, which checks
// its hash, from whatever registry npm is configured for. No script of the
// package is run.
func (p Package) Install(ctx context.Context, dir string) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return fmt.Errorf("install %s: %w", p.Name, err)
	}
	if err := p.writeManifest(dir); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	return Run(cmd)
}

// writeManifest writes the files that make "npm ci" install exactly the pinned
// version.
func (p Package) writeManifest(dir string) error {
	type object = map[string]any
	needs := object{p.Name: p.Version}
	for name, content := range map[string]object{
		"package.json": {"name": "gapless-npmtest", "private": true, "dependencies": needs},
		"package-lock.json": {"name": "gapless-npmtest", "lockfileVersion": 3, "packages": object{
			"":                       object{"name": "gapless-npmtest", "dependencies": needs},
			"node_modules/" + p.Name: object{"version": p.Version, "integrity": p.Integrity},
		}},
	} {
		encoded, err := json.Marshal(content)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), encoded, 0o600); err != nil {
			return fmt.Errorf("install %s: %w", p.Name, err)
		}
	}
	return nil
}

// Run runs a command; its error shows the end of what it printed.
func Run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		const most = 10
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(cmd.Path), cmd.Args[1], err,
			strings.Join(lines[max(0, len(lines)-most):], "\n"))
	}
	return nil
}
