package phase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// migrate carries out one step of a change.
func (s *session) migrate(ctx context.Context, step plan.Migrate) error {
	c := step.Change
	begun := rollout.Migrating{Change: c.ID, Digest: c.Digest, Step: step.Step.ID, State: step.Before}
	if step.New {
		begun.File = &c.Source
		s.in.Owed = append(s.in.Owed, c)
	}
	if err := s.write(ctx, nil, append(s.beginning(), begun)...); err != nil {
		return err
	}
	evidence, err := s.db.Apply(ctx, c, step.Step, func(p change.Progress) {
		if p.Warning != "" {
			s.warn(c.ID + ": " + p.Warning)
			return
		}
		s.tell(Event{Progress: &p})
	})
	if err != nil {
		return fmt.Errorf("change %s: %w", c.ID, err)
	}
	raw, err := json.Marshal(evidence)
	if err != nil {
		return fmt.Errorf("change %s: %s: keep its evidence: %w", c.ID, step.Step.ID, err)
	}
	if err := s.observe(ctx); err != nil {
		return err
	}
	delete(s.in.Facts, c.ID) // the record is newer now
	return s.write(ctx, nil, rollout.Migrated{
		Change: c.ID, Digest: c.Digest, Step: step.Step.ID, State: step.State, Evidence: raw,
	})
}

// needsDatabase reports whether a phase is about the schema from its beginning
// on, and so the only one that may be.
func needsDatabase(p rollout.Phase) bool {
	return p == rollout.Expand || p == rollout.Contract || p == rollout.Restore
}

// lockDatabase has this phase be the only one at work on the database. With
// patience it waits as long as a lease lives: who was just overtaken by a way
// back takes a moment to notice.
func (s *session) lockDatabase(ctx context.Context, patient bool) error {
	if s.unlock != nil {
		return nil
	}
	until := s.r.Clock.Now().Add(s.r.leaseFor())
	for {
		unlock, err := s.db.Lock(ctx, s.r.Holder)
		if err == nil {
			s.unlock = unlock
			return nil
		}
		if !patient || !errors.Is(err, rollout.ErrBusy) || !s.r.Clock.Now().Before(until) {
			return fmt.Errorf("lock the database for schema changes: %w", err)
		}
		if err := s.r.Clock.Sleep(ctx, s.r.leaseFor()/15); err != nil {
			return err
		}
	}
}

// survey looks what the schema has of a rollout that went back. The traffic is
// back by then: what cannot be looked at is told, and ends nothing before its
// time.
func (s *session) survey(ctx context.Context, step plan.Look) error {
	if err := s.lookBack(ctx, step.Changes); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.in.Survey = &plan.Survey{Problem: reason(err), Hint: "run gapless rollback --schema revert again once that is mended"}
		if hint := rollout.HintOf(err); hint != "" {
			s.in.Survey.Hint = hint + "; then run gapless rollback --schema revert again"
		}
		return nil
	}
	s.in.Survey = &plan.Survey{}
	return nil
}

func (s *session) lookBack(ctx context.Context, changes []change.Change) error {
	if err := s.openDatabase(ctx); err != nil {
		return err
	}
	if err := s.lockDatabase(ctx, true); err != nil {
		return err
	}
	if err := s.db.DropUses(ctx, s.in.State.Rollout); err != nil {
		return err
	}
	has, err := s.db.Inventory(ctx)
	if err != nil {
		return err
	}
	s.in.Facts = map[string]change.Facts{}
	for _, c := range changes {
		k, there := has.Change(c.ID)
		if !there {
			s.in.Facts[c.ID] = change.Facts{State: rollout.Absent}
			continue
		}
		s.in.Facts[c.ID] = change.Facts{State: k.State, Digest: k.Digest, Claims: claimedOf(has.Claims, k, c)}
	}
	return nil
}

// claimedOf are the claims on what expand added. One on the whole table means it
// where it is younger than the change.
func claimedOf(claims []change.Claim, k change.Known, c change.Change) []change.Claim {
	var on []change.Claim
	for _, claim := range claims {
		whole := len(claim.Columns) == 0
		shared := change.Overlap(c.Adds(), claim.Takes())
		if claim.Table != k.Table || len(shared) == 0 || whole && claim.Since.Before(k.Begun) {
			continue
		}
		claim.Columns = shared
		on = append(on, claim)
	}
	return on
}

// lookRestore finds the change that is to be restored, as the database has it.
func (s *session) lookRestore(ctx context.Context) error {
	s.in.Known = nil
	if s.in.State == nil {
		return nil
	}
	if err := s.openDatabase(ctx); err != nil {
		return err
	}
	has, err := s.db.Inventory(ctx)
	if err != nil {
		return fmt.Errorf("look at the database: %w", err)
	}
	k, there := has.Change(s.work.Request.Change)
	if !there || k.Service != s.in.Config.Service {
		return nil
	}
	c, err := change.Accepted(k.Source.Name, k.Source.Data)
	if err != nil {
		return fmt.Errorf("change %s, as the database has it: %w", k.ID, err)
	}
	s.in.Known = &c
	s.in.Facts[k.ID] = change.Facts{State: k.State, Digest: k.Digest}
	return nil
}

// claimUses says in the database what the service uses.
func (s *session) claimUses(ctx context.Context, step plan.Claim) error {
	if err := s.openDatabase(ctx); err != nil {
		return err
	}
	if err := s.db.ClaimUses(ctx, s.in.State.Rollout, step.Uses); err != nil {
		return fmt.Errorf("say what the service uses: %w", err)
	}
	s.in.Claimed = true
	return nil
}

// settleClaims leaves the claims of the rollout that has settled. Where the
// database does not answer those before stay, too, until the next one settles:
// they keep more than they need to.
func (s *session) settleClaims(ctx context.Context) {
	if s.in.Config.Schema == nil || s.r.OpenDatabase == nil {
		return
	}
	err := s.openDatabase(ctx)
	if err == nil {
		err = s.db.SettleUses(ctx, s.in.State.Rollout)
	}
	if err != nil && len(s.in.Config.Schema.Uses) > 0 {
		s.warn(fmt.Sprintf("what the service no longer uses could not be released, others wait for it until the next release settles: %v", err))
	}
}

// left are the changes of rollouts that went back which the schema still has
// something of.
func left(st *rollout.State) []rollout.File {
	files := slices.Clone(st.Opening.Left)
	if st.WentBack {
		for _, f := range st.Opening.Changes {
			if st.ChangeOf(idOf(f)).Stands() {
				files = append(files, f)
			}
		}
	}
	return slices.DeleteFunc(files, func(f rollout.File) bool {
		p, known := st.Changes[idOf(f)]
		return known && p.State == rollout.Absent
	})
}

// owed are the changes of earlier rollouts whose contract is, or is again, to
// come.
func owed(st *rollout.State) []rollout.File {
	files := slices.Clone(st.Opening.Owed)
	for _, f := range st.Restored {
		if !named(files, f.Name) {
			files = append(files, f)
		}
	}
	return files
}
