package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// changeView is one schema change as the record tells it.
type changeView struct {
	id    string
	state rollout.ChangeState
	// filled is the backfill's account, verified that of the newest
	// verification, archived what contract kept; nil before them.
	filled, verified, archived *change.Evidence
	kept                       int64
	dropped                    []string
	// back is set where expand was taken back.
	back bool
}

type changeViews []changeView

// changes gives the rollout's changes in the order of its config, then those
// of earlier rollouts that it contracted.
func (v View) changes() changeViews {
	var ids []string
	for _, f := range v.State.Opening.Changes {
		ids = append(ids, strings.TrimSuffix(path.Base(f.Name), path.Ext(f.Name)))
	}
	for _, id := range slices.Sorted(maps.Keys(v.State.Changes)) {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	all := make(changeViews, len(ids))
	for i, id := range ids {
		p, known := v.State.Changes[id]
		all[i] = changeView{id: id, state: v.State.ChangeOf(id), back: known && p.State == rollout.Absent}
		for _, e := range v.Record.Entries {
			all[i].read(e)
		}
	}
	return all
}

// read takes in what an entry tells of the change.
func (c *changeView) read(e rollout.Entry) {
	if e.Kind != rollout.KindMigrated {
		return
	}
	data, err := e.Decode()
	if err != nil {
		return // shown in the table of phases
	}
	m, ok := data.(*rollout.Migrated)
	if !ok || m.Change != c.id {
		return
	}
	if e.Phase == rollout.Restore && m.State == rollout.Expanded { // what was dropped is there again
		c.dropped, c.archived = nil, nil
	}
	if len(m.Evidence) == 0 {
		return
	}
	ev := new(change.Evidence)
	if err := json.Unmarshal(m.Evidence, ev); err != nil {
		return // of a build that this one cannot read; the step itself is shown
	}
	switch change.StepKind(m.Step) {
	case change.Backfill:
		c.filled = ev
	case change.Verifying, change.Begin:
		c.verified = ev
	default:
	}
	if ev.ArchiveTable != "" {
		c.archived = ev
	}
	c.kept = max(c.kept, ev.Kept)
	c.dropped = append(c.dropped, ev.Dropped...)
}

func (cs changeViews) any(s rollout.ChangeState) bool {
	return slices.ContainsFunc(cs, func(c changeView) bool { return c.state == s })
}

func (cs changeViews) all(s rollout.ChangeState) bool {
	return len(cs) > 0 && !slices.ContainsFunc(cs, func(c changeView) bool { return c.state != s })
}

// note says in a few words what the schema serves; empty without changes.
func (cs changeViews) note() string {
	switch {
	case len(cs) == 0:
		return ""
	case cs.any(rollout.Reverting):
		return "the schema is being taken back, the old form is untouched"
	case cs.any(rollout.Restoring):
		return "the old form is being brought back into the schema"
	case cs.all(rollout.Absent) && slices.ContainsFunc(cs, func(c changeView) bool { return c.back }):
		return "the schema is as it was before"
	case cs.all(rollout.Absent):
		return "schema unchanged"
	case cs.any(rollout.Contracting):
		return "the old form is being removed from the schema"
	case cs.any(rollout.Hidden):
		return "the old form is hidden, nothing is lost"
	case cs.all(rollout.Contracted):
		return "the schema has the new form only"
	case cs.all(rollout.Expanded):
		return "the schema serves old and new alike"
	case cs.any(rollout.Contracted):
		return "part of the schema has the new form only"
	}
	return "the schema is being expanded, the old form is untouched"
}

// schema tells how far each change is, and what became of the values.
func (v View) schema() part {
	t := table{
		head:  []string{"Change", "State", "Rows filled", "Rate", "Kept", "Unmapped", "Lossy"},
		right: []bool{false, false, true, true, true, true, true},
	}
	p := part{heading: "Schema", table: &t}
	for _, c := range v.changes() {
		rows, rate, unmapped, lossy := "", "", "", ""
		if f := c.filled; f != nil {
			rows, unmapped = count(f.Rows), count(f.Unmapped)
			rate = count(int64(f.RowsPerSecond)) + "/s"
			if f.Seconds > 0 {
				rows += " in " + lasting(seconds(f.Seconds))
			}
		}
		if f := c.verified; f != nil {
			unmapped, lossy = count(f.Unmapped), count(f.Lossy)
		}
		t.rows = append(t.rows, cells(c.id, c.named(), rows, rate, count(c.kept), unmapped, lossy))
		p.lines = append(p.lines, c.remarks()...)
	}
	return p
}

// named is the change's state, for people.
func (c changeView) named() string {
	if c.back {
		return "taken back"
	}
	return string(c.state)
}

// remarks says what the numbers of a change mean, where they are not zero.
func (c changeView) remarks() []text {
	var lines []text
	add := func(format string, args ...any) { lines = append(lines, say("%s: ", c.id).and(format, args...)) }
	if c.kept > 0 {
		where := "gapless.kept"
		if c.back {
			where = "gapless.archived_kept"
		}
		add("%s set aside in %s: the other form could not have given them back.", of(c.kept, "value"), where)
	}
	if f := c.filled; f != nil && f.Unmapped > 0 && (c.verified == nil || c.verified.Unmapped > 0) {
		add("%s cannot be read by sync.forward; promote holds while there are any.", of(f.Unmapped, "row"))
	}
	if f := c.verified; f != nil {
		if failed := f.Failed(); len(failed) > 0 {
			for _, r := range failed {
				add("%s", failing(r))
			}
			if len(f.Keys) > 0 {
				add("rows with key %s", strings.Join(f.Keys, ", "))
			}
		} else if f.Passed() {
			add("verified: %s passed%s.", of(int64(len(f.Checks)), "check"), repaired(*f))
		}
	}
	if a := c.archived; a != nil {
		line := fmt.Sprintf("%s archived in %s", of(a.ArchiveRows, "row"), a.ArchiveTable)
		if a.ArchiveSum != "" {
			line += ", checksum " + clip(a.ArchiveSum, 17)
		}
		add("%s.", line)
	}
	if len(c.dropped) > 0 {
		add("dropped: %s.", strings.Join(c.dropped, ", "))
	}
	return lines
}

func failing(r change.CheckResult) string {
	if r.Problem != "" {
		return fmt.Sprintf("check failed: %s: %s", r.Name, r.Problem)
	}
	return fmt.Sprintf("check failed: %s: %s, allowed %s", r.Name, count(r.Observed), r.Allowed)
}

func repaired(e change.Evidence) string {
	if e.Repaired == 0 {
		return ""
	}
	return ", " + of(e.Repaired, "row") + " put right by it"
}
