package database_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Who owns a partitioned table goes on making and attaching partitions at every
// step, although the triggers' functions are another role's.
func TestTheOwnerMakesPartitionsMeanwhile(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	owner := s.role(t, "owner")
	s.exec(t, `grant create on schema public to `+owner)
	owned := s.connect(t)
	do := func(sql string) {
		t.Helper()
		if _, err := owned.Exec(t.Context(), sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	do(`set role ` + owner)
	do(`create table event (id int, day int, kind text, memo text, primary key (id, day)) partition by range (day);
		create table event_0 partition of event for values from (0) to (1);
		insert into event select i, 0, 'k' || i, 'm' from generate_series(1, 50) i`)
	c := parse(t, "0001-event", `name: x
table: event
quiet_for: 0s
expand:
  - add_column: {name: sort, type: text}
sync:
  forward: {sort: kind}
  backward: {kind: sort}
contract:
  - drop_column: kind
  - drop_column: memo
`)
	n := 0
	for _, step := range append(change.ExpandSteps(c), change.ContractSteps(c)...) {
		s.run(t, c, []change.Step{step})
		n += 2
		do(fmt.Sprintf(`create table event_%[1]d partition of event for values from (%[1]d) to (%[1]d + 1)`, n))
		do(fmt.Sprintf(`create table event_%[1]d (like event); alter table event attach partition event_%[1]d for values from (%[1]d) to (%[1]d + 1)`, n+1))
		column := "kind"
		if step.Kind == change.Drop {
			column = "sort"
		}
		do(fmt.Sprintf(`insert into event (id, day, %s) values (%[2]d, %[2]d, 'new'), (%[2]d, %[2]d + 1, 'new')`, column, n))
	}
	if wrong := one[int](t, s, `select count(*) from event where sort is null`); wrong > 0 {
		t.Errorf("%d rows have no new form", wrong)
	}
}

// Who owns the table alone, and may make nothing in its schema, is told so at
// plan, or can do the whole change.
func TestAnOwnerWhoMayMakeNothingInTheSchema(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	migrator := s.role(t, "migrator")
	s.exec(t, fmt.Sprintf(`grant create on database %s to %s; revoke create on schema public from public`, pgx.Identifier{one[string](t, s, `select current_database()`)}.Sanitize(), migrator))
	may := `the role may not create anything in schema "public", where the index`
	for _, k := range []struct{ name, body, refused string }{
		{"columns", plainExample, ""},
		{"index", example, may},
		{"column with index", "contract:\n  - drop_column: phone\n", may},
		{"unique", "contract:\n  - add_unique: {name: u, columns: [id, phone]}\n", may},
		{"unique, dropped", "expand:\n  - drop_constraint: {name: one_phone, because: x}\n", may},
		{"unique, dropped in contract", "contract:\n  - drop_constraint: {name: one_phone, because: x}\n", may},
		{"index, dropped", "contract:\n  - drop_index: by_phone\n", may},
	} {
		t.Run(k.name, func(t *testing.T) {
			s.exec(t, `drop table if exists address; drop schema if exists gapless cascade`)
			s.addresses(t, 10)
			s.exec(t, `update address set phone = id; create index by_phone on address (phone); alter table address add constraint one_phone unique (phone); alter table address owner to `+migrator)
			db, err := database.Open(t.Context(), s.as(t, migrator), database.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(k.body, "name:") {
				k.body = "name: x\ntable: address\nquiet_for: 0s\n" + k.body
			}
			c := parse(t, exampleID, k.body)
			facts, err := db.Inspect(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if len(facts.Refusals) > 0 {
				if len(facts.Refusals) != 1 || k.refused == "" || !strings.Contains(facts.Refusals[0], k.refused) {
					t.Errorf("refused: %q", facts.Refusals)
				}
				return
			}
			for _, step := range append(change.ExpandSteps(c), change.ContractSteps(c)...) {
				if _, err := db.Apply(t.Context(), c, step, nil); err != nil {
					t.Fatalf("%s %v", step.Part, err)
				}
			}
			if k.refused != "" {
				// Nothing is begun that could not be ended.
				_, err := db.Apply(t.Context(), c, change.RestoreSteps(c)[0], nil)
				var refused *database.RefusedError
				if !errors.As(err, &refused) || !strings.Contains(err.Error(), k.refused) || !strings.Contains(refused.Hint(), `grant create on schema "public"`) {
					t.Errorf("%v", err)
				}
				if state, _, err := db.State(t.Context(), c.ID); err != nil || state != rollout.Contracted {
					t.Errorf("%s %v", state, err)
				}
				s.exec(t, `grant create on schema public to `+migrator)
			}
			for _, step := range change.RestoreSteps(c) {
				if _, err := db.Apply(t.Context(), c, step, nil); err != nil {
					t.Errorf("%s %v", step.Part, err)
				}
			}
			s.exec(t, `revoke create on schema public from `+migrator)
		})
	}
}
