package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/ledger"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/store/dir"
)

// account is what the record says, as far as it was read.
type account struct {
	since time.Time // what is older does not count
	seq   int       // of the last entry read

	serving  string
	archive  string
	backfill float64 // rows a second
	switches []rollout.Shifted
}

// read takes in what was written since the last time. into is nil before the
// load begins.
func (a *account) read(ctx context.Context, stage string, into *ledger.Ledger) error {
	record, err := dir.New(filepath.Join(stage, ".gapless")).Load(ctx, service, rollout.Head{})
	if errors.Is(err, rollout.ErrNotFound) {
		return nil // nothing was released yet
	}
	if err != nil {
		return fmt.Errorf("read the record: %w", err)
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

func (a *account) enter(data rollout.Data, into *ledger.Ledger) error {
	switch e := data.(type) {
	case *rollout.Shifted:
		a.shifted(*e, into)
	case *rollout.RolledBack:
		a.shifted(rollout.Shifted{From: e.From, Decided: e.Decided, InForce: e.InForce}, into)
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

func (a *account) migrated(m *rollout.Migrated) error {
	if len(m.Evidence) == 0 {
		return nil
	}
	var evidence change.Evidence
	if err := json.Unmarshal(m.Evidence, &evidence); err != nil {
		return fmt.Errorf("read the evidence of %s: %w", m.Step, err)
	}
	if evidence.ArchiveTable != "" {
		a.archive = evidence.ArchiveTable
	}
	if strings.Contains(m.Step, "backfill") {
		a.backfill = evidence.RowsPerSecond
	}
	return nil
}
