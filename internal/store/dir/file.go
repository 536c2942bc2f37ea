package dir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// file names the record that ends at one head.
type file struct {
	seq  int
	hash string // the first hashDigits of it
}

const hashDigits = 12

var (
	recordName = regexp.MustCompile(`^(\d{6,18})-([0-9a-f]{12})\.json$`)
	// partName is a file that is being written, or that a killed process left.
	partName = regexp.MustCompile(`^\.(\d{6,18})-([0-9a-f]{12})\.[A-Z2-7]+\.part$`)
)

func fileOf(h rollout.Head) file {
	return file{seq: h.Seq, hash: h.Hash[:min(hashDigits, len(h.Hash))]}
}

func (f file) String() string { return fmt.Sprintf("%06d-%s.json", f.seq, f.hash) }

func (f file) part() string {
	return fmt.Sprintf(".%06d-%s.%s.part", f.seq, f.hash, rand.Text())
}

// parse reads a file's name; ok is false for what is not ours.
func parse(form *regexp.Regexp, name string) (f file, ok bool) {
	m := form.FindStringSubmatch(name)
	if m == nil {
		return file{}, false
	}
	seq, err := strconv.Atoi(m[1])
	return file{seq: seq, hash: m[2]}, err == nil && seq > 0
}

// shelf is the directory of one service. Links that lead out of it are not
// followed.
type shelf struct {
	*os.Root
	path string
}

// open opens the shelf of a service below path; create makes what is missing.
func open(path, service string, create bool) (shelf, error) {
	if create {
		if err := makeBase(path); err != nil {
			return shelf{}, err
		}
	}
	base, err := os.OpenRoot(path)
	if err != nil {
		return shelf{}, err
	}
	if create {
		err = makeDir(base, service)
	}
	var inner *os.Root
	if err == nil {
		inner, err = base.OpenRoot(service)
	}
	return shelf{Root: inner, path: filepath.Join(path, service)}, errors.Join(err, base.Close())
}

func makeBase(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	parent, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(sync(parent), parent.Close())
}

func makeDir(base *os.Root, name string) error {
	if err := base.Mkdir(name, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	return sync(base)
}

// sync brings the names in a directory to the disk.
func sync(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s shelf) list() ([]file, error) {
	entries, err := fs.ReadDir(s.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.path, err)
	}
	var files []file
	for _, e := range entries {
		if f, ok := parse(recordName, e.Name()); ok && e.Type().IsRegular() {
			files = append(files, f)
		}
	}
	return files, nil
}

// write puts data in place at once: aside, to the disk, under its name, and
// the name to the disk.
func (s shelf) write(f file, data []byte) error {
	part := f.part()
	if err := s.writePart(part, data); err != nil {
		return errors.Join(err, s.remove(part))
	}
	if err := s.Rename(part, f.String()); err != nil {
		return errors.Join(err, s.remove(part))
	}
	return sync(s.Root)
}

func (s shelf) writePart(part string, data []byte) error {
	w, err := s.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	if err == nil {
		err = w.Sync()
	}
	return errors.Join(err, w.Close())
}

// prune removes the ancestors of follows in the same rollout, and what killed
// processes left half-written below it.
func (s shelf) prune(record rollout.Record, follows rollout.Head) error {
	old := make(map[file]bool, len(record.Entries))
	for _, e := range record.Entries {
		if e.Seq < follows.Seq {
			old[fileOf(rollout.Head{Seq: e.Seq, Hash: e.Hash})] = true
		}
	}
	entries, err := fs.ReadDir(s.FS(), ".")
	if err != nil {
		return fmt.Errorf("list %s: %w", s.path, err)
	}
	var errs []error
	for _, e := range entries {
		f, ok := parse(recordName, e.Name())
		gone := ok && old[f]
		if f, ok = parse(partName, e.Name()); ok && f.seq < follows.Seq {
			gone = true
		}
		if gone {
			errs = append(errs, s.remove(e.Name()))
		}
	}
	return errors.Join(errs...)
}

// remove takes a file away; one that is gone already is no error.
func (s shelf) remove(name string) error {
	if err := s.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
