package dir_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/store/dir"
	"github.com/gapless-deploy/gapless/internal/store/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) phase.Store {
		return dir.New(filepath.Join(t.TempDir(), "records"))
	})
}

// saved keeps n heads of one rollout and gives the last record.
func saved(t *testing.T, s dir.Store, n int) rollout.Record {
	t.Helper()
	r, before := storetest.Opened(t, storetest.Service, "r1", rollout.Head{}), rollout.Head{}
	for range n - 1 {
		if err := s.Save(t.Context(), r, before); err != nil {
			t.Fatal(err)
		}
		before, r = r.Head(), storetest.Grown(t, r, "on")
	}
	if err := s.Save(t.Context(), r, before); err != nil {
		t.Fatal(err)
	}
	return r
}

func names(t *testing.T, path string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(path, storetest.Service))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestOnlyTheHeadAndTheOneBeforeStay(t *testing.T) {
	path := t.TempDir()
	r := saved(t, dir.New(path), 40)
	got := names(t, path)
	if len(got) != 2 || !strings.HasPrefix(got[0], "000039-"+r.Entries[38].Hash[:12]) ||
		!strings.HasPrefix(got[1], "000040-"+r.Entries[39].Hash[:12]) {
		t.Errorf("40 saves left %q, want the files of seq 39 and 40", got)
	}
}

func TestAnotherRolloutsRecordIsNotPruned(t *testing.T) {
	path := t.TempDir()
	s := dir.New(path)
	first := saved(t, s, 5)
	r, before := storetest.Opened(t, storetest.Service, "r2", first.Head()), first.Head()
	for range 5 {
		if err := s.Save(t.Context(), r, before); err != nil {
			t.Fatal(err)
		}
		before, r = r.Head(), storetest.Grown(t, r, "on")
	}
	got, err := s.Load(t.Context(), storetest.Service, first.Head())
	if err != nil || got.Rollout != "r1" {
		t.Errorf("the settled rollout is gone: %v", err)
	}
}

func TestNobodyElseMayRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records")
	saved(t, dir.New(path), 2)
	err := filepath.WalkDir(path, func(name string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestServiceNamesCannotLeaveTheDirectory(t *testing.T) {
	outer := t.TempDir()
	s := dir.New(filepath.Join(outer, "records"))
	for _, name := range []string{
		"", ".", "..", "../x", "a/b", `a\b`, "/etc", ".hidden", "-flag", "a\x00b", "a\nb", "ä", strings.Repeat("a", 129),
	} {
		if _, err := s.Load(t.Context(), name, rollout.Head{}); err == nil || errors.Is(err, rollout.ErrNotFound) {
			t.Errorf("load of service %q: %v, want a refusal of the name", name, err)
		}
		r := rollout.NewRecord(name, "r1")
		if name != "" {
			r = storetest.Opened(t, name, "r1", rollout.Head{})
		}
		if err := s.Save(t.Context(), r, rollout.Head{}); err == nil {
			t.Errorf("saved a record of service %q", name)
		}
	}
	if entries, err := os.ReadDir(outer); err != nil || len(entries) != 0 {
		t.Errorf("refused names left %v, %v", entries, err)
	}
}

func TestALinkOutOfTheDirectoryIsNotFollowed(t *testing.T) {
	path, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(path, storetest.Service)); err != nil {
		t.Fatal(err)
	}
	r := storetest.Opened(t, storetest.Service, "r1", rollout.Head{})
	if err := dir.New(path).Save(t.Context(), r, rollout.Head{}); err == nil {
		t.Error("saved through a link")
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 0 {
		t.Errorf("outside holds %v, %v", entries, err)
	}
}

func TestForkNamesBothFiles(t *testing.T) {
	s := dir.New(t.TempDir())
	r := saved(t, s, 1)
	left, right := storetest.Grown(t, r, "left"), storetest.Grown(t, r, "right")
	for _, next := range []rollout.Record{left, right} {
		if err := s.Save(t.Context(), next, r.Head()); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Load(t.Context(), storetest.Service, rollout.Head{})
	for _, next := range []rollout.Record{left, right} {
		if err == nil || !strings.Contains(err.Error(), "000002-"+next.Head().Hash[:12]+".json") {
			t.Errorf("error %v does not name %s", err, next.Head().Hash[:12])
		}
	}
}

func TestBrokenContentNamesTheFile(t *testing.T) {
	whole := storetest.Opened(t, storetest.Service, "r1", rollout.Head{})
	data, err := whole.Encode()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := storetest.Opened(t, "billing", "r1", rollout.Head{}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	pretty, err := json.MarshalIndent(whole, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"empty":                     {},
		"cut off":                   data[:len(data)/2],
		"a changed byte":            []byte(strings.Replace(string(data), `"ana"`, `"bob"`, 1)),
		"another service's":         elsewhere,
		"formatted by another tool": pretty,
		"too large":                 []byte(strings.Repeat(" ", rollout.MaxRecordBytes+1)),
	} {
		path := t.TempDir()
		s := dir.New(path)
		r := saved(t, s, 1)
		file := names(t, path)[0]
		if err := os.WriteFile(filepath.Join(path, storetest.Service, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, want := range []rollout.Head{{}, r.Head()} {
			if _, err := s.Load(t.Context(), storetest.Service, want); !errors.Is(err, rollout.ErrBroken) || !strings.Contains(err.Error(), file) {
				t.Errorf("%s: load gives %v, want ErrBroken and the name of the file", name, err)
			}
		}
		if err := s.Save(t.Context(), r, rollout.Head{}); err != nil {
			t.Errorf("%s: saving again: %v", name, err)
		}
		if _, err := s.Load(t.Context(), storetest.Service, r.Head()); err != nil {
			t.Errorf("%s: saving again did not mend it: %v", name, err)
		}
	}
}

func TestARecordUnderAnothersNameIsRefused(t *testing.T) {
	path := t.TempDir()
	s := dir.New(path)
	saved(t, s, 2)
	all := names(t, path)
	at := func(name string) string { return filepath.Join(path, storetest.Service, name) }
	if err := os.Rename(at(all[0]), at("000009-"+all[0][7:])); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), storetest.Service, rollout.Head{}); !errors.Is(err, rollout.ErrBroken) {
		t.Errorf("an old record passed off as the newest: %v, want ErrBroken", err)
	}
}

func TestUnwritableDirectoryIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "occupied")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := dir.New(file)
	if err := s.Save(t.Context(), storetest.Opened(t, storetest.Service, "r1", rollout.Head{}), rollout.Head{}); err == nil {
		t.Error("saved below a plain file")
	}
	if _, err := s.Load(t.Context(), storetest.Service, rollout.Head{}); err == nil || errors.Is(err, rollout.ErrNotFound) {
		t.Errorf("load below a plain file: %v, want an error that is not ErrNotFound", err)
	}
}
