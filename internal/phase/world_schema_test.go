package phase_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// schema is the database of a world: as strict as the real one about which step
// follows on which state.
type schema struct {
	changes map[string]change.Known
	hidden  map[string]time.Time
	applied map[string]bool // change/step
	claims  []change.Claim
	// deaf is a database that does not answer.
	deaf bool
	// busy is who else works on it.
	busy string
	// fails is a step that cannot be carried out.
	fails string
}

func newSchema() schema {
	return schema{changes: map[string]change.Known{}, hidden: map[string]time.Time{}, applied: map[string]bool{}}
}

func (s schema) clone() schema {
	s.changes, s.hidden, s.applied, s.claims = maps.Clone(s.changes), maps.Clone(s.hidden), maps.Clone(s.applied), slices.Clone(s.claims)
	return s
}

func (s schema) state(id string) rollout.ChangeState {
	if k, ok := s.changes[id]; ok {
		return k.State
	}
	return rollout.Absent
}

// admits are the states in which a part of a change may be carried out.
func admits(st change.Step) []rollout.ChangeState {
	switch st.Part {
	case change.PartExpand:
		return []rollout.ChangeState{rollout.Absent, rollout.Expanding, rollout.Expanded}
	case change.PartContract:
		return []rollout.ChangeState{rollout.Expanded, rollout.Hidden, rollout.Contracting, rollout.Contracted}
	case change.PartRevert:
		return []rollout.ChangeState{rollout.Absent, rollout.Expanding, rollout.Expanded, rollout.Reverting}
	case change.PartRestore:
		return []rollout.ChangeState{rollout.Hidden, rollout.Contracted, rollout.Restoring, rollout.Expanded}
	}
	return nil
}

// follows is the state that a step leads to.
func follows(c change.Change, st change.Step, now rollout.ChangeState) rollout.ChangeState {
	steps := change.ContractSteps(c)
	switch {
	case st.Kind == change.Prepare && now == rollout.Absent:
		return rollout.Expanding
	case st.Kind == change.Verifying, st.Kind == change.Unhide, st.Kind == change.Returned:
		return rollout.Expanded
	case st.Kind == change.Hide && now == rollout.Expanded:
		return rollout.Hidden
	case len(steps) > 0 && st.ID == steps[len(steps)-1].ID:
		return rollout.Contracted
	case st.Kind == change.Begin && now != rollout.Contracted:
		return rollout.Contracting
	case st.Kind == change.Turn:
		return rollout.Reverting
	case st.Kind == change.Return && now == rollout.Contracted:
		return rollout.Restoring
	}
	return now
}

func (s *schema) apply(c change.Change, st change.Step) error {
	now := s.state(c.ID)
	if !slices.Contains(admits(st), now) {
		return fmt.Errorf("%s does not follow on %s", st.ID, now)
	}
	if k, ok := s.changes[c.ID]; ok && k.Digest != c.Digest {
		return fmt.Errorf("change %s was edited after it was begun", c.ID)
	}
	forget := func(parts ...string) {
		maps.DeleteFunc(s.applied, func(key string, _ bool) bool {
			return slices.ContainsFunc(parts, func(part string) bool { return strings.HasPrefix(key, c.ID+"/"+part) })
		})
	}
	switch {
	case st.Part == change.PartRevert && now == rollout.Absent:
		return nil
	case st.Kind == change.Reverted:
		delete(s.changes, c.ID)
		forget("")
		return nil
	}
	next := follows(c, st, now)
	s.applied[c.ID+"/"+st.ID] = true
	if st.Part == change.PartRestore && next == rollout.Expanded {
		for _, undone := range slices.Concat(change.ContractSteps(c), change.RestoreSteps(c), change.UnhideSteps(c)) {
			delete(s.applied, c.ID+"/"+undone.ID)
		}
	}
	if next == now {
		return nil
	}
	if next == rollout.Hidden {
		s.hidden[c.ID] = time.Now()
	}
	s.changes[c.ID] = change.Known{
		ID: c.ID, Digest: c.Digest, Service: "address-book", State: next, Since: time.Now(), Begun: time.Now(), Table: c.Table,
		Columns: c.Columns(), Ends: c.Ends(), Source: c.Source,
	}
	return nil
}

// asked is a call to the database that changes nothing.
func (w *world) asked(effect func() error) error {
	return w.read(func() error {
		if w.schema.deaf {
			return errors.New("the database does not answer")
		}
		return effect()
	})
}

func (w *world) Inspect(_ context.Context, c change.Change) (f change.Facts, err error) {
	return f, w.asked(func() error {
		k, there := w.schema.changes[c.ID]
		if there && k.Digest != c.Digest {
			return fmt.Errorf("%w: change %s was edited after it was begun", rollout.ErrInput, c.ID)
		}
		f.State, f.Digest, f.HiddenAt = w.schema.state(c.ID), k.Digest, w.schema.hidden[c.ID]
		for _, o := range w.schema.changes {
			if o.ID == c.ID || !o.Open() || o.Table != c.Table || f.State != rollout.Absent {
				continue
			}
			if o.Columns = change.Overlap(c.Columns(), o.Columns); len(o.Columns) > 0 {
				f.Others = append(f.Others, o)
			}
		}
		for _, claim := range w.schema.claims {
			if claim.Columns = change.Overlap(c.Taken(), claim.Takes()); claim.Table == c.Table && len(claim.Columns) > 0 {
				f.Claims = append(f.Claims, claim)
			}
		}
		return nil
	})
}

func (w *world) Lock(context.Context, string) (func(context.Context) error, error) {
	err := w.call(func() error {
		if w.locked || w.schema.busy != "" {
			return fmt.Errorf("%w: %s", rollout.ErrBusy, w.schema.busy)
		}
		w.locked = true
		return nil
	})
	return func(context.Context) error {
		return w.call(func() error { w.locked = false; return nil })
	}, err
}

func (w *world) Apply(_ context.Context, c change.Change, s change.Step, _ func(change.Progress)) (e change.Evidence, err error) {
	return e, w.call(func() error {
		if !w.locked {
			return errors.New("the database is not locked")
		}
		if s.ID == w.schema.fails {
			return errors.New("the table stayed locked")
		}
		e = change.Evidence{Step: s.ID}
		return w.schema.apply(c, s)
	})
}

func (w *world) Verify(context.Context, change.Change, change.Scope) (e change.Evidence, err error) {
	return e, w.asked(func() error {
		e.Checks = []change.CheckResult{{Name: "relation", Allowed: "0", Passed: true}}
		return nil
	})
}

func (w *world) Usage(context.Context, change.Change, time.Time) (u change.Usage, err error) {
	return u, w.asked(func() error {
		u = change.Usage{Quiet: true, QuietSince: time.Now().Add(-48 * time.Hour)}
		return nil
	})
}

func (w *world) Inventory(context.Context) (has change.Inventory, err error) {
	return has, w.asked(func() error {
		for _, id := range slices.Sorted(maps.Keys(w.schema.changes)) {
			has.Changes = append(has.Changes, w.schema.changes[id])
		}
		has.Claims = slices.Clone(w.schema.claims)
		return nil
	})
}

// unclaim takes back the claims of the service by one rollout, or by the others.
func (w *world) unclaim(of string, others bool) error {
	return w.call(func() error {
		w.schema.claims = slices.DeleteFunc(slices.Clone(w.schema.claims), func(c change.Claim) bool {
			return c.Service == "address-book" && (c.Rollout == of) != others
		})
		return nil
	})
}

func (w *world) ClaimUses(_ context.Context, of string, uses []change.Use) error {
	if err := w.unclaim(of, false); err != nil {
		return err
	}
	return w.call(func() error {
		for _, u := range uses {
			w.schema.claims = append(w.schema.claims, change.Claim{Service: "address-book", Table: u.Table, Columns: u.Columns, Rollout: of})
		}
		return nil
	})
}

func (w *world) SettleUses(_ context.Context, of string) error { return w.unclaim(of, true) }

func (w *world) DropUses(_ context.Context, of string) error { return w.unclaim(of, false) }

func (w *world) Uninstall(context.Context, string, bool) (change.Removed, error) {
	return change.Removed{}, w.call(func() error {
		if !w.locked {
			return errors.New("the database is not locked")
		}
		w.schema = newSchema()
		return nil
	})
}
