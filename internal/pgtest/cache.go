package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// cacheDir returns the directory for downloads: of GAPLESS_CACHE_DIR, or the
// user's; for root one that the server's user can reach.
func cacheDir() (string, error) {
	if dir := os.Getenv(EnvCache); dir != "" {
		dir, err := filepath.Abs(dir)
		if err != nil {
			return "", fmt.Errorf("%s: %w", EnvCache, err)
		}
		return dir, nil
	}
	if os.Geteuid() == 0 {
		return "/var/cache/gapless", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache directory: %w; set %s", err, EnvCache)
	}
	return filepath.Join(dir, "gapless"), nil
}

// cached returns the cache's directory called name. When it is absent, make
// fills a new one, which takes that name only when complete. Of processes that
// want it at the same time, one works and the others wait.
func cached(name string, fill func(dir string) error) (dir string, err error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil // also for a user who may only read the cache
	}
	const forEveryone = 0o755 // the server's user reads it too
	if err := os.MkdirAll(cache, forEveryone); err != nil {
		return "", fmt.Errorf("cache: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(cache, name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("cache: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }() // gives the lock up
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil // another process was faster
	}
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return "", fmt.Errorf("cache: %w", err)
	}
	if err := os.Mkdir(partial, forEveryone); err != nil {
		return "", fmt.Errorf("cache: %w", err)
	}
	if err := fill(partial); err != nil {
		return "", errors.Join(err, os.RemoveAll(partial))
	}
	if err := os.Rename(partial, dir); err != nil {
		return "", fmt.Errorf("cache: %w", err)
	}
	return dir, nil
}

// run runs a program in dir; its error shows the end of what it printed.
func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	return told(cmd)
}

// told runs a command; its error shows the end of what it printed.
func told(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		const most = 10
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(cmd.Path), cmd.Args[1], err,
			strings.Join(lines[max(0, len(lines)-most):], "\n"))
	}
	return nil
}

func tell(log io.Writer, format string, args ...any) error {
	if _, err := fmt.Fprintf(log, "pgtest: "+format+"\n", args...); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return nil
}
