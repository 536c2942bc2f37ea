package database_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

// The obvious mapping loses something of the odd streets: expand says of how
// many rows and which, by key, never by value.
func TestALossyMappingIsFound(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.addresses(t, 100)
	c := parse(t, exampleID, lossy)
	err := applyAll(t.Context(), s, c)
	var unverified *change.UnverifiedError
	if !errors.As(err, &unverified) {
		t.Fatalf("%v", err)
	}
	want := one[int64](t, s, `select count(*) from address where street is distinct from
		(select case when n is null and h is null then null else concat_ws(' ', n, h) end
		 from (select regexp_replace(street, '\s+\d+\s*[a-zA-Z]?$', '') n, substring(street from '(\d+\s*[a-zA-Z]?)$') h) m)`)
	e := unverified.Evidence
	if e.Lossy != want || want < 5 || e.Violations != 0 || len(e.Keys) == 0 || e.Passed() {
		t.Errorf("want %d lossy rows: %+v", want, e)
	}
	if strings.Contains(err.Error(), "Route66") || unverified.Hint() == "" {
		t.Errorf("%v", err)
	}
}

const numbers = `name: a number that was text
table: address
expand:
  - add_column: {name: n, type: integer}
sync:
  forward: {n: "street::integer"}
  backward: {street: "n::text"}
verify: {lossy_max: 100}
`

// Rows for which the mapping raises stay without a new form, are noted once and
// hold the release until someone corrects them.
func TestUnmappedRowsHold(t *testing.T) {
	s := newStage(t, database.Options{})
	s.exec(t, `create table address (id int primary key, street text)`)
	s.exec(t, `insert into address select i, i::text from generate_series(1, 2000) i`)
	s.exec(t, `update address set street = 'none' where id in (7, 1500)`)
	c := parse(t, exampleID, numbers)
	var unverified *change.UnverifiedError
	for range 2 {
		err := applyAll(t.Context(), s, c)
		if !errors.As(err, &unverified) {
			t.Fatal(err)
		}
		if e := unverified.Evidence; e.Unmapped != 2 || e.Violations != 0 || strings.Join(e.Keys, " ") != "7 1500" {
			t.Errorf("%+v", e)
		}
		if n := one[int](t, s, `select count(*) from gapless.kept where why = 'unmapped'`); n != 2 {
			t.Errorf("noted %d times", n)
		}
	}
	if n := one[int](t, s, `select count(*) from address where n is not null`); n != 1998 {
		t.Errorf("%d rows have their new form", n)
	}
	s.exec(t, `update address set street = '9' where street = 'none'`)
	s.expand(t, c)
}

// What was written past the trigger is found, and what only lacks its new form
// is put right by expand.
func TestVerifyFindsWhatWentPastTheTrigger(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.addresses(t, 100)
	c := parse(t, exampleID, example)
	steps := change.ExpandSteps(c)
	s.run(t, c, steps[:len(steps)-1])
	s.exec(t, `set session_replication_role = replica; alter table address disable trigger user`)
	s.exec(t, `update address set street_name = null, house_number = null where id = 40`)
	s.exec(t, `alter table address enable always trigger "~gapless_0007-split-street_ins"`)
	s.exec(t, `alter table address enable always trigger "~gapless_0007-split-street_upd"`)
	s.exec(t, `alter table address enable always trigger "~gapless_0007-split-street_old"`)
	s.exec(t, `reset session_replication_role`)
	if e, err := s.db.Verify(t.Context(), c, change.ScopeExpand); err != nil || e.Violations != 1 || strings.Join(e.Keys, "") != "40" {
		t.Fatalf("%v %+v", err, e)
	}
	if e := s.run(t, c, steps[len(steps)-1:]); e.Repaired != 1 || !e.Passed() {
		t.Errorf("%+v", e)
	}
	s.exec(t, `set gapless.backfill = '0007-split-street'; update address set street = 'changed unseen 1' where id = 41; reset gapless.backfill`)
	e, err := s.db.Verify(t.Context(), c, change.ScopeRelease)
	if err != nil || e.Violations != 1 || strings.Join(e.Keys, "") != "41" || e.Passed() {
		t.Errorf("%v %+v", err, e)
	}
	s.exec(t, `drop trigger "~gapless_0007-split-street_old" on address`)
	if e, err = s.db.Verify(t.Context(), c, change.ScopeRelease); err != nil || len(e.Failed()) != 2 {
		t.Errorf("%v %+v", err, e.Failed())
	}
}

func TestAQuestionWithAnotherAnswerFails(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.addresses(t, 10)
	questions := map[string]string{
		"select 1":                             "1, allowed 0",
		"select count(*) from nobody":          `relation "nobody" does not exist`,
		"select 0 where false":                 "it gave no row",
		"select nextval('address_id_seq') * 0": "read-only transaction",
		"select 1 / 0":                         "division by zero",
	}
	for sql, want := range questions {
		t.Run(sql, func(t *testing.T) {
			c := parse(t, exampleID, "name: ask\ntable: address\nexpand: [{add_column: {name: extra, type: text}}]\nverify: {checks: [{name: q, sql: \""+sql+"\", expect: 0}]}\n")
			s.exec(t, `drop schema if exists gapless cascade; alter table address drop column if exists extra`)
			err := applyAll(t.Context(), s, c)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("want %q: %v", want, err)
			}
		})
	}
}
