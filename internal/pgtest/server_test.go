package pgtest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/npmtest"
	"github.com/gapless-deploy/gapless/internal/pgtest"
)

// starterEnv makes the test binary start a server, print its directory and
// wait to be killed.
const starterEnv = "PGTEST_STARTER"

func TestMain(m *testing.M) {
	if os.Getenv(starterEnv) == "" {
		os.Exit(m.Run())
	}
	server, err := pgtest.Start(context.Background(), pgtest.Options{Log: os.Stderr})
	if err == nil {
		err = server.CreateDatabase(context.Background(), "one")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if _, err := fmt.Fprintln(os.Stdout, filepath.Dir(server.Log())); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func TestServerLifeInAGivenDirectory(t *testing.T) {
	own(t)
	dir := shortDir(t)
	server, err := pgtest.Start(t.Context(), pgtest.Options{
		Dir: dir, Durable: true, Settings: map[string]string{"application_name": "it's"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.CreateDatabase(t.Context(), `odd "name"`); err != nil {
		t.Fatal(err)
	}
	var database, fsync, name string
	row := connect(t, server.URL(`odd "name"`)).QueryRow(t.Context(),
		"select current_database(), current_setting('fsync'), reset_val from pg_settings where name = 'application_name'")
	if err := row.Scan(&database, &fsync, &name); err != nil {
		t.Fatal(err)
	}
	if database != `odd "name"` || fsync != "on" || name != "it's" {
		t.Errorf("database %q, fsync %s, application_name %q", database, fsync, name)
	}
	pid := postmaster(t, dir)
	for range 2 { // the second does nothing
		if err := server.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if running(t, pid) {
		t.Errorf("postmaster %d is left running", pid)
	}
	log, err := os.ReadFile(server.Log())
	if err != nil || !strings.Contains(string(log), "database system is shut down") {
		t.Errorf("log %q, %v: want an orderly end", log, err)
	}
}

func TestServerOfTheEnvironment(t *testing.T) {
	own(t)
	ours, err := pgtest.Start(t.Context(), pgtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := ours.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	t.Setenv(pgtest.EnvURL, ours.URL("postgres"))
	var log strings.Builder
	theirs, err := pgtest.Start(t.Context(), pgtest.Options{Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), pgtest.EnvURL) {
		t.Errorf("choice told as %q", log.String())
	}
	if err := theirs.CreateDatabase(t.Context(), "theirs"); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	connect(t, ours.URL("theirs")) // fails if that had stopped it
	if err := theirs.DropDatabase(t.Context(), "theirs"); err != nil {
		t.Error(err)
	}

	t.Setenv(pgtest.EnvURL, "host=db password=hunter2")
	_, err = pgtest.Start(t.Context(), pgtest.Options{})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v: want one, without the password", err)
	}
}

func TestFailedStartShowsTheLog(t *testing.T) {
	own(t)
	t.Setenv("TMPDIR", shortDir(t))
	_, err := pgtest.Start(t.Context(), pgtest.Options{Settings: map[string]string{"shared_buffers": "plenty"}})
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "shared_buffers": "plenty"`) {
		t.Errorf("error %v does not hold what the server said", err)
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) != 0 {
		t.Errorf("%v, %v left behind", left, err)
	}
}

// TestKilledStarterLeavesNothing runs this test's program again, as root where
// we are root and as a user who is not, and kills it.
func TestKilledStarterLeavesNothing(t *testing.T) {
	own(t)
	for name, credential := range starters(t) {
		t.Run(name, func(t *testing.T) {
			dir := startAndKill(t, credential)
			eventually(t, "removed "+dir, func() bool {
				_, err := os.Stat(dir)
				return errors.Is(err, fs.ErrNotExist)
			})
		})
	}
}

// startAndKill returns the directory of the server that a killed process had.
func startAndKill(t *testing.T, credential *syscall.Credential) string {
	t.Helper()
	home := shortDir(t)
	cache, err := npmtest.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), copyOfThis(t, home))
	cmd.Dir = home
	cmd.Env = append(os.Environ(), starterEnv+"=1", "HOME="+home, pgtest.EnvCache+"="+cache)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	cmd.Stderr = os.Stderr
	hold, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hold.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			t.Error(err)
		}
	})
	dir, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("no server: %v, %v", err, cmd.Wait())
	}
	dir = strings.TrimSpace(dir)
	pid := postmaster(t, dir)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the starter ended in good order, though killed")
	}
	eventually(t, fmt.Sprintf("ended postmaster %d", pid), func() bool { return !running(t, pid) })
	return dir
}

func starters(t *testing.T) map[string]*syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return map[string]*syscall.Credential{"as we are": nil}
	}
	nobody, err := osuser.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, errUID := strconv.Atoi(nobody.Uid)
	gid, errGID := strconv.Atoi(nobody.Gid)
	if err := errors.Join(errUID, errGID); err != nil {
		t.Fatal(err)
	}
	return map[string]*syscall.Credential{
		"as root":   nil,
		"as nobody": {Uid: uint32(uid), Gid: uint32(gid)},
	}
}

// copyOfThis copies the test's program to where every user can run it.
func copyOfThis(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "starter")
	if err := os.WriteFile(copied, program, 0o755); err != nil {
		t.Fatal(err)
	}
	return copied
}

// shortDir returns a directory open to the server's user, with a path short
// enough for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgt") //nolint:usetesting // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// own makes the test start a server of its own, whatever the caller has set.
func own(t *testing.T) {
	t.Helper()
	t.Setenv(pgtest.EnvURL, "")
}

// postmaster returns the process of the server in dir.
func postmaster(t *testing.T, dir string) int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// running says whether a process exists; one that only waits to be reaped, as
// an orphan does in a container without an init, does not.
func running(t *testing.T, pid int) bool {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("not %s: %v", what, ctx.Err())
		case <-ticker.C:
		}
	}
}
