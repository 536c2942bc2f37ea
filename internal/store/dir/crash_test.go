package dir_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/store/dir"
	"github.com/gapless-deploy/gapless/internal/store/storetest"
)

// What a killed Save can leave behind, whole or in part, is never taken for a
// record, and goes once the rollout has moved past it.
func TestLeftoversAreNoRecords(t *testing.T) {
	path := t.TempDir()
	s := dir.New(path)
	r := saved(t, s, 3)
	next := storetest.Grown(t, r, "on")
	data, err := next.Encode()
	if err != nil {
		t.Fatal(err)
	}
	leftover := func(seq int, tag string, content []byte) {
		name := fmt.Sprintf(".%06d-%s.%s.part", seq, next.Head().Hash[:12], tag)
		if err := os.WriteFile(filepath.Join(path, storetest.Service, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leftover(4, "AAAA", nil)
	leftover(4, "BBBB", data[:len(data)-7])
	leftover(4, "CCCC", data)

	for _, want := range []rollout.Head{{}, r.Head()} {
		got, err := s.Load(t.Context(), storetest.Service, want)
		if err != nil || got.Head() != r.Head() {
			t.Fatalf("load beside leftovers: seq %d, %v; want the old head, seq 3", got.Head().Seq, err)
		}
	}
	if _, err := s.Load(t.Context(), storetest.Service, next.Head()); !errors.Is(err, rollout.ErrNotFound) {
		t.Errorf("load of a head never saved: %v, want ErrNotFound", err)
	}
	for before := r; next.Head().Seq <= 6; before, next = next, storetest.Grown(t, next, "on") {
		if err := s.Save(t.Context(), next, before.Head()); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(t, path); len(got) != 2 {
		t.Errorf("left are %q, want two records and no leftovers", got)
	}
}

// A process that saves as fast as it can is killed again and again. Whatever
// it had said was saved is there, and what is newest is whole.
func TestKilledWhileSaving(t *testing.T) {
	if path := os.Getenv("STORE_DIR_UNDER_KILL"); path != "" {
		saveForever(t, path)
		return
	}
	path := t.TempDir()
	s := dir.New(path)
	for round := range 6 {
		told := killAfter(t, path, 3+2*round)
		r, err := s.Load(t.Context(), storetest.Service, rollout.Head{})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		// The one after the last told may have been saved, its word cut off.
		if got := r.Head().Seq; got < told {
			t.Fatalf("round %d: the newest record has seq %d; %d was said to be saved", round, got, told)
		}
		if _, err := rollout.Fold(r); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

// killAfter runs saveForever, kills it in the midst of its work after n words,
// and gives the last sequence number that it told.
func killAfter(t *testing.T, path string, n int) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledWhileSaving$")
	cmd.Env = append(os.Environ(), "STORE_DIR_UNDER_KILL="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	told, words := 0, bufio.NewScanner(out)
	for words.Scan() {
		if _, err := fmt.Sscanf(words.Text(), "saved %d", &told); err != nil {
			t.Fatalf("the saving process says %q", words.Text())
		}
		if n--; n == 0 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := io.Copy(io.Discard, out); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
	var killed *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &killed) {
		t.Fatalf("the saving process ended by itself: %v", err)
	}
	return told
}

// saveForever begins a rollout after the newest record and saves its entries
// until it is killed.
func saveForever(t *testing.T, path string) {
	s := dir.New(path)
	last, err := s.Load(t.Context(), storetest.Service, rollout.Head{})
	if err != nil && !errors.Is(err, rollout.ErrNotFound) {
		t.Fatal(err)
	}
	before := last.Head()
	r := storetest.Opened(t, storetest.Service, fmt.Sprint("after-", before.Seq), before)
	for {
		if err := s.Save(t.Context(), r, before); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Printf("saved %d\n", r.Head().Seq); err != nil {
			t.Fatal(err)
		}
		before = r.Head()
		r = storetest.Grown(t, r, strings.Repeat("x", 20_000))
	}
}
