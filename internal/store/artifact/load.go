package artifact

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/store/artifact/results"
)

// waits are the times between two looks for a record that the platform's head
// names, since what was saved is not listed at once.
func waits() []time.Duration {
	return []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second}
}

// Load gives the record that ends at want, from the run that want names; an
// empty run is our own. It waits up to a minute for one that may not be listed
// yet. Where want is zero it gives the newest of our own run, else of the last
// ten runs with a beacon.
//
// Its errors wrap rollout.ErrNotFound (with where it was looked for, or when it
// expired), rollout.ErrForked, or rollout.ErrBroken, and with this ErrUntrusted
// where the run is one whose records are not taken. Others say that GitHub
// could not be asked.
func (s *Store) Load(ctx context.Context, service string, want rollout.Head) (rollout.Record, error) {
	record, err := s.load(ctx, service, want)
	if err != nil {
		return rollout.Record{}, s.shown(fmt.Errorf("load record of %s: %w", service, err))
	}
	return record, nil
}

func (s *Store) load(ctx context.Context, service string, want rollout.Head) (rollout.Record, error) {
	if err := checkService(service); err != nil {
		return rollout.Record{}, err
	}
	find := s.newest
	if !want.Zero() {
		find = func(ctx context.Context, service string) ([]item, error) { return s.locate(ctx, service, want) }
	}
	items, err := find(ctx, service)
	if err != nil {
		return rollout.Record{}, err
	}
	return s.open(ctx, items, service, want)
}

// locate finds the artifacts that may hold the record at want.
func (s *Store) locate(ctx context.Context, service string, want rollout.Head) ([]item, error) {
	if !hashHex.MatchString(want.Hash) || want.Seq < 1 || want.Run != "" && !runNumber.MatchString(want.Run) {
		return nil, fmt.Errorf("%w as an artifact: no run could have kept it (seq %d, hash %q, run %q)",
			rollout.ErrNotFound, want.Seq, want.Hash, want.Run)
	}
	sources, pauses := s.ownRun(), waits()
	if want.Run != "" && want.Run != s.options.Run {
		from, err := s.examine(ctx, want.Run)
		if err != nil {
			return nil, err
		}
		if from.refused != nil {
			return nil, from.refused
		}
		sources = []source{s.ofRun(want.Run)}
		if from.settled {
			pauses = nil
		}
	}
	at := placeOf(want)
	for i := 0; ; i++ {
		for _, from := range sources {
			if items, err := from.records(ctx, service, at); err != nil || len(items) > 0 {
				return items, err
			}
		}
		if i == len(pauses) {
			return nil, fmt.Errorf("%w: %s is not among the artifacts of run %s of %s, looked %d times",
				rollout.ErrNotFound, at.names(service)[0], sources[0].run, s.options.Repository, i+1)
		}
		if err := s.options.Clock.Sleep(ctx, pauses[i]); err != nil {
			return nil, err
		}
	}
}

// newest finds the artifacts of the highest place.
func (s *Store) newest(ctx context.Context, service string) ([]item, error) {
	items, err := s.ownRun()[0].records(ctx, service, place{})
	if err != nil {
		return nil, err
	}
	var asked []string
	if len(items) == 0 {
		if items, asked, err = s.ofOthers(ctx, service); err != nil {
			return nil, err
		}
	}
	top, rival := newestOf(items)
	if rival != nil {
		return nil, fmt.Errorf("%w: %s and %s", rollout.ErrForked, top[0], *rival)
	}
	if len(top) == 0 {
		return nil, fmt.Errorf("%w: no artifact %s-* in run %s of %s, nor in the %d runs before with an artifact %s",
			rollout.ErrNotFound, beaconName(service), s.options.Run, s.options.Repository, len(asked), beaconName(service))
	}
	return top, nil
}

// ofOthers lists the records of the runs that have a beacon and are trusted,
// and says which these are.
func (s *Store) ofOthers(ctx context.Context, service string) (items []item, asked []string, err error) {
	ids, err := s.runsWithBeacon(ctx, service)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range ids {
		if id != s.options.Run {
			from, err := s.examine(ctx, id)
			if errors.Is(err, rollout.ErrNotFound) {
				continue // it was deleted since it was listed
			}
			if err != nil {
				return nil, nil, err
			}
			if from.refused != nil {
				s.options.Warn(fmt.Sprintf("records of run %s are left out: %v", id, from.refused))
				continue
			}
		}
		asked = append(asked, id)
		found, err := s.ofRun(id).records(ctx, service, place{})
		if err != nil {
			return nil, nil, err
		}
		items = append(items, found...)
	}
	return items, asked, nil
}

// open gives the record from the first of the artifacts that holds it; they
// differ only by who uploaded it.
func (s *Store) open(ctx context.Context, items []item, service string, want rollout.Head) (rollout.Record, error) {
	var errs []error
	for _, i := range items {
		record, err := s.read(ctx, i, service)
		if err == nil {
			err = meets(i, record.Head(), want)
		}
		if err == nil {
			return record, nil
		}
		errs = append(errs, err)
	}
	return rollout.Record{}, errors.Join(errs...)
}

// meets compares what was found with what was asked for. A head that names no
// run means our own.
func meets(i item, got, want rollout.Head) error {
	if want.Run == "" {
		got.Run = ""
	}
	if want.Zero() || got == want {
		return nil
	}
	return fmt.Errorf("%w: %s ends at %s of rollout %s, written by run %s, not at %s of %s, by run %s",
		rollout.ErrNotFound, i, got.Hash, got.Rollout, got.Run, want.Hash, want.Rollout, want.Run)
}

// read downloads one artifact and checks what can be checked by its name alone.
func (s *Store) read(ctx context.Context, i item, service string) (rollout.Record, error) {
	if i.expired {
		return rollout.Record{}, fmt.Errorf("%w: %s", rollout.ErrNotFound, i.gone(s.options.Clock.Now()))
	}
	packed, err := s.fetch(ctx, i)
	if errors.Is(err, errGone) {
		return rollout.Record{}, fmt.Errorf("%w: %s", rollout.ErrNotFound, i.gone(s.options.Clock.Now()))
	}
	if err != nil {
		return rollout.Record{}, fmt.Errorf("%s: %w", i, err)
	}
	if got := results.Digest(packed); i.digest != "" && !strings.EqualFold(got, i.digest) {
		return rollout.Record{}, fmt.Errorf("%s: %w: its archive has %s, listed is %s", i, rollout.ErrBroken, got, i.digest)
	}
	content, err := unpack(packed)
	if err != nil {
		return rollout.Record{}, fmt.Errorf("%s: %w", i, err)
	}
	record, err := rollout.Decode(content)
	if err != nil {
		return rollout.Record{}, fmt.Errorf("%s: %w", i, err)
	}
	if head := record.Head(); record.Service != service || placeOf(head) != i.place {
		return rollout.Record{}, fmt.Errorf("%s: %w: it holds the record of %s at seq %d, hash %s",
			i, rollout.ErrBroken, record.Service, head.Seq, head.Hash)
	}
	return record, nil
}

// fetch downloads the archive. An address may be good for a minute only, and
// waiting for a limit takes longer: then it asks for another one.
func (s *Store) fetch(ctx context.Context, i item) ([]byte, error) {
	var packed []byte
	err := errStale
	for try := 0; try < 2 && errors.Is(err, errStale); try++ {
		var address string
		if address, err = i.address(ctx); err != nil {
			return nil, err
		}
		packed, err = s.download(ctx, address)
	}
	return packed, err
}
