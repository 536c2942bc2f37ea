package phase

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// look asks the database what the phase must know of it.
func (s *session) look(ctx context.Context) error {
	s.in.Facts, s.in.Usage, s.in.Verified = map[string]change.Facts{}, map[string]change.Usage{}, nil
	var changes []change.Change
	p := s.work.Request.Phase
	switch p {
	case rollout.Plan, rollout.Expand, rollout.Deploy, rollout.Promote:
		changes = s.in.Changes
	case rollout.Contract:
		changes = plan.Owing(s.in)
	case rollout.Restore:
		return s.lookRestore(ctx)
	case rollout.Tick, rollout.Retire, rollout.Rollback, rollout.Hold, rollout.Adopt:
	}
	if len(changes) == 0 {
		return nil
	}
	if err := s.openDatabase(ctx); err != nil {
		return err
	}
	for _, c := range changes {
		facts, err := s.db.Inspect(ctx, c)
		if err != nil {
			return fmt.Errorf("change %s: look at the database: %w", c.ID, err)
		}
		s.in.Facts[c.ID] = facts
		if p != rollout.Contract {
			continue
		}
		usage, err := s.db.Usage(ctx, c, s.settledAt())
		if err != nil {
			return fmt.Errorf("change %s: look who uses the old form: %w", c.ID, err)
		}
		s.in.Usage[c.ID] = usage
	}
	s.leaveOut()
	return nil
}

// leaveOut keeps out of a new rollout what earlier ones brought and left in the
// schema. The file may stay where it is. What has a contract to come is owed.
// What a rollout that went back has left is this rollout's own again.
func (s *session) leaveOut() {
	if !s.in.Fresh {
		return
	}
	out := map[string]bool{}
	for _, c := range s.in.Changes {
		f := s.in.Facts[c.ID]
		if len(f.Refusals) > 0 && f.State == rollout.Contracted { // it is said why
			continue
		}
		switch f.State {
		case rollout.Contracted:
		case rollout.Expanded:
			if s.brought[c.ID] {
				continue
			}
			s.owe(c)
		case rollout.Hidden, rollout.Contracting, rollout.Restoring:
			s.owe(c)
		default:
			continue
		}
		out[c.ID] = true
		delete(s.in.Facts, c.ID)
	}
	s.in.Changes = slices.DeleteFunc(s.in.Changes, func(c change.Change) bool { return out[c.ID] })
	s.in.Opening.Changes = slices.DeleteFunc(slices.Clone(s.in.Opening.Changes), func(f rollout.File) bool { return out[idOf(f)] })
}

// owe has the contract of a change be a debt of the new rollout.
func (s *session) owe(c change.Change) {
	if !c.Contracts() {
		return
	}
	s.in.Owed = append(s.in.Owed, c)
	s.in.Opening.Owed = append(slices.Clone(s.in.Opening.Owed), c.Source)
}

// idOf is the ID of the change in a file.
func idOf(f rollout.File) string { return strings.TrimSuffix(path.Base(f.Name), path.Ext(f.Name)) }

func (s *session) openDatabase(ctx context.Context) error {
	if s.db != nil {
		return nil
	}
	if s.r.OpenDatabase == nil {
		return fmt.Errorf("%w: the rollout has schema changes, but the config names no database", rollout.ErrInput)
	}
	db, err := s.r.OpenDatabase(ctx)
	if err != nil {
		return err
	}
	s.db = db
	return nil
}

// noteUsage has the database take its first look at who still uses the old
// form, so that contract can tell use from history. Where it does not answer,
// contract takes that look and waits the longer.
func (s *session) noteUsage(ctx context.Context) {
	for _, c := range plan.Owing(s.in) {
		err := s.openDatabase(ctx)
		if err == nil {
			_, err = s.db.Usage(ctx, c, s.settledAt())
		}
		if err != nil {
			s.warn(fmt.Sprintf("change %s: who uses the old form could not be looked at, contract will wait the longer: %v", c.ID, err))
		}
	}
}

// settledAt is from when on nobody should write the old form any more.
func (s *session) settledAt() time.Time {
	if s.in.State == nil {
		return time.Time{}
	}
	return s.in.State.SettledAt
}

// probe starts the client outside, and returns what stops it and tells.
func (s *session) probe(ctx context.Context) func() *rollout.Probed {
	if s.r.Probe == nil || len(s.in.Seen.Serving()) == 0 { // before a first release nobody answers
		return func() *rollout.Probed { return nil }
	}
	stop := s.r.Probe.Start(ctx)
	return sync.OnceValue(func() *rollout.Probed {
		seen := stop()
		return &seen
	})
}
