// Package journal keeps where a phase stands in one file of the machine that
// it runs on, so that a later step of the job can write down what a phase that
// was cut short could not.
package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Journal is the file of one service below a directory.
type Journal struct{ path string }

// New gives the journal of a service. service must be the name of a service,
// as the config was checked for.
func New(dir, service string) Journal {
	return Journal{path: filepath.Join(dir, service+".journal.json")}
}

// Keep replaces what was kept. The file appears whole or not at all. A
// cancelled phase above all has to be kept, so the context is not asked.
func (j Journal) Keep(_ context.Context, kept rollout.Journalled) error {
	data, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("journal %s: %w", j.path, err)
	}
	if err := os.MkdirAll(filepath.Dir(j.path), 0o700); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := renameio.WriteFile(j.path, data, 0o600); err != nil {
		return fmt.Errorf("journal %s: %w", j.path, err)
	}
	return nil
}

// Load gives what was kept last. Its errors wrap rollout.ErrNotFound or
// ErrBroken.
func (j Journal) Load(context.Context) (rollout.Journalled, error) {
	var kept rollout.Journalled
	file, err := os.Open(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return kept, fmt.Errorf("%w in %s", rollout.ErrNotFound, j.path)
	}
	if err != nil {
		return kept, fmt.Errorf("journal: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(file, 2*rollout.MaxRecordBytes))
	if err = errors.Join(err, file.Close()); err != nil {
		return kept, fmt.Errorf("journal %s: %w", j.path, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&kept); err != nil {
		return kept, fmt.Errorf("journal %s: %w: %w", j.path, rollout.ErrBroken, err)
	}
	if len(kept.Record.Entries) > 0 {
		if err := kept.Record.Verify(); err != nil {
			return kept, fmt.Errorf("journal %s: %w", j.path, err)
		}
	}
	return kept, nil
}

// Drop removes the file; one that is not there is no error.
func (j Journal) Drop(context.Context) error {
	if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}
