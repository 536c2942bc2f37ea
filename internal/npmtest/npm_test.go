package npmtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInstallIsPinned runs a stand-in for npm, without a network.
func TestInstallIsPinned(t *testing.T) {
	tools := t.TempDir()
	npm := `#!/bin/sh
[ "$*" = "ci --ignore-scripts --no-audit --no-fund" ] || { echo "called with $*"; exit 1; }
grep -q '"@scope/name":"1.2.3"' package.json || exit 2
grep -q '"integrity":"sha512-abc","version":"1.2.3"' package-lock.json || exit 3
mkdir -p node_modules/@scope/name
`
	if err := os.WriteFile(filepath.Join(tools, "npm"), []byte(npm), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", tools+":"+os.Getenv("PATH"))
	pinned := Package{Name: "@scope/name", Version: "1.2.3", Integrity: "sha512-abc"}
	dir := t.TempDir()
	if err := pinned.Install(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(pinned.Dir(dir)); err != nil {
		t.Error(err)
	}
	pinned.Integrity = "sha512-another"
	if err := pinned.Install(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "npm ci: exit status 3") {
		t.Errorf("error %v does not say what failed", err)
	}
	t.Setenv("PATH", t.TempDir())
	if err := pinned.Install(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "@scope/name") {
		t.Errorf("error %v does not name the package", err)
	}
}
