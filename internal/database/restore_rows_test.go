package database_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Rows that were written since contract and do not keep to what it dropped are
// told of before the way back begins, and not when half of it is done.
func TestRestoreTellsOfRowsInItsWayFirst(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.addresses(t, 20)
	s.exec(t, `alter table address add constraint short check (length(phone) < 6), add constraint known check (street <> 'nowhere')`)
	body := strings.Replace(plainExample, "quiet_for: 24h", "quiet_for: 0s", 1)
	c := parse(t, exampleID, strings.Replace(body, "contract:\n", "contract:\n  - drop_constraint: {name: short, because: x}\n  - drop_constraint: {name: known, because: x}\n", 1))
	s.expand(t, c)
	expanded := one[string](t, s, tableDefinition)
	s.contract(t, c)
	s.exec(t, `update address set phone = 'far too long' where id = 3`)
	_, err := s.db.Apply(t.Context(), c, change.RestoreSteps(c)[0], nil)
	var refused *database.RefusedError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), `"short"`) || !strings.Contains(refused.Hint(), "these rows") {
		t.Errorf("%v\nhint: %s", err, rollout.HintOf(err))
	}
	if state, _, err := s.db.State(t.Context(), c.ID); err != nil || state != rollout.Contracted {
		t.Errorf("%s %v", state, err)
	}
	s.exec(t, `update address set phone = 'x' where id = 3`)
	s.run(t, c, change.RestoreSteps(c))
	if after := one[string](t, s, tableDefinition); after != expanded {
		t.Errorf("the table is\n%s\nit was\n%s", after, expanded)
	}
}
