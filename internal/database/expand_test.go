package database_test

import (
	"testing"

	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

func TestExpandGivesEveryRowItsNewFormAndLeavesTheOldOne(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.addresses(t, 3000)
	c := parse(t, exampleID, example)
	facts, err := s.db.Inspect(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(facts.Refusals) > 0 || facts.State != rollout.Absent || facts.StructureDigest == "" {
		t.Fatalf("%+v", facts)
	}
	const old = `select md5(string_agg(format('%s|%L|%L', id, street, phone), E'\n' order by id)) from address`
	before := one[string](t, s, old)
	for range 2 { // the second time changes nothing
		e := s.expand(t, c)
		if !e.Passed() || e.Violations+e.Lossy+e.Unmapped != 0 || e.Rows != int64(3000+len(oddStreets)) {
			t.Fatalf("%+v", e)
		}
		if after := one[string](t, s, old); after != before {
			t.Fatal("an old column changed")
		}
		if n := one[int](t, s, `select count(*) from address where (street is null) <> (street_name is null)`); n != 0 {
			t.Errorf("%d rows without their new form", n)
		}
	}
	state, digest, err := s.db.State(t.Context(), exampleID)
	if err != nil || state != rollout.Expanded || digest != c.Digest {
		t.Errorf("%v %v %v", state, digest, err)
	}
	again, err := s.db.Inspect(t.Context(), c)
	if err != nil || again.StructureDigest != facts.StructureDigest || len(again.Refusals) > 0 {
		t.Errorf("after expand: %v %+v", err, again)
	}
	if !one[bool](t, s, `select indisvalid from pg_index where indexrelid = 'address_street_name_idx'::regclass`) {
		t.Error("the index is not valid")
	}
}

func TestContractArchivesAndDrops(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.addresses(t, 3000)
	s.exec(t, `create index on address (street); create index two on address (phone, street)`)
	c := parse(t, exampleID, example)
	s.expand(t, c)
	s.exec(t, `update address set street_name = 'New', house_number = '1' where id = 5`)
	want := one[string](t, s, `select string_agg(format('%s|%L|%L|%L', id, street, street_name, house_number), ' ' order by id) from address`)
	e := s.contract(t, c)
	if e.ArchiveRows != int64(3000+len(oddStreets)) || e.ArchiveSum == "" {
		t.Errorf("%+v", e)
	}
	got := one[string](t, s, `select string_agg(format('%s|%L|%L|%L', id, street, street_name, house_number), ' ' order by id) from `+e.ArchiveTable)
	if got != want {
		t.Error("the archive is not what the table held")
	}
	if again := s.contract(t, c); again.ArchiveSum != e.ArchiveSum {
		t.Errorf("%+v", again)
	}
	t.Logf("%+v", e)
}
