package rollout

import "slices"

// Phase is one step of a release, run as one job.
type Phase string

// The phases of a release.
const (
	Plan     Phase = "plan"
	Expand   Phase = "expand"
	Deploy   Phase = "deploy"
	Promote  Phase = "promote"
	Tick     Phase = "tick"
	Retire   Phase = "retire"
	Contract Phase = "contract"
	Rollback Phase = "rollback"
	// Hold keeps a rollout where it is until somebody approves its next step.
	Hold Phase = "hold"
	// Adopt takes over a service whose record is lost.
	Adopt Phase = "adopt"
	// Restore brings back what contract hid or dropped.
	Restore Phase = "restore"
)

// Phases lists them: in the order in which a release runs them, then those
// that steer it.
func Phases() []Phase {
	return []Phase{Plan, Expand, Deploy, Promote, Tick, Retire, Contract, Rollback, Hold, Adopt, Restore}
}

// Stage is the state of a rollout.
type Stage string

// The states of a rollout.
const (
	// StageSettled: one revision serves, nothing is under way.
	StageSettled Stage = "settled"
	// StageOpen: the schema is expanded, no candidate runs yet.
	StageOpen Stage = "open"
	// StageRolling: some of the instances are the candidate's.
	StageRolling Stage = "rolling"
	// StageStanding: the candidate runs at weight 0.
	StageStanding Stage = "standing"
	// StageExposed: the candidate takes some of the traffic.
	StageExposed Stage = "exposed"
	// StageLive: the candidate takes all of it, stable stands by.
	StageLive Stage = "live"
)

// StageRow says which phases may run in a stage, and which stages may follow.
type StageRow struct {
	Stage   Stage
	Allowed []Phase
	Then    []Stage
}

// Stages is the rollout's state machine. A phase that changes nothing (plan)
// is allowed anywhere; contract and restore follow the change's own machine, and
// so does what rollback does once the traffic is back; adopt is for a service
// without a record, and so without a stage. Promote is
// allowed when live, so that a bake at 100 % which was cut short goes on; of a
// rolling update it is deploy that goes on, see Strategy.Goes.
func Stages() []StageRow {
	return []StageRow{
		{StageSettled, []Phase{Expand, Deploy, Contract, Restore}, []Stage{StageOpen, StageStanding, StageRolling, StageSettled}},
		{StageOpen, []Phase{Expand, Deploy, Tick, Rollback, Hold}, []Stage{StageOpen, StageStanding, StageRolling, StageSettled}},
		{StageRolling, []Phase{Deploy, Tick, Rollback, Hold}, []Stage{StageRolling, StageLive, StageSettled}},
		{StageStanding, []Phase{Deploy, Promote, Tick, Rollback, Hold}, []Stage{StageStanding, StageExposed, StageLive, StageSettled}},
		{StageExposed, []Phase{Promote, Tick, Rollback, Hold}, []Stage{StageExposed, StageLive, StageSettled}},
		{StageLive, []Phase{Promote, Tick, Retire, Rollback, Hold}, []Stage{StageLive, StageSettled}},
	}
}

// Allows reports whether phase may run in stage s.
func (s Stage) Allows(p Phase) bool {
	if p == Plan {
		return true
	}
	for _, row := range Stages() {
		if row.Stage == s {
			return slices.Contains(row.Allowed, p)
		}
	}
	return false
}

// May reports whether next may follow s.
func (s Stage) May(next Stage) bool {
	for _, row := range Stages() {
		if row.Stage == s {
			return slices.Contains(row.Then, next)
		}
	}
	return false
}

// ChangeState is the state of one schema change, which may outlive its
// rollout.
type ChangeState string

// The states of a schema change.
const (
	Absent      ChangeState = "absent"
	Expanding   ChangeState = "expanding"
	Expanded    ChangeState = "expanded"
	Reverting   ChangeState = "reverting" // what expand made is taken back
	Hidden      ChangeState = "hidden"    // the old columns are there under other names
	Contracting ChangeState = "contracting"
	Contracted  ChangeState = "contracted"
	Restoring   ChangeState = "restoring" // the old columns come back out of the archive
)

// ChangeRow says by which phase a change passes from one state to another.
type ChangeRow struct {
	From ChangeState
	By   Phase
	To   ChangeState
}

// ChangeMoves is the change's state machine. After the first drop the only
// way is forward, so nothing leads back from Contracting; what is Contracted
// comes back out of the archive.
func ChangeMoves() []ChangeRow {
	return []ChangeRow{
		{Absent, Expand, Expanding},
		{Expanding, Expand, Expanding},
		{Expanding, Expand, Expanded},
		{Expanded, Expand, Expanded},
		{Expanding, Rollback, Reverting},
		{Expanded, Rollback, Reverting},
		{Reverting, Rollback, Reverting},
		{Reverting, Rollback, Absent},
		{Expanded, Contract, Hidden},
		{Hidden, Contract, Hidden},
		{Hidden, Contract, Contracting},
		{Hidden, Restore, Restoring},
		{Expanded, Contract, Contracting},
		{Contracting, Contract, Contracting},
		{Contracting, Contract, Contracted},
		{Contracted, Contract, Contracted},
		{Contracted, Restore, Restoring},
		{Restoring, Restore, Restoring},
		{Restoring, Restore, Expanded},
	}
}

// May reports whether phase by may take a change from s to next.
func (s ChangeState) May(by Phase, next ChangeState) bool {
	return slices.Contains(ChangeMoves(), ChangeRow{s, by, next})
}

// Stands reports whether something of a change is in the schema besides what
// was there before it, and besides what its contract left.
func (s ChangeState) Stands() bool { return s != "" && s != Absent && s != Contracted }

// SchemaOnBack is what a way back does about the schema.
type SchemaOnBack string

// What a way back does about the schema.
const (
	// KeepSchema leaves it as it is: it serves both revisions.
	KeepSchema SchemaOnBack = "keep"
	// RevertSchema takes back what expand made, once the candidate is gone.
	RevertSchema SchemaOnBack = "revert"
)

// WayBack says how long the way back to stable is.
type WayBack string

// The ways back, the shortest first.
const (
	// BackInSeconds moves traffic only.
	BackInSeconds WayBack = "seconds"
	// BackInBatches takes instances back batch by batch.
	BackInBatches WayBack = "batches"
	// BackByLaunch must start the old revision again.
	BackByLaunch WayBack = "launch"
	// NoWayBack: the old form is gone from the schema.
	NoWayBack WayBack = "none"
)

// Outcome is how a phase ended.
type Outcome string

// The outcomes; each has one exit status.
const (
	// Done: all that the phase was asked for is in force.
	Done Outcome = "done"
	// Refused: the input or the order is wrong; nothing was changed.
	Refused Outcome = "refused"
	// Stopped: it could not go on; stable serves.
	Stopped Outcome = "stopped"
	// Waiting: for a gate, for evidence, or for someone else at work.
	Waiting Outcome = "waiting"
	// NeedsPerson: somebody has to look now.
	NeedsPerson Outcome = "needs-person"
)
