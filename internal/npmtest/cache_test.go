package npmtest

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

func TestCachedIsFilledOnce(t *testing.T) {
	t.Setenv(EnvCache, t.TempDir())
	var fills atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			dir, err := Cached("thing", func(dir string) error {
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
	_, err := Cached("thing", func(dir string) error {
		return errors.Join(failure, os.WriteFile(filepath.Join(dir, "half"), nil, 0o600))
	})
	if !errors.Is(err, failure) {
		t.Fatalf("error %v, want %v", err, failure)
	}
	dir, err := Cached("thing", func(string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v left of the failed attempt", entries, err)
	}
}
