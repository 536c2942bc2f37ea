package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/ledger"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// account is what the record says, as far as it was read.
type account struct {
	since time.Time // what is older does not count
	seq   int       // of the last entry read

	serving  string
	archive  string
	backfill float64 // rows a second
	switches []rollout.Shifted
	wentBack bool
	cut      int // requests and connections that the end of a drain cut
}

// read takes in what was written since the last time. into is nil before the
// load begins.
func (a *account) read(stage string, into *ledger.Ledger) error {
	record, err := newest(filepath.Join(stage, ".gapless", service))
	if err != nil {
		return err
	}
	for _, e := range record.Entries {
		if e.Seq <= a.seq {
			continue
		}
		a.seq = e.Seq
		data, err := e.Decode()
		if err != nil {
			return fmt.Errorf("read the record: %w", err)
		}
		if err := a.enter(data, into); err != nil {
			return err
		}
	}
	return nil
}

// newest reads the record with the highest sequence number below dir; it is
// empty where nothing was released yet.
func newest(dir string) (rollout.Record, error) {
	var found rollout.Record
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return found, fmt.Errorf("read the record: %w", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return found, fmt.Errorf("read the record: %w", err)
		}
		record, err := rollout.Decode(content)
		if err != nil {
			return found, fmt.Errorf("read the record %s: %w", file, err)
		}
		if record.Head().Seq > found.Head().Seq {
			found = record
		}
	}
	return found, nil
}

func (a *account) enter(data rollout.Data, into *ledger.Ledger) error {
	switch e := data.(type) {
	case *rollout.Shifted:
		a.shifted(*e, into)
	case *rollout.Replaced:
		a.cut += e.Cut
		a.shifted(rollout.Shifted{
			From: rollout.PartOf(e.Replacing.From, e.Of), To: rollout.PartOf(e.Replacing.To, e.Of),
			Decided: e.Decided, InForce: e.InForce,
		}, into)
	case *rollout.RolledBack:
		a.wentBack = true
		a.shifted(rollout.Shifted{From: e.From, Decided: e.Decided, InForce: e.InForce}, into)
	case *rollout.Retired:
		a.cut += e.Cut
	case *rollout.Migrated:
		return a.migrated(e)
	case *rollout.Ended:
		var shares []string
		for _, share := range e.Serving {
			shares = append(shares, share.Revision.ID+" "+share.Weight.String())
		}
		a.serving = strings.Join(shares, ", ")
	}
	return nil
}

func (a *account) shifted(s rollout.Shifted, into *ledger.Ledger) {
	if into == nil || s.Decided.Before(a.since) {
		return
	}
	a.switches = append(a.switches, s)
	into.Switched(s.Decided, s.From, s.To)
}

// exposed is how much of the traffic the candidate had, for how long: the sum
// of weight times seconds, until now.
func (a *account) exposed(now time.Time) float64 {
	var sum float64
	for i, s := range a.switches {
		until := now
		if i+1 < len(a.switches) {
			until = a.switches[i+1].InForce
		}
		sum += s.To.Share() * until.Sub(s.Decided).Seconds()
	}
	return sum
}

func (a *account) migrated(m *rollout.Migrated) error {
	if len(m.Evidence) == 0 {
		return nil
	}
	var evidence struct {
		RowsPerSecond float64 `json:"rows_per_second"`
		ArchiveTable  string  `json:"archive_table"`
	}
	if err := json.Unmarshal(m.Evidence, &evidence); err != nil {
		return fmt.Errorf("read the evidence of %s: %w", m.Step, err)
	}
	if evidence.ArchiveTable != "" {
		a.archive = evidence.ArchiveTable
	}
	if m.Step == "backfill" {
		a.backfill = evidence.RowsPerSecond
	}
	return nil
}
