package database_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// tableDefinition is the table as everybody sees it: columns, indexes, triggers
// and constraints.
const tableDefinition = `select string_agg(line, E'\n' order by line) from (
	select format('%s %s %s', attname, format_type(atttypid, atttypmod), attnotnull) as line from pg_attribute where attrelid = 'address'::regclass and attnum > 0 and not attisdropped
	union all select indexdef from pg_indexes where tablename = 'address'
	union all select tgname from pg_trigger where tgrelid = 'address'::regclass
	union all select conname from pg_constraint where conrelid = 'address'::regclass) as lines`

// plainExample is the example without its index.
var plainExample = strings.Replace(example, "  - create_index: {columns: [street_name]}\n", "", 1)

// The way back leads from every step of expand, also one that was never begun,
// to the table as it was; and a corrected file then goes under the same name.
func TestExpandIsTakenBackFromEveryStep(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	c := parse(t, exampleID, plainExample)
	steps := change.ExpandSteps(c)
	for _, n := range []int{0, 2, len(steps)} { // restore_test.go has them all
		t.Run(fmt.Sprintf("after %d steps", n), func(t *testing.T) {
			s.reset(t)
			s.addresses(t, 50)
			before := one[string](t, s, tableDefinition)
			s.run(t, c, steps[:n])
			back := change.RevertSteps(c)
			for i := range back { // each step is repeated, as after a kill
				s.run(t, c, back[:1+i])
			}
			s.run(t, c, back)
			if after := one[string](t, s, tableDefinition); after != before {
				t.Errorf("the table is\n%s\nit was\n%s", after, before)
			}
			if state, _, err := s.db.State(t.Context(), exampleID); err != nil || state != rollout.Absent {
				t.Fatalf("%s, %v", state, err)
			}
			if n == 0 {
				return
			}
			left := one[int](t, s, `select (select count(*) from gapless.step) + (select count(*) from gapless.checkpoint) + (select count(*) from gapless.kept) +
				(select count(*) from pg_proc where pronamespace = 'gapless'::regnamespace and proname ~ '0007')`)
			if left > 0 {
				t.Errorf("%d rows and functions of the change are left", left)
			}
			if n == len(steps) && one[int](t, s, `select count(*) from gapless.log where change = $1`, exampleID) == 0 {
				t.Error("the log has forgotten it")
			}
			corrected := parse(t, exampleID, plainExample+"# corrected\n")
			s.expand(t, corrected)
			s.contract(t, corrected)
		})
	}
}

// What the candidate wrote goes into the archive before its columns go, and no
// step of expand follows once the way back was begun.
func TestWhatTheCandidateWroteIsArchived(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.addresses(t, 50)
	c := parse(t, exampleID, plainExample)
	s.expand(t, c)
	s.exec(t, `update address set street_name = 'Elm', house_number = '7' where id = 30`)
	s.exec(t, `insert into address (street_name, house_number) values ('Oak', '9')`)
	back := change.RevertSteps(c)
	s.run(t, c, back[:1])
	var refused *database.RefusedError
	if _, err := s.db.Apply(t.Context(), c, change.ExpandSteps(c)[1], nil); !errors.As(err, &refused) {
		t.Fatalf("%v", err)
	}
	s.run(t, c, back)
	archive := one[string](t, s, `select archive_table from gapless.archive where change = $1`, exampleID)
	if got := one[string](t, s, `select string_agg(street_name || ' ' || house_number, ', ' order by street_name) from `+archive+` where street_name in ('Elm', 'Oak')`); got != "Elm 7, Oak 9" {
		t.Errorf("archived are %q", got)
	}
	if got := one[string](t, s, `select string_agg(street, ', ' order by street) from address where street ~ '^(Elm|Oak)'`); got != "Elm 7, Oak 9" {
		t.Errorf("the old form is %q", got)
	}
}

// An edited file says how it gets in.
func TestTheHintOfAnEditedFile(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.addresses(t, 10)
	s.expand(t, parse(t, exampleID, plainExample))
	_, err := s.db.Inspect(t.Context(), parse(t, exampleID, plainExample+"# edited\n"))
	if hint := rollout.HintOf(err); !strings.Contains(hint, "gapless rollback --schema revert") {
		t.Errorf("%v (%s)", err, hint)
	}
}
