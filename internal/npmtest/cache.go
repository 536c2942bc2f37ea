package npmtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// EnvCache names the environment variable with the directory for downloads.
const EnvCache = "GAPLESS_CACHE_DIR"

// CacheDir returns the directory for downloads: of GAPLESS_CACHE_DIR, or the
// user's; for root one that other users can reach.
func CacheDir() (string, error) {
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

// Cached returns the cache's directory called name. When it is absent, fill
// is given a new one, which takes that name only when complete. Of processes that
// want it at the same time, one works and the others wait.
func Cached(name string, fill func(dir string) error) (dir string, err error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil // also for a user who may only read the cache
	}
	const forEveryone = 0o755 // a server's user reads it too
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
