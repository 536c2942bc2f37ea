package database_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

// parted is partitioned twice over; one partition has its columns in another
// order.
const parted = `
	create schema "My Shop";
	create table "My Shop"."Event" ("Id" int, day int, kind text, note text, primary key ("Id", day)) partition by range (day);
	create table "My Shop"."E 1" partition of "My Shop"."Event" for values from (0) to (10);
	create table "My Shop".e2 (note text, kind text, day int not null, "Id" int not null);
	alter table "My Shop"."Event" attach partition "My Shop".e2 for values from (10) to (20);
	create table "My Shop".e3 partition of "My Shop"."Event" for values from (20) to (30) partition by list (day);
	create table "My Shop".e3a partition of "My Shop".e3 for values in (21, 22, 23);
	create table "My Shop".e3b partition of "My Shop".e3 default;
	insert into "My Shop"."Event" select i, i % 30, 'k' || i, case when i % 5 > 0 then 'n' end from generate_series(1, 300) i`

// On partitioned tables indexes are built part by part, and everything holds for
// partitions that are made meanwhile.
func TestOperationsOnPartitionedTables(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, body, holds string
		contract          bool
	}{{
		name: "expand",
		body: `expand:
  - add_column: {name: token, type: uuid, default: gen_random_uuid(), not_null: true}
  - add_column: {name: size, type: int, default: "3"}
  - add_check: {name: sized, expression: size > 0}
  - create_index: {name: "By Kind", on: ["lower(kind)"], where: "day > 3"}
  - set_default: {column: note, value: "'new'"}
`,
		holds: `select (select count(distinct token) = 300 from "My Shop"."Event") and (select count(*) = 6 from pg_index
			where indisvalid and pg_get_indexdef(indexrelid) like '%lower(kind)%')`,
	}, {
		name: "contract", contract: true,
		body: `contract:
  - set_not_null: {column: note, fill: kind}
  - add_unique: {name: "One Kind", columns: [kind, day]}
  - create_index: {columns: [note]}
`,
		holds: `select (select count(note) = 300 from "My Shop"."Event") and (select count(*) = 6 from pg_constraint where contype = 'u' and pg_get_constraintdef(oid) like '%kind, day%')
			and (select bool_and(indisvalid) from pg_index where indrelid::regclass::text ~ '^"My Shop"')`,
	}}
	s := newStage(t, database.Options{})
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			c, err := change.Parse("0001-events.yaml", []byte("name: x\ntable: '\"My Shop\".Event'\nquiet_for: 0s\n"+k.body))
			if err != nil {
				t.Fatal(err)
			}
			s.exec(t, `drop schema if exists "My Shop" cascade; drop schema if exists gapless cascade`)
			s.exec(t, parted)
			before := s.shape(t)
			facts, err := s.db.Inspect(t.Context(), c)
			if err != nil || len(facts.Refusals) > 0 {
				t.Fatalf("%v %q", err, facts.Refusals)
			}
			steps := change.ExpandSteps(c)
			if k.contract {
				s.expand(t, c)
				steps = change.ContractSteps(c)
			} else {
				s.begin(t, c)
				steps = steps[1:]
			}
			// Killed each time a little later, with a partition more each time.
			n := int64(1)
			for ; s.killed(t, c, steps, 3*n); n++ {
				s.exec(t, fmt.Sprintf(`create table "My Shop".more%[1]d partition of "My Shop".e3 for values in (%[2]d)`, n, 100+n))
				s.exec(t, fmt.Sprintf(`drop table "My Shop".more%d`, n))
			}
			if !one[bool](t, s, k.holds) {
				t.Fatalf("does not hold, after %d interruptions:\n%s", n-1, s.shape(t))
			}
			want := s.shape(t)
			s.run(t, c, steps)
			s.same(t, "repeated", want)
			s.exec(t, `create table "My Shop".later partition of "My Shop".e3 for values in (500)`)
			if later := s.shape(t); k.contract && strings.Count(later, `"My Shop".later constraint later_kind_day_key`) != 1 {
				t.Errorf("a later partition has no such constraint:\n%s", later)
			}
			s.exec(t, `drop table "My Shop".later`)
			if !k.contract {
				s.takeBack(t, c)
				s.same(t, "undone", before)
			}
		})
	}
}
