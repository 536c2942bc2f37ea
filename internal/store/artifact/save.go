package artifact

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/store/artifact/results"
)

// settling are the times between two looks at a name that is taken. Who took it
// may be uploading the same at this moment, or was cut short and never will.
func settling() []time.Duration {
	return []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}
}

// Save keeps record, which goes on from follows, as an artifact of this run,
// and returns once it is there for good. To save the same again is a success;
// entries that were signed anew are the same. Its error wraps rollout.ErrForked
// where something else has the record's name.
func (s *Store) Save(ctx context.Context, record rollout.Record, follows rollout.Head) error {
	packed, err := s.prepare(record, follows)
	if err == nil {
		err = s.light(ctx, record.Service)
	}
	if err == nil {
		err = s.keep(ctx, record, packed)
	}
	if err != nil {
		return s.shown(fmt.Errorf("save record %s: %w", record.Rollout, err))
	}
	return nil
}

// prepare checks what is to be saved, and packs it.
func (s *Store) prepare(record rollout.Record, follows rollout.Head) ([]byte, error) {
	if err := checkService(record.Service); err != nil {
		return nil, err
	}
	content, err := record.Encode()
	if err != nil {
		return nil, err
	}
	if _, err := rollout.Decode(content); err != nil {
		return nil, err
	}
	head := record.Head()
	if !record.Follows(follows) {
		return nil, fmt.Errorf("its head, seq %d, does not go on from seq %d, hash %q of rollout %q",
			head.Seq, follows.Seq, follows.Hash, follows.Rollout)
	}
	if head.Run != s.options.Run {
		return nil, fmt.Errorf("its newest entry is of run %q, and would not be found in run %s", head.Run, s.options.Run)
	}
	return pack(recordFile, content)
}

// light sees to it that this run can be found by those without a head.
func (s *Store) light(ctx context.Context, service string) error {
	s.mu.Lock()
	lit := s.beacons[service]
	s.mu.Unlock()
	if lit {
		return nil
	}
	content, err := json.Marshal(struct {
		Service string `json:"service"`
		Run     string `json:"run"`
	}{service, s.options.Run})
	if err != nil {
		return err
	}
	packed, err := pack(beaconFile, content)
	if err != nil {
		return err
	}
	name := beaconName(service)
	err = s.results.Put(ctx, name, packed, s.expires())
	if errors.Is(err, results.ErrExists) {
		var there *item
		if there, err = s.settled(ctx, name); err == nil && there == nil {
			s.options.Warn(fmt.Sprintf("the upload of artifact %s was cut short: only by the platform's head are records of run %s found", name, s.options.Run))
		}
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beacons[service] = true
	return nil
}

// keep uploads under the first name that is not taken by an upload which was
// cut short.
func (s *Store) keep(ctx context.Context, record rollout.Record, packed []byte) error {
	names := placeOf(record.Head()).names(record.Service)
	for _, name := range names {
		err := s.results.Put(ctx, name, packed, s.expires())
		if !errors.Is(err, results.ErrExists) {
			return err
		}
		there, err := s.settled(ctx, name)
		if err != nil {
			return err
		}
		if there != nil {
			return s.same(ctx, *there, record, packed)
		}
	}
	return fmt.Errorf("%d uploads were cut short, the last as artifact %s of run %s: run the whole workflow anew",
		len(names), names[len(names)-1], s.options.Run)
}

// settled waits for an artifact whose name is taken; nil where nothing comes.
func (s *Store) settled(ctx context.Context, name string) (*item, error) {
	pauses := settling()
	for i := 0; ; i++ {
		listed, err := s.listOwn(ctx, name)
		if err != nil {
			return nil, err
		}
		if len(listed) > 0 {
			return &listed[0], nil
		}
		if i == len(pauses) {
			return nil, nil //nolint:nilnil // nothing is there, which is no error
		}
		if err := s.options.Clock.Sleep(ctx, pauses[i]); err != nil {
			return nil, err
		}
	}
}

// same says whether what has the record's name is the record. The archive may
// differ where the same entries were signed by another job.
func (s *Store) same(ctx context.Context, there item, record rollout.Record, packed []byte) error {
	if there.digest == results.Digest(packed) {
		return nil
	}
	there.place = placeOf(record.Head())
	kept, err := s.read(ctx, there, record.Service)
	if errors.Is(err, rollout.ErrBroken) {
		return fmt.Errorf("%w: something else is stored as %s: %w", rollout.ErrForked, there, err)
	}
	if err != nil {
		return err
	}
	if got, want := kept.Head(), record.Head(); got != want {
		return fmt.Errorf("%w: %s ends at %s of rollout %s, and this one at %s of %s",
			rollout.ErrForked, there, got.Hash, got.Rollout, want.Hash, want.Rollout)
	}
	return nil
}
