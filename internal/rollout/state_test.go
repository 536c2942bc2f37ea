package rollout_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// entry is data written by a phase.
type entry struct {
	phase rollout.Phase
	data  rollout.Data
}

func folded(t testing.TB, entries ...entry) (rollout.State, error) {
	t.Helper()
	r := rollout.NewRecord("address-book", "v2-04d1aa")
	for i, e := range entries {
		next, err := r.Append(rollout.Head{}, start.Add(time.Duration(i)*time.Minute), rollout.Writer{Run: "7"}, e.phase, e.data)
		if err != nil {
			t.Fatal(err)
		}
		r = next
	}
	return rollout.Fold(r)
}

func shifted(from, to rollout.Weight) rollout.Shifted {
	return rollout.Shifted{From: from, To: to, Decided: start, InForce: start.Add(12 * time.Millisecond)}
}

// replaced is a batch of four instances in all.
func replaced(from, to int) entry {
	return entry{rollout.Deploy, rollout.Replaced{
		Replacing: rollout.Replacing{From: from, To: to, Of: 4}, Decided: start, InForce: start.Add(12 * time.Millisecond),
	}}
}

var (
	open      = entry{rollout.Deploy, opened()}
	launched  = entry{rollout.Deploy, rollout.Launched{Side: rollout.Green, Revision: v2, Instances: 3}}
	exposed   = entry{rollout.Promote, shifted(0, 50)}
	live      = entry{rollout.Promote, shifted(50, rollout.Full)}
	settled   = entry{rollout.Retire, rollout.Settled{Stable: v2, Side: rollout.Green}}
	rolling   = entry{rollout.Deploy, rollout.Opened{Candidate: v2, Stable: v1, Side: rollout.Green, Strategy: rollout.Rolling}}
	takenBack = entry{rollout.Rollback, rollout.RolledBack{From: 50, Reason: "errors", InForce: start.Add(time.Hour)}}
)

func TestStages(t *testing.T) {
	for name, c := range map[string]struct {
		entries []entry
		want    rollout.Stage
		weight  rollout.Weight
		back    rollout.WayBack
	}{
		"opened":                {[]entry{open}, rollout.StageOpen, 0, rollout.BackInSeconds},
		"launched":              {[]entry{open, launched}, rollout.StageStanding, 0, rollout.BackInSeconds},
		"exposed":               {[]entry{open, launched, exposed}, rollout.StageExposed, 50, rollout.BackInSeconds},
		"back to zero":          {[]entry{open, launched, {rollout.Promote, shifted(0, 0)}}, rollout.StageStanding, 0, rollout.BackInSeconds},
		"live":                  {[]entry{open, launched, exposed, live}, rollout.StageLive, rollout.Full, rollout.BackInSeconds},
		"settled":               {[]entry{open, launched, exposed, live, settled}, rollout.StageSettled, rollout.Full, rollout.BackByLaunch},
		"rolling":               {[]entry{rolling, replaced(0, 2)}, rollout.StageRolling, 500, rollout.BackInBatches},
		"all rolled":            {[]entry{rolling, replaced(0, 2), replaced(2, 4)}, rollout.StageLive, rollout.Full, rollout.BackInBatches},
		"all rolled at once":    {[]entry{rolling, replaced(0, 4)}, rollout.StageLive, rollout.Full, rollout.BackInBatches},
		"rolled and settled":    {[]entry{rolling, replaced(0, 4), settled}, rollout.StageSettled, rollout.Full, rollout.BackByLaunch},
		"rolled and taken back": {[]entry{rolling, replaced(0, 1), takenBack}, rollout.StageSettled, 0, rollout.BackByLaunch},
		"stable is stopped":     {[]entry{open, launched, exposed, live, {rollout.Retire, rollout.Retired{Side: rollout.Blue, Revision: v1}}}, rollout.StageLive, rollout.Full, rollout.BackByLaunch},
		"taken back":            {[]entry{open, launched, exposed, takenBack}, rollout.StageSettled, 0, rollout.BackByLaunch},
		"taken back from start": {[]entry{open, takenBack}, rollout.StageSettled, 0, rollout.BackByLaunch},
	} {
		s, err := folded(t, c.entries...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		back, why := s.WayBack()
		if s.Stage != c.want || s.Weight != c.weight || back != c.back {
			t.Errorf("%s: %s at %s, way back %s (%s); want %s at %s, %s", name, s.Stage, s.Weight, back, why, c.want, c.weight, c.back)
		}
	}
}

func TestForbiddenMoves(t *testing.T) {
	for name, entries := range map[string][]entry{
		"opened twice":              {open, open},
		"exposed before it stands":  {open, exposed},
		"live before it stands":     {open, live},
		"standing again when live":  {open, launched, exposed, live, launched},
		"exposed again when live":   {open, launched, live, exposed},
		"rolled by a canary":        {open, replaced(0, 1)},
		"shifted by a rolling":      {rolling, exposed},
		"rolled more than there is": {rolling, replaced(0, 5)},
		"rolled nothing":            {rolling, replaced(0, 0)},
		"rolled with a gap":         {rolling, replaced(0, 1), replaced(2, 3)},
		"rolled when settled":       {rolling, replaced(0, 4), settled, replaced(0, 1)},
		"rolled when live":          {rolling, replaced(0, 4), replaced(0, 1)},
		"shifted when settled":      {open, launched, exposed, live, settled, exposed},
		"settled before it is live": {open, launched, exposed, settled},
		"settled twice":             {open, launched, exposed, live, settled, settled},
		"launched when settled":     {open, launched, exposed, live, settled, launched},
		"launched when taken back":  {open, launched, exposed, takenBack, launched},
		"taken back when settled":   {open, launched, exposed, live, settled, takenBack},
		"shifted when taken back":   {open, launched, exposed, takenBack, exposed},
		"an entry of no known kind": {open, {rollout.Deploy, raw{"dreamt", json.RawMessage(`{}`)}}},
		"data of the wrong type":    {open, {rollout.Deploy, raw{rollout.KindShifted, json.RawMessage(`{"to":"much"}`)}}},
		"contracted by expand":      {open, {rollout.Expand, rollout.Migrated{Change: "a", State: rollout.Contracted}}},
		"expanded by contract":      {open, {rollout.Contract, rollout.Migrated{Change: "a", State: rollout.Expanding}}},
		"expanded without a start":  {open, {rollout.Expand, rollout.Migrated{Change: "a", State: rollout.Expanded}}},
	} {
		if s, err := folded(t, entries...); !errors.Is(err, rollout.ErrBroken) {
			t.Errorf("%s: folds to %s, %v; want ErrBroken", name, s.Stage, err)
		}
	}
}

func TestStateOfAStep(t *testing.T) {
	judged := entry{rollout.Promote, rollout.Judged{Weight: 50, Verdict: "inconclusive"}}
	accepted := entry{rollout.Promote, rollout.Began{To: 250, Accepted: "dana", Approval: "cleo"}}
	s, err := folded(t, open, launched, exposed, judged, accepted)
	if err != nil {
		t.Fatal(err)
	}
	if s.Judged == nil || !s.Accepted || len(s.Approvals) != 1 || s.BegunPhase != rollout.Promote || s.FirstExposed != start.Add(12*time.Millisecond) {
		t.Errorf("state %+v", s)
	}
	// What was known of one weight does not count at the next.
	s, err = folded(t, open, launched, exposed, judged, accepted, entry{rollout.Promote, shifted(50, 250)})
	if err != nil {
		t.Fatal(err)
	}
	if s.Judged != nil || s.Accepted || s.Weight != 250 {
		t.Errorf("after the shift: judged %v, accepted %v, weight %s", s.Judged, s.Accepted, s.Weight)
	}
	s, err = folded(t, open, launched, exposed, accepted, entry{rollout.Promote, rollout.Ended{Outcome: rollout.Waiting}})
	if err != nil {
		t.Fatal(err)
	}
	if s.Begun != nil || s.BegunPhase != "" || s.Ended == nil || s.Ended.Outcome != rollout.Waiting {
		t.Errorf("after the end: begun %v, ended %v", s.Begun, s.Ended)
	}
}

func TestPendingActs(t *testing.T) {
	for name, c := range map[string]struct{ begin, end entry }{
		"launch": {entry{rollout.Deploy, rollout.Launching{Side: rollout.Green}}, launched},
		"shift":  {entry{rollout.Promote, rollout.Shifting{To: 50}}, exposed},
		"migrate": {
			entry{rollout.Expand, rollout.Migrating{Change: "a", State: rollout.Expanding}},
			entry{rollout.Expand, rollout.Migrated{Change: "a", State: rollout.Expanding, Step: "prepare"}},
		},
	} {
		before := []entry{open}
		if name == "shift" {
			before = append(before, launched)
		}
		cut, err := folded(t, append(before, c.begin)...)
		if err != nil || cut.Pending == nil || cut.Pending.Kind() != c.begin.data.Kind() {
			t.Errorf("%s begun: pending %v, %v", name, cut.Pending, err)
		}
		done, err := folded(t, append(before, c.begin, c.end)...)
		if err != nil || done.Pending != nil {
			t.Errorf("%s done: pending %v, %v", name, done.Pending, err)
		}
	}
}

func TestChangesOutliveTheirRollout(t *testing.T) {
	contracting := entry{rollout.Contract, rollout.Migrating{Change: "a", Step: "begin", State: rollout.Contracting}}
	dropped := entry{rollout.Contract, rollout.Migrated{Change: "a", Step: "drop", State: rollout.Contracted, Evidence: json.RawMessage(`{}`)}}
	s, err := folded(t, open, launched, exposed, live, settled, contracting, dropped)
	if err != nil {
		t.Fatal(err)
	}
	if s.ChangeOf("a") != rollout.Contracted || s.ChangeOf("b") != rollout.Absent {
		t.Errorf("changes: a %s, b %s", s.ChangeOf("a"), s.ChangeOf("b"))
	}
	if back, why := s.WayBack(); back != rollout.NoWayBack || why == "" {
		t.Errorf("way back after contract: %s (%q), want none and why", back, why)
	}
}

func TestFirstReleaseHasNoWayBack(t *testing.T) {
	first := opened()
	first.Stable = rollout.Revision{}
	for _, entries := range [][]entry{
		{{rollout.Deploy, first}},
		{{rollout.Deploy, first}, launched, {rollout.Deploy, shifted(0, rollout.Full)}},
		{{rollout.Deploy, first}, launched, {rollout.Deploy, shifted(0, rollout.Full)}, settled},
	} {
		s, err := folded(t, entries...)
		if err != nil {
			t.Fatal(err)
		}
		if back, why := s.WayBack(); back != rollout.NoWayBack || why == "" {
			t.Errorf("%s: way back %s (%q), want none and why", s.Stage, back, why)
		}
	}
}

// Whatever the machine allows, a rollback is allowed as long as a rollout is
// under way, and always leads to settled.
func TestRollbackIsAlwaysAllowed(t *testing.T) {
	for _, row := range rollout.Stages() {
		if row.Stage == rollout.StageSettled {
			continue
		}
		if !row.Stage.Allows(rollout.Rollback) || !row.Stage.May(rollout.StageSettled) {
			t.Errorf("%s: rollback %v, to settled %v", row.Stage, row.Stage.Allows(rollout.Rollback), row.Stage.May(rollout.StageSettled))
		}
	}
}

func TestStageTable(t *testing.T) {
	allowed := map[rollout.Stage][]rollout.Phase{
		rollout.StageSettled:  {rollout.Plan, rollout.Expand, rollout.Deploy, rollout.Contract, rollout.Restore},
		rollout.StageOpen:     {rollout.Plan, rollout.Expand, rollout.Deploy, rollout.Tick, rollout.Rollback, rollout.Hold},
		rollout.StageRolling:  {rollout.Plan, rollout.Deploy, rollout.Tick, rollout.Rollback, rollout.Hold},
		rollout.StageStanding: {rollout.Plan, rollout.Deploy, rollout.Promote, rollout.Tick, rollout.Rollback, rollout.Hold},
		rollout.StageExposed:  {rollout.Plan, rollout.Promote, rollout.Tick, rollout.Rollback, rollout.Hold},
		rollout.StageLive:     {rollout.Plan, rollout.Promote, rollout.Tick, rollout.Retire, rollout.Rollback, rollout.Hold},
		"dreamt":              {rollout.Plan},
	}
	for stage, want := range allowed {
		for _, p := range rollout.Phases() {
			if got := stage.Allows(p); got != slices.Contains(want, p) {
				t.Errorf("%s allows %s: %v", stage, p, got)
			}
		}
	}
	if rollout.StageSettled.May("dreamt") || rollout.Stage("dreamt").May(rollout.StageOpen) {
		t.Error("a stage that is not in the table has moves")
	}
}

// A change that goes back begins anew: nothing that was done before counts, also
// where it goes back in a record that it was not expanded in.
func TestAChangeGoesBackAndBeginsAnew(t *testing.T) {
	step := func(p rollout.Phase, name string, before, after rollout.ChangeState) []entry {
		return []entry{
			{p, rollout.Migrating{Change: "a", Step: name, State: before}},
			{p, rollout.Migrated{Change: "a", Step: name, State: after}},
		}
	}
	for name, c := range map[string]struct {
		steps [][]entry
		want  rollout.ChangeState
		left  int // steps that count
		back  rollout.WayBack
	}{
		"half expanded, half taken back": {
			[][]entry{step("expand", "prepare", "expanding", "expanding"), {takenBack}, step("rollback", "turn", "reverting", "reverting")}, rollout.Reverting, 2, rollout.BackByLaunch,
		},
		"taken back": {
			[][]entry{step("expand", "prepare", "expanding", "expanded"), {takenBack}, step("rollback", "reverted", "reverting", "absent")}, rollout.Absent, 0, rollout.BackByLaunch,
		},
		"taken back in a later record": {
			[][]entry{{takenBack}, step("rollback", "reverted", "reverting", "absent")}, rollout.Absent, 0, rollout.BackByLaunch,
		},
		"hidden": {
			[][]entry{{launched, exposed, live, settled}, step("contract", "hide", "hidden", "hidden")}, rollout.Hidden, 1, rollout.BackByLaunch,
		},
		"hidden and brought back": {
			[][]entry{{launched, exposed, live, settled}, step("contract", "hide", "hidden", "hidden"), step("restore", "unhide", "restoring", "expanded")}, rollout.Expanded, 0, rollout.BackByLaunch,
		},
		"dropped, brought back in a later record, dropped again": {
			[][]entry{{launched, exposed, live, settled}, step("restore", "return", "restoring", "restoring"), step("restore", "returned", "restoring", "expanded"), step("contract", "drop", "contracting", "contracted")},
			rollout.Contracted, 1, rollout.NoWayBack,
		},
	} {
		entries := []entry{open}
		for _, s := range c.steps {
			entries = append(entries, s...)
		}
		s, err := folded(t, entries...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		back, why := s.WayBack()
		if p := s.Changes["a"]; p.State != c.want || len(p.Steps) != c.left || back != c.back {
			t.Errorf("%s: %s after %d steps, way back %s (%s); want %s after %d, %s", name, p.State, len(p.Steps), back, why, c.want, c.left, c.back)
		}
	}
}

// The first drop is the point of no return: no phase takes a change back.
func TestNothingLeadsBackFromContracting(t *testing.T) {
	before := []rollout.ChangeState{rollout.Absent, rollout.Expanding, rollout.Expanded}
	for _, from := range []rollout.ChangeState{rollout.Contracting, rollout.Contracted} {
		for _, p := range rollout.Phases() {
			if p == rollout.Restore && from == rollout.Contracted && from.May(p, rollout.Restoring) {
				continue // by way of the archive
			}
			for _, to := range before {
				if from.May(p, to) {
					t.Errorf("%s may go from %s to %s", p, from, to)
				}
			}
		}
	}
	if rollout.Expanded.May(rollout.Expand, rollout.Contracting) || rollout.Absent.May(rollout.Contract, rollout.Contracting) {
		t.Error("contract without its phase, or of what was never expanded")
	}
}

// Any sequence of entries either folds or is refused; what folds only ever
// moved along the table.
func TestFoldKeepsToTheTable(t *testing.T) {
	kinds := []entry{launched, exposed, live, settled, takenBack, {rollout.Promote, shifted(50, 0)}, {rollout.Tick, rollout.Ended{}}}
	rapid.Check(t, func(rt *rapid.T) {
		entries := []entry{open}
		stage := rollout.StageOpen
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(kinds)-1), 1, 12).Draw(rt, "kinds") {
			entries = append(entries, kinds[i])
			s, err := folded(t, entries...)
			if err != nil {
				return
			}
			if s.Stage != stage && !stage.May(s.Stage) {
				rt.Fatalf("from %s to %s", stage, s.Stage)
			}
			if (s.Stage == rollout.StageLive) && s.Weight != rollout.Full || s.Stage == rollout.StageStanding && s.Weight != 0 {
				rt.Fatalf("%s at weight %s", s.Stage, s.Weight)
			}
			stage = s.Stage
		}
	})
}

func TestMarkAndLease(t *testing.T) {
	m := rollout.Mark{
		Stable: v1, Candidate: v2, CandidateSide: rollout.Green, Back: &rollout.GoingBack{Reason: "x"},
		Lease: &rollout.Lease{Holder: "a", Until: start},
	}
	for name, c := range map[string]struct {
		mark         *rollout.Mark
		holder       string
		at           time.Time
		busy, heldBy bool
	}{
		"another works":          {&m, "b", start.Add(-1), true, false},
		"another's lease lapsed": {&m, "b", start, false, false},
		"one's own":              {&m, "a", start.Add(-1), false, true},
		"one's own, lapsed":      {&m, "a", start.Add(1), false, true},
		"no lease":               {&rollout.Mark{}, "a", start, false, false},
		"no mark":                {nil, "a", start, false, false},
	} {
		if c.mark.Busy(c.holder, c.at) != c.busy || c.mark.HeldBy(c.holder) != c.heldBy {
			t.Errorf("%s: busy %v, held %v", name, c.mark.Busy(c.holder, c.at), c.mark.HeldBy(c.holder))
		}
	}
	bare := m.Without()
	if !bare.Candidate.Zero() || bare.CandidateSide != "" || bare.Back != nil || bare.Stable != v1 || m.Back == nil {
		t.Errorf("without its candidate: %+v", bare)
	}
}

// TestSpentApprovals: an environment is the same in any case, a run ends in time,
// and a comment is good for one place only.
func TestSpentApprovals(t *testing.T) {
	approved := func(gate string) entry {
		return entry{rollout.Promote, rollout.Began{Digest: "d1", Gate: gate, Approval: "cleo"}}
	}
	s, err := folded(t, open, launched, approved("environment production"), approved("environment Production"), approved("comment by write"))
	if err != nil {
		t.Fatal(err)
	}
	run := s.Approvals[0].Run
	if used, other := s.Used("environment PRODUCTION", run), s.Used("environment production", run+"0"); used != 2 || other != 0 {
		t.Errorf("used are %d, by another run %d, want 2 and 0", used, other)
	}
	spent := s.Spent(s.Last)
	if len(spent) != 1 || spent[0].Times != 2 || len(s.Spent(s.Last.AddDate(0, 0, 66))) != 0 {
		t.Errorf("carried on are %+v, and 66 days later %+v", spent, s.Spent(s.Last.AddDate(0, 0, 66)))
	}
}
