package pgtest

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

func TestCachedIsFilledOnce(t *testing.T) {
	t.Setenv(EnvCache, t.TempDir())
	var fills atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			dir, err := cached("thing", func(dir string) error {
				fills.Add(1)
				return os.WriteFile(filepath.Join(dir, "content"), []byte("whole"), 0o600)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if content, err := os.ReadFile(filepath.Join(dir, "content")); err != nil || string(content) != "whole" {
				t.Errorf("content %q, %v", content, err)
			}
		})
	}
	all.Wait()
	if got := fills.Load(); got != 1 {
		t.Errorf("filled %d times, want once", got)
	}
}

func TestCachedForgetsAFailure(t *testing.T) {
	t.Setenv(EnvCache, t.TempDir())
	failure := errors.New("no network")
	_, err := cached("thing", func(dir string) error {
		return errors.Join(failure, os.WriteFile(filepath.Join(dir, "half"), nil, 0o600))
	})
	if !errors.Is(err, failure) {
		t.Fatalf("error %v, want %v", err, failure)
	}
	dir, err := cached("thing", func(string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v left of the failed attempt", entries, err)
	}
}

// TestNPMInstallsOnlyThePinned runs a stand-in for npm that does what "npm ci"
// does with the lock file, without a network.
func TestNPMInstallsOnlyThePinned(t *testing.T) {
	tools := t.TempDir()
	script(t, tools, "npm", `
[ "$1 $2" = "ci --ignore-scripts" ] || exit 1
grep -q '"integrity":"`+npmPins()[16].integrity+`","version":"`+npmPins()[16].version+`"' package-lock.json || exit 2
bin=`+npmBin+`; mkdir -p "$bin"
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

func TestReachNamesTheClosedDirectory(t *testing.T) {
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	other := user{name: "somebody", credential: &syscall.Credential{Uid: uint32(os.Getuid()) + 1}}
	err := other.reach(filepath.Join(closed, "data"))
	if err == nil || !strings.Contains(err.Error(), closed+" has mode 0700") {
		t.Errorf("error %v, want %s in it", err, closed)
	}
	if err := other.reach("/etc/passwd"); err != nil {
		t.Errorf("a file open to all: %v", err)
	}
}
