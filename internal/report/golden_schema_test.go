package report_test

import (
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/report"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// wentBack is a rollout that somebody takes back on trial.
func wentBack(t *testing.T) *story {
	s := release(t).standing().promoted("103", 0, 10).run(rollout.Rollback, "104", "ben")
	decided := s.now
	s.after(9 * time.Millisecond).add(rollout.Began{Epoch: 1})
	s.add(rollout.RolledBack{From: 10, Reason: "streets without their number", Decided: decided, InForce: s.now, Epoch: 1})
	return s.after(4 * time.Second).add(rollout.Retired{Side: rollout.Green, Revision: v2})
}

func revertedView(t *testing.T) report.View {
	s := wentBack(t)
	s.migrated("turn", rollout.Reverting, 10*time.Millisecond, change.Evidence{})
	s.migrated("keep", rollout.Reverting, 6*time.Second, change.Evidence{ArchiveTable: `"gapless"."archive_0007-split-street_1"`, ArchiveRows: 200_012})
	s.migrated("undo/add_columns", rollout.Reverting, 60*time.Millisecond, change.Evidence{
		ArchiveTable: `"gapless"."archive_0007-split-street_1"`, ArchiveRows: 200_012, ArchiveSum: "6e1f0b3c9d2a4457",
		Dropped: []string{"column street_name", "column house_number"},
	})
	s.migrated("reverted", rollout.Absent, 10*time.Millisecond, change.Evidence{})
	return s.ended(rollout.Share{Revision: v1, Weight: rollout.Full}).view()
}

func unrevertedView(t *testing.T) report.View {
	s := wentBack(t)
	s.add(rollout.Ended{
		Outcome: rollout.Stopped, Reason: "51ab0e serves; the schema is not taken back: reach the database: connection refused",
		Hint: "check the address, the credentials and that the server takes connections from here; then run gapless rollback --schema revert again",
	})
	return s.view()
}

func hiddenView(t *testing.T) report.View {
	s := release(t).settled().after(24*time.Hour).run(rollout.Contract, "10", "ben")
	s.add(rollout.Began{Approval: "cleo in environment production-schema"})
	s.migrated("hide", rollout.Hidden, 2*time.Second, change.Evidence{})
	s.add(rollout.Ended{
		Outcome: rollout.Waiting, Hint: "run gapless contract after that",
		Reason: "change " + changeID + ": the old form is hidden until 2026-03-10 03:06:30 UTC; nothing is lost, the way back is gapless restore " + changeID,
	}).after(time.Hour)
	v := s.view()
	v.Next = &report.Next{Phase: rollout.Contract, Command: "contract", Asked: "remove the old form of " + changeID + " from the schema"}
	return v
}

func restoredView(t *testing.T) report.View {
	s := release(t).contracted().after(time.Hour).run(rollout.Restore, "11", "ben").add(rollout.Began{})
	s.migrated("return", rollout.Restoring, 10*time.Millisecond, change.Evidence{})
	s.migrated("refill", rollout.Restoring, 9*time.Second, change.Evidence{Rows: 200_142})
	s.migrated("returned", rollout.Expanded, 2*time.Second, change.Evidence{})
	v := s.ended(rollout.Share{Revision: v2, Weight: rollout.Full}).view()
	v.Next = &report.Next{Phase: rollout.Contract, Command: "contract", Asked: "remove the old form of " + changeID + " from the schema"}
	return v
}

func sharedStatus(t *testing.T) report.StatusView {
	s := release(t).standing()
	v := report.StatusView{View: s.view()}
	v.Seen = s.seen(rollout.Split{Blue: rollout.Full})
	const table = `"public"."address"`
	v.Has = &change.Inventory{
		Changes: []change.Known{{
			ID: changeID, Service: "address-book", State: rollout.Expanded, Since: s.now.Add(-time.Hour), Table: table,
			Columns: []string{"house_number", "street", "street_name"}, Ends: true,
		}, {
			ID: "0003-phone", Service: "address-book", State: rollout.Expanded, Since: s.now.Add(-48 * time.Hour), Table: table, Columns: []string{"phone"},
		}},
		Claims: []change.Claim{{Service: "billing", Table: table, Columns: []string{"id", "street"}, Rollout: "4b1c-77c0de", Since: s.now.Add(-72 * time.Hour)}},
	}
	return v
}
