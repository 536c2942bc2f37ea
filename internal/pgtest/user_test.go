package pgtest

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

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
