package database_test

import (
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

// What fills and refills rows for one change passes by the triggers of another
// on the same table: it notes no use of the other's old form, keeps nothing of
// it aside and leaves its values as they are.
func TestChangesOnOneTableLeaveEachOtherAlone(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.addresses(t, 500)
	first := parse(t, exampleID, strings.Replace(plainExample, "quiet_for: 24h", "quiet_for: 0s", 1))
	second := parse(t, "0008-phone", `name: x
table: address
quiet_for: 0s
expand:
  - add_column: {name: call, type: text}
  - add_column: {name: token, type: uuid, default: gen_random_uuid()}
sync:
  forward: {call: "'+' || phone"}
  backward: {phone: "substr(call, 2)"}
contract:
  - drop_column: phone
`)
	s.expand(t, first)
	// One row is unlike f of the old form, but like g of the new one.
	s.exec(t, `update address set street_name = 'Main St 12', house_number = null where id = 1`)
	const others = `select string_agg(format('%s|%s|%s|%s', id, street, street_name, house_number), ',' order by id) from address`
	before := one[string](t, s, others)
	undisturbed := func(when string) {
		t.Helper()
		if after := one[string](t, s, others); after != before {
			t.Errorf("%s: the first change's columns are others", when)
		}
		if n := one[int](t, s, `select (select count(*) from gapless.old_form_write where change = $1) + (select count(*) from gapless.kept where change = $1)`, exampleID); n > 0 {
			t.Errorf("%s: %d notes or kept values of the first change", when, n)
		}
	}
	s.exec(t, `delete from gapless.kept`)
	s.expand(t, second)
	undisturbed("expanded")
	s.contract(t, second)
	s.run(t, second, change.RestoreSteps(second))
	undisturbed("restored")
	s.run(t, second, change.RevertSteps(second))
	undisturbed("taken back")
	s.contract(t, first)
}
