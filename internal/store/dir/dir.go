// Package dir keeps records in a directory: one for each service, in it one
// file for each head, named by sequence number and hash.
//
// A file appears whole or not at all. The file of the head before is kept, so
// that a phase killed between saving and moving the head finds its record.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Store keeps records below one directory. Several processes may share it.
type Store struct{ path string }

// New gives the store below path, which Save creates when it is missing.
func New(path string) Store { return Store{path: path} }

// serviceName is what can be one step of a path, and cannot be read as more.
var serviceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// Load gives the record that ends at want or, where want is zero, the one with
// the highest sequence number. It changes nothing. Its errors wrap
// rollout.ErrNotFound, ErrForked or ErrBroken and name the file.
func (s Store) Load(ctx context.Context, service string, want rollout.Head) (rollout.Record, error) {
	if err := ctx.Err(); err != nil {
		return rollout.Record{}, fmt.Errorf("load record of %s: %w", service, err)
	}
	if err := checkName(service); err != nil {
		return rollout.Record{}, err
	}
	shelf, err := open(s.path, service, false)
	if errors.Is(err, fs.ErrNotExist) {
		return rollout.Record{}, fmt.Errorf("%w in %s for service %s", rollout.ErrNotFound, s.path, service)
	}
	if err != nil {
		return rollout.Record{}, fmt.Errorf("open store: %w", err)
	}
	record, err := shelf.load(service, want)
	return record, errors.Join(err, shelf.Close())
}

func (s shelf) load(service string, want rollout.Head) (rollout.Record, error) {
	files, err := s.list()
	if err != nil {
		return rollout.Record{}, err
	}
	f := fileOf(want)
	if want.Zero() {
		if f, err = newest(s.path, files); err != nil {
			return rollout.Record{}, err
		}
	}
	path := filepath.Join(s.path, f.String())
	data, err := s.read(f)
	if errors.Is(err, fs.ErrNotExist) {
		return rollout.Record{}, fmt.Errorf("%w at %s, seq %d, hash %s", rollout.ErrNotFound, path, want.Seq, want.Hash)
	}
	if err != nil {
		return rollout.Record{}, err
	}
	record, err := rollout.Decode(data)
	if err != nil {
		return rollout.Record{}, fmt.Errorf("%s: %w", path, err)
	}
	head := record.Head()
	if record.Service != service || fileOf(head) != f {
		return rollout.Record{}, fmt.Errorf("%s: %w: it holds the record of %s at seq %d, hash %s",
			path, rollout.ErrBroken, record.Service, head.Seq, head.Hash)
	}
	if !want.Zero() && head != want {
		return rollout.Record{}, fmt.Errorf("%w: %s ends at %s of rollout %s, not at %s of %s",
			rollout.ErrNotFound, path, head.Hash, head.Rollout, want.Hash, want.Rollout)
	}
	return record, nil
}

// newest picks the highest sequence number; two files of it are a fork.
func newest(path string, files []file) (file, error) {
	var top, rival file
	for _, f := range files {
		switch {
		case f.seq > top.seq:
			top, rival = f, file{}
		case f.seq == top.seq:
			rival = f
		}
	}
	if rival.seq != 0 {
		return file{}, fmt.Errorf("%w: %s and %s in %s", rollout.ErrForked, top, rival, path)
	}
	if top.seq == 0 {
		return file{}, fmt.Errorf("%w in %s", rollout.ErrNotFound, path)
	}
	return top, nil
}

// read reads at most a byte more than a record may have; Decode refuses that.
func (s shelf) read(f file) ([]byte, error) {
	open, err := s.Open(f.String())
	if err != nil {
		return nil, fmt.Errorf("read record: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(open, rollout.MaxRecordBytes+1))
	if err = errors.Join(err, open.Close()); err != nil {
		return nil, fmt.Errorf("read record: %w", err)
	}
	return data, nil
}

// Save keeps record, which goes on from follows, and returns once it is on the
// disk. To save the same again changes nothing. Files of the same rollout that
// are older than follows go; all else stays, other heads above all.
func (s Store) Save(ctx context.Context, record rollout.Record, follows rollout.Head) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("save record %s: %w", record.Rollout, err)
	}
	if err := checkName(record.Service); err != nil {
		return err
	}
	data, err := record.Encode()
	if err != nil {
		return err
	}
	if _, err := rollout.Decode(data); err != nil {
		return fmt.Errorf("save record %s: %w", record.Rollout, err)
	}
	if !record.Follows(follows) {
		return fmt.Errorf("save record %s: its head, seq %d, does not go on from seq %d, hash %q of rollout %q",
			record.Rollout, record.Head().Seq, follows.Seq, follows.Hash, follows.Rollout)
	}
	shelf, err := open(s.path, record.Service, true)
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	err = shelf.write(fileOf(record.Head()), data)
	if err == nil {
		err = shelf.prune(record, follows)
	}
	if err = errors.Join(err, shelf.Close()); err != nil {
		return fmt.Errorf("save record %s: %w", record.Rollout, err)
	}
	return nil
}

func checkName(service string) error {
	if !serviceName.MatchString(service) {
		return fmt.Errorf("service %q: allowed are 1 to 128 letters, digits and ._- , the first a letter or digit", service)
	}
	return nil
}
