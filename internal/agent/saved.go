package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/agent/supervisor"
)

// savedVersion is the form of the state file that this build writes and reads.
const savedVersion = 1

// saved is the state file: all that an agent started again needs to carry on.
type saved struct {
	Version int    `json:"version"`
	Service string `json:"service"`
	// Owner is random and as old as the file: it marks instances as this
	// agent's and keeps tokens of another file from matching.
	Owner string `json:"owner"`
	// Serial counts the changes; it is what the token tells.
	Serial    uint64                 `json:"serial"`
	Mark      json.RawMessage        `json:"mark,omitempty"`
	Weights   api.Weights            `json:"weights,omitempty"`
	InForceAt time.Time              `json:"in_force_at,omitzero"`
	Launches  int                    `json:"launches"`
	Sides     map[api.Side]savedSide `json:"sides"`
	Sessions  *savedSessions         `json:"sessions,omitempty"` // replaced, never written to
}

// savedSide is the definition on a side; Desired is 0 once it was retired.
type savedSide struct {
	Revision api.Revision `json:"revision"`
	Spec     api.Spec     `json:"spec"`
	Desired  int          `json:"desired"`
	// Held is how many of them, the last ones, take no requests.
	Held   int `json:"held,omitempty"`
	Launch int `json:"launch"`
	// Places are the numbers of the instances where they are not 1 to Desired,
	// Begun the highest ever given: one that drains shares its name with none.
	Places    []int                `json:"places,omitempty"`
	Begun     int                  `json:"begun,omitempty"`
	Processes []supervisor.Process `json:"processes,omitempty"`
}

func (s saved) token() string { return fmt.Sprintf("%s.%d", s.Owner[:8], s.Serial) }

// clone copies s as far as changes reach.
func (s saved) clone() saved {
	s.Mark = bytes.Clone(s.Mark)
	s.Weights = maps.Clone(s.Weights)
	s.Sides = maps.Clone(s.Sides)
	return s
}

// processes lists what is known to run on the sides in use.
func (s saved) processes() []supervisor.Process {
	var all []supervisor.Process
	for _, side := range s.Sides {
		if side.Desired > 0 {
			all = append(all, side.Processes...)
		}
	}
	return all
}

// places gives the numbers of a side's instances in their order.
func (s savedSide) places() []int {
	if len(s.Places) > 0 {
		return s.Places
	}
	all := make([]int, s.Desired)
	for i := range all {
		all[i] = i + 1
	}
	return all
}

// of gives those processes that are in the side's places.
func (s savedSide) of(side api.Side, running []supervisor.Process) []supervisor.Process {
	named := map[string]bool{}
	for _, place := range s.places() {
		named[supervisor.Name(side, s.Launch, place)] = true
	}
	return slices.DeleteFunc(running, func(p supervisor.Process) bool { return !named[p.Name] })
}

// serving is how many instances, the first ones, take requests.
func (s savedSide) serving() int { return s.Desired - s.Held }

// scaled gives the side with so many instances and those of them that serve.
// New ones get numbers that none had before.
func (s savedSide) scaled(instances, serving int) savedSide {
	places := slices.Clone(s.places())
	s.Begun = max(s.Begun, slices.Max(append([]int{0}, places...)))
	for len(places) < instances {
		s.Begun++
		places = append(places, s.Begun)
	}
	s.Desired, s.Held, s.Places = instances, instances-serving, places[:instances]
	return s
}

// load reads the state file, or begins a new state where there is none.
func load(path, service string) (saved, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return begin(service)
	}
	if err != nil {
		return saved{}, fmt.Errorf("state: %w", err)
	}
	var state saved
	if err := json.Unmarshal(raw, &state); err != nil {
		return saved{}, fmt.Errorf("state %s: not an agent's state: %w", path, err)
	}
	if state.Version != savedVersion {
		return saved{}, fmt.Errorf("state %s: version %d, this build reads %d", path, state.Version, savedVersion)
	}
	if state.Service != service {
		return saved{}, fmt.Errorf("state %s: belongs to service %q, not %q", path, state.Service, service)
	}
	return state, state.check(path)
}

func (s *saved) check(path string) error {
	if len(s.Owner) < 16 {
		return fmt.Errorf("state %s: owner is missing", path)
	}
	if len(s.Weights) > 0 {
		if err := s.Weights.Check(); err != nil {
			return fmt.Errorf("state %s: %w", path, err)
		}
	}
	if err := s.Sessions.check(); err != nil {
		return fmt.Errorf("state %s: %w", path, err)
	}
	if s.Sides == nil {
		s.Sides = map[api.Side]savedSide{}
	}
	for name, side := range s.Sides {
		if err := errors.Join(name.Check(), side.Spec.Check(), side.check()); err != nil {
			return fmt.Errorf("state %s: side %s: %w", path, name, err)
		}
	}
	return nil
}

func (s savedSide) check() error {
	if s.Held < 0 || s.Held > s.Desired {
		return fmt.Errorf("%d of %d instances are held", s.Held, s.Desired)
	}
	if len(s.Places) > 0 && len(s.Places) != s.Desired {
		return fmt.Errorf("%d instances have %d places", s.Desired, len(s.Places))
	}
	return nil
}

func begin(service string) (saved, error) {
	owner := make([]byte, 16)
	if _, err := rand.Read(owner); err != nil {
		return saved{}, fmt.Errorf("state: %w", err)
	}
	return saved{
		Version: savedVersion, Service: service, Owner: hex.EncodeToString(owner),
		Sides: map[api.Side]savedSide{},
	}, nil
}

// write replaces the state file whole and makes sure that it is on disk.
func (s saved) write(path string) error {
	raw, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if err := renameio.WriteFile(path, append(raw, '\n'), 0o600, renameio.WithStaticPermissions(0o600)); err != nil {
		return fmt.Errorf("state %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// snapshot is a state with its place in the order of all snapshots.
type snapshot struct {
	saved
	number uint64
}

// disk writes snapshots one at a time, and none over a later one.
type disk struct {
	mu      sync.Mutex
	written uint64
}

func (d *disk) write(s snapshot, path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.number < d.written {
		return nil
	}
	if err := s.saved.write(path); err != nil {
		return err
	}
	d.written = s.number
	return nil
}

// syncDir makes a rename in the directory survive a power cut.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// lockPatience is how long the lock may take to come free: the kernel lets go
// of it some time after a killed agent is seen to have ended.
const lockPatience = time.Second

// lock keeps a second agent off the same state file until the process ends.
func lock(ctx context.Context, path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	file, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	ticker := time.NewTicker(lockPatience / 50)
	defer ticker.Stop()
	for syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		select {
		case <-ctx.Done():
			err := fmt.Errorf("state %s: another agent works on it", path)
			return nil, errors.Join(err, file.Close())
		case <-ticker.C:
		}
	}
	return file, nil
}

// envNames lists a definition's variables without their values.
func envNames(spec api.Spec) []string {
	return slices.Sorted(maps.Keys(spec.Env))
}
