package rollout

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// State is what a record says of its rollout: a fold over its entries.
type State struct {
	Service string
	Rollout string
	Head    Head
	Stage   Stage
	Opening Opened
	Opened  time.Time
	// Last is when the newest entry was written, Worked when the newest was that
	// is not of a tick, which only looks.
	Last, Worked time.Time
	// WentBack is set when the rollout settled on the old revision, for the
	// reason given.
	WentBack   bool
	BackReason string
	// Weight is the candidate's share by the last shift, in force since Since.
	Weight Weight
	Since  time.Time
	// Passed are all weights that the candidate has had, the newest last.
	Passed []Passage
	// FirstExposed is when the candidate first met public traffic.
	FirstExposed time.Time
	// LiveSince is when the candidate took all of it.
	LiveSince time.Time
	// Retired is set once the old revision was stopped.
	Retired   bool
	SettledAt time.Time
	Launched  *Launched
	Checked   *Checked
	// Replaced is a rolling update's last batch, nil before the first.
	Replaced *Replaced
	// Judged is the last verdict at the weight in force, nil before it.
	Judged *Judged
	// Accepted is set when a person took an inconclusive verdict at the weight
	// in force upon themselves.
	Accepted bool
	Changes  map[string]ChangeProgress
	// Restored are changes of earlier rollouts that were brought back here.
	Restored []File
	// Pending is the act begun whose end is not in the record.
	Pending Data
	// Begun is the phase that has not ended, nil between phases.
	Begun      *Began
	BegunPhase Phase
	// LetThrough is set where Begun was approved, or goes on under an approval.
	LetThrough bool
	Ended      *Ended
	// Held is set from a hold until a phase goes on under an approval given
	// after it.
	Held *Held
	// Adopted is set in a record that was begun anew.
	Adopted bool
	// Approvals are those used in this rollout.
	Approvals []Approval
	// spent are those used in rollouts before it.
	spent []Spent
}

// ChangeProgress is how far one change has come.
type ChangeProgress struct {
	State ChangeState
	// Digest is the SHA-256 of the change's bytes as it was begun.
	Digest string
	// Since is when it came into this state.
	Since time.Time
	// Steps holds the evidence of each step that is done, and not undone.
	Steps map[string]json.RawMessage
}

// Fold reads the state out of a record. An entry that the state machines do
// not allow is an error that wraps ErrBroken.
func Fold(r Record) (State, error) {
	s := State{Service: r.Service, Rollout: r.Rollout, Stage: StageSettled, Changes: map[string]ChangeProgress{}}
	for _, e := range r.Entries {
		if err := s.apply(e); err != nil {
			return State{}, fmt.Errorf("%w: entry %d (%s): %w", ErrBroken, e.Seq, e.Kind, err)
		}
		s.Head, s.Last = r.headAt(e), e.At
		if e.Phase != Tick {
			s.Worked = e.At
		}
	}
	return s, nil
}

func (s *State) apply(e Entry) error {
	data, err := e.Decode()
	if err != nil {
		return err
	}
	switch d := data.(type) {
	case *Opened:
		return s.open(e, *d)
	case *Began:
		s.begin(e, d)
	case *Migrating:
		s.Pending = d
		if d.File != nil {
			s.Restored = append(s.Restored, *d.File)
		}
		return s.migrate(e, Migrated{Change: d.Change, Digest: d.Digest, State: d.State})
	case *Migrated:
		s.Pending = nil
		return s.migrate(e, *d)
	case *Launching:
		s.Pending = d
	case *Launched:
		s.Pending, s.Launched, s.Checked = nil, d, nil
		return s.enter(StageStanding)
	case *Checked:
		s.Checked = d
	case *Replacing:
		s.Pending = d
	case *Replaced:
		return s.replace(d)
	case *Shifting:
		s.Pending = d
	case *Shifted:
		return s.shift(*d)
	case *Judged:
		s.Judged = d
	case *Retired:
		s.Pending, s.Retired = nil, s.Retired || d.Revision == s.Opening.Stable
	case *Settled:
		if s.Stage != StageLive {
			return fmt.Errorf("rollout cannot settle on its candidate while it is %s", s.Stage)
		}
		s.Pending, s.Since = nil, e.At
		return s.settle(e.At)
	case *RolledBack:
		s.WentBack, s.BackReason = true, d.Reason
		s.Pending, s.Weight, s.Since = nil, 0, d.InForce
		s.Passed = append(s.Passed, Passage{Since: d.InForce})
		return s.settle(e.At)
	case *Held:
		s.Held = d
	case *Adopted:
		return s.adopt(e, *d)
	case *Ended:
		s.Begun, s.BegunPhase, s.Ended = nil, "", d
	}
	return nil
}

func (s *State) open(e Entry, d Opened) error {
	if s.Rollout == "" || !s.Opened.IsZero() {
		return fmt.Errorf("a record is opened once")
	}
	s.Opening, s.Opened, s.spent = d, e.At, d.Spent
	return s.enter(StageOpen)
}

// adopt enters what serves as a release that is over.
func (s *State) adopt(e Entry, d Adopted) error {
	if s.Rollout == "" || !s.Opened.IsZero() {
		return fmt.Errorf("a record is begun once")
	}
	s.Opening = Opened{Candidate: d.Stable, Side: d.Side, Target: d.Target, Config: d.Config, Gates: d.Gates}
	s.Opened, s.SettledAt, s.Adopted, s.Weight, s.LiveSince = e.At, e.At, true, Full, e.At
	s.Passed = []Passage{{Since: e.At, Weight: Full}}
	return nil
}

func (s *State) begin(e Entry, d *Began) {
	resumed := s.Begun != nil && s.BegunPhase == e.Phase && s.Begun.Digest == d.Digest && s.Begun.To == d.To
	s.LetThrough = d.Approval != "" || resumed && s.LetThrough
	s.Begun, s.BegunPhase = d, e.Phase
	if d.Digest != "" { // which was due after the hold
		s.Held = nil
	}
	if d.Approval != "" {
		s.Approvals = append(s.Approvals, Approval{Gate: d.Gate, By: d.Approval, Run: e.Run, At: e.At})
	}
	if d.Accepted != "" && e.Phase == s.Opening.Strategy.Goes() {
		s.Accepted = true
	}
}

func (s *State) shift(d Shifted) error {
	if s.Opening.Strategy == Rolling {
		return fmt.Errorf("a rolling update replaces instances, it does not shift traffic")
	}
	s.weigh(d.To, d.InForce)
	switch d.To {
	case Full:
		return s.enter(StageLive)
	case 0:
		return s.enter(StageStanding)
	}
	return s.enter(StageExposed)
}

func (s *State) replace(d *Replaced) error {
	if s.Opening.Strategy != Rolling {
		return fmt.Errorf("instances are replaced by a rolling update only, this is %s", s.Opening.Strategy)
	}
	before := 0
	if s.Replaced != nil {
		before = s.Replaced.To
	}
	if d.From != before || d.To <= d.From || d.To > d.Of {
		return fmt.Errorf("a batch from %d to %d of %d instances does not follow %d", d.From, d.To, d.Of, before)
	}
	s.Replaced = d
	s.weigh(PartOf(d.To, d.Of), d.InForce)
	if err := s.enter(StageRolling); err != nil || s.Weight < Full {
		return err
	}
	return s.enter(StageLive)
}

// weigh puts a weight in force, at which nothing is judged yet.
func (s *State) weigh(to Weight, inForce time.Time) {
	s.Pending, s.Weight, s.Since, s.Judged, s.Accepted = nil, to, inForce, nil, false
	s.Passed = append(s.Passed, Passage{Since: inForce, Weight: to})
	if to > 0 && s.FirstExposed.IsZero() {
		s.FirstExposed = inForce
	}
	if to == Full {
		s.LiveSince = inForce
	}
}

// migrate enters what became of a change.
func (s *State) migrate(e Entry, d Migrated) error {
	p, ok := s.Changes[d.Change]
	if !ok {
		p = ChangeProgress{State: inherited(e.Phase), Steps: map[string]json.RawMessage{}}
	}
	if !p.State.May(e.Phase, d.State) {
		return fmt.Errorf("change %s cannot pass from %s to %s by %s", d.Change, p.State, d.State, e.Phase)
	}
	if p.State != d.State || d.State == Hidden && d.Evidence != nil { // hidden from the step's end on
		p.Since = e.At
	}
	p.State, p.Digest = d.State, d.Digest
	switch {
	case d.Step == "":
	case e.Phase == Rollback && d.State == Absent, e.Phase == Restore && d.State == Expanded: // the way there may be gone once more
		p.Steps = map[string]json.RawMessage{}
	default:
		p.Steps[d.Step] = d.Evidence
	}
	s.Changes[d.Change] = p
	return nil
}

// inherited is the state in which a change of an earlier rollout enters a
// record, by the phase that takes it further.
func inherited(by Phase) ChangeState {
	switch by {
	case Contract, Rollback:
		return Expanded
	case Restore:
		return Contracted
	default:
		return Absent
	}
}

// settle ends the rollout; only what goes by the change's own machine writes to
// its record after that.
func (s *State) settle(at time.Time) error {
	if err := s.enter(StageSettled); err != nil {
		return err
	}
	s.SettledAt, s.Held = at, nil
	return nil
}

func (s *State) enter(next Stage) error {
	if !s.SettledAt.IsZero() {
		return fmt.Errorf("rollout has settled, it cannot pass to %s", next)
	}
	if s.Stage != next && !s.Stage.May(next) {
		return fmt.Errorf("rollout cannot pass from %s to %s", s.Stage, next)
	}
	s.Stage = next
	return nil
}

// ChangeOf gives the state of one change; absent when the record has nothing.
func (s State) ChangeOf(id string) ChangeState {
	if p, ok := s.Changes[id]; ok {
		return p.State
	}
	return Absent
}

// WayBack says how long the way back is, and why when there is none.
func (s State) WayBack() (WayBack, string) {
	if way, why := s.wayBackOfSchema(); way != "" {
		return way, why
	}
	if s.Adopted {
		return BackByLaunch, "the record before it is lost; an older revision is a new release"
	}
	if s.Opening.Stable.Zero() && !s.Opening.Candidate.Zero() {
		return NoWayBack, "this is the first release, there is nothing to go back to"
	}
	switch s.Stage {
	case StageRolling, StageLive:
		if s.Opening.Strategy == Rolling {
			return BackInBatches, ""
		}
		if s.Retired {
			return BackByLaunch, "the old revision was stopped and must be started again"
		}
		return BackInSeconds, ""
	case StageExposed, StageStanding, StageOpen:
		return BackInSeconds, ""
	case StageSettled:
		if s.WentBack {
			return BackByLaunch, "nothing newer stands; an older revision is a new release"
		}
	}
	return BackByLaunch, "the old revision was stopped and must be started again"
}

// wayBackOfSchema says where a change keeps the old revision from running; empty
// where none does.
func (s State) wayBackOfSchema() (way WayBack, why string) {
	for _, id := range slices.Sorted(maps.Keys(s.Changes)) {
		switch s.Changes[id].State {
		case Contracting:
			return NoWayBack, "change " + id + " is dropping the old form, which is archived"
		case Contracted:
			return NoWayBack, "change " + id + " dropped the old form; gapless restore " + id + " brings it back out of the archive"
		case Hidden:
			way, why = BackByLaunch, "change "+id+" hides the old form: gapless restore "+id+" comes first, an instant"
		case Restoring:
			way, why = BackByLaunch, "the old form of change "+id+" is being brought back: gapless restore "+id+" ends that first"
		case Absent, Expanding, Expanded, Reverting:
		}
	}
	return way, why
}

// Decode gives the entry's data in its own type, as a pointer.
func (e Entry) Decode() (Data, error) {
	d := blank(e.Kind)
	if d == nil {
		return nil, fmt.Errorf("kind %q is not known to this build", e.Kind)
	}
	if err := json.Unmarshal(e.Data, d); err != nil {
		return nil, fmt.Errorf("read %s: %w", e.Kind, err)
	}
	return d, nil
}

func blank(k Kind) Data {
	for _, d := range []Data{
		&Opened{}, &Began{}, &Migrating{}, &Migrated{}, &Launching{}, &Launched{}, &Checked{}, &Replacing{}, &Replaced{},
		&Shifting{}, &Shifted{}, &Judged{}, &Retired{}, &Settled{}, &RolledBack{}, &Held{}, &Adopted{}, &Ended{},
	} {
		if d.Kind() == k {
			return d
		}
	}
	return nil
}
