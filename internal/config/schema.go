package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/gapless-deploy/gapless/internal/document"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Schema is the database and the changes that go with this release.
type Schema struct {
	// The environment variable that holds the database's URL. The URL itself never stands in this file.
	URLEnv string `yaml:"url_env,required" jsonschema:"pattern=^[A-Za-z_][A-Za-z0-9_]*$"`
	// Change files, relative to this file and not outside its directory.
	Changes []string `yaml:"changes" jsonschema:"uniqueItems=true"`
	// How rows that are there already get their new form, and what holds that back.
	Backfill Backfill `yaml:"backfill"`
	// What the service uses of tables that other services change too. Their contract waits until no service uses what it takes away.
	Uses []Use `yaml:"uses"`
}

// Backfill is how fast a backfill goes, and what slows it down: from half of a
// max_ on it makes longer pauses, at the max_ it waits. 0 does not look.
type Backfill struct {
	// How many ranges of a table's key are filled at a time, each on a connection of its own. Default 1.
	Workers int `yaml:"workers" jsonschema:"minimum=1,maximum=32"`
	// The most rows a second, over all workers; 0 is as many as the database bears. Default 0.
	MaxRate int `yaml:"max_rate" jsonschema:"minimum=0"`
	// How long a batch of rows should take, and so how long a writer of one of them may wait. Default 250ms.
	BatchTarget time.Duration `yaml:"batch_target"`
	// How far a standby's replay may be behind. Default 10s.
	MaxLag time.Duration `yaml:"max_lag"`
	// How many MiB of WAL may wait for a standby, for a replication slot or to be archived. Default 4096.
	MaxWAL int `yaml:"max_wal_mib" jsonschema:"minimum=0"`
	// How many sessions may wait for locks for a tenth of a second or more. Default 10.
	MaxLockWaiters int `yaml:"max_lock_waiters" jsonschema:"minimum=0"`
	// How much longer than at the start a lookup by the table's key may take. Default 50ms.
	MaxProbe time.Duration `yaml:"max_probe"`
	// The share of the server's connections that may be in use, in percent. It only stops. Default 90.
	MaxConnections int `yaml:"max_connections_percent" jsonschema:"minimum=0,maximum=100"`
	// Go on at full speed while the table is vacuumed. Without it that slows down, and a vacuum against wraparound stops.
	IgnoreVacuum bool `yaml:"ignore_vacuum"`
}

// Default fills in what a file may leave out.
func (s *Schema) Default() { s.Backfill.Default() }

// Default fills in what a file may leave out.
func (b *Backfill) Default() {
	*b = Backfill{
		Workers: 1, BatchTarget: 250 * time.Millisecond,
		MaxLag: 10 * time.Second, MaxWAL: 4096, MaxLockWaiters: 10, MaxProbe: 50 * time.Millisecond, MaxConnections: 90,
	}
}

// Use is what a service uses of a table.
type Use struct {
	// The table's exact name, with its schema where that is not on the search path.
	Table string `yaml:"table,required" jsonschema:"minLength=1"`
	// The columns' exact names. Without them, the whole table.
	Columns []string `yaml:"columns" jsonschema:"minItems=1,uniqueItems=true"`
}

// ReadChanges reads the change files that c names, in c's order and under the
// names it gives them. Links that lead out of the config's directory are not
// followed. The error is document.Faults: each file that cannot be read, where
// the config names it; and the config and its changes together being larger than
// a record may embed. The files that could be read are given all the same, so
// that their own faults can be told with these.
func (c *Config) ReadChanges() (files []rollout.File, err error) {
	if c.Schema == nil || len(c.Schema.Changes) == 0 {
		return nil, nil
	}
	root, err := os.OpenRoot(filepath.Dir(c.source.Name))
	if err != nil {
		return nil, fmt.Errorf("read changes: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	var faults document.Faults
	total := len(c.source.Data)
	for i, name := range c.Schema.Changes {
		at := fmt.Sprintf("schema.changes[%d]", i)
		data, err := readWithin(root, name)
		if err != nil {
			faults = append(faults, c.Fault(at, fmt.Sprintf("read change %s: %v", name, cause(err)), "paths are relative to this file"))
			continue
		}
		files = append(files, rollout.File{Name: name, Data: data})
		if total += len(data); total > document.MaxSize {
			faults = append(faults, c.Fault(at, fmt.Sprintf("this file and its changes up to here have more than the %d bytes that a record embeds", document.MaxSize), "release the changes one after another"))
			break
		}
	}
	return files, faults.Err()
}

func readWithin(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(path.Clean(name))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, document.MaxSize+1))
	return data, errors.Join(err, f.Close())
}

// cause leaves out what a fault's own place already tells.
func cause(err error) error {
	if inPath, ok := errors.AsType[*os.PathError](err); ok {
		return inPath.Err
	}
	return err
}
