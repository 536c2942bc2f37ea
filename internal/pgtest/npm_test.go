package pgtest

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNPMInstallsOnlyThePinned runs a stand-in for npm that does what "npm ci"
// does with the lock file, without a network.
func TestNPMInstallsOnlyThePinned(t *testing.T) {
	tools := t.TempDir()
	script(t, tools, "npm", `
[ "$1 $2" = "ci --ignore-scripts" ] || exit 1
grep -q '"integrity":"`+npmPins()[16].Integrity+`","version":"`+npmPins()[16].Version+`"' package-lock.json || exit 2
bin=node_modules/`+npmPackage+`/`+npmBin+`; mkdir -p "$bin"
for program in initdb postgres; do
	printf '#!/bin/sh\n[ -e "${0%%/bin/*}/linked" ]\n' >"$bin/$program"; chmod +x "$bin/$program"
done`)
	script(t, tools, "node", `[ "$1" = scripts/hydrate-symlinks.js ] && : >native/linked`)
	t.Setenv("PATH", tools+":"+os.Getenv("PATH"))
	t.Setenv(EnvCache, t.TempDir())

	for _, attempt := range []string{"first", "from the cache"} {
		found, err := fromNPM(t.Context(), io.Discard, "linux/amd64", 16)
		if err != nil {
			t.Fatalf("%s: %v", attempt, err)
		}
		if _, err := os.Stat(filepath.Join(found.bin, "postgres")); err != nil || found.major != 16 {
			t.Errorf("%s: %+v, %v", attempt, found, err)
		}
		script(t, tools, "npm", "exit 1")
	}
	if _, err := fromNPM(t.Context(), io.Discard, "linux/arm64", 16); err == nil {
		t.Error("binaries for another processor are accepted")
	}
	if _, err := fromNPM(t.Context(), io.Discard, "linux/amd64", 9); err == nil {
		t.Error("a version without a pin is accepted")
	}
	if _, err := fromNPM(t.Context(), io.Discard, "linux/amd64", 17); err == nil || !strings.Contains(err.Error(), "npm ci") {
		t.Errorf("error %v does not say what failed", err)
	}
}

func script(t *testing.T, dir, name, body string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
}
