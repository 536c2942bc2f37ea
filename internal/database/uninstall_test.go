package database_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

const leftovers = `select (select count(*) from pg_namespace where nspname = 'gapless') + (select count(*) from pg_trigger where tgname like '~gapless%')`

func TestUninstallLeavesNothingButWhatWasArchived(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.db = s.of(t, "address-book")
	c := parse(t, exampleID, example)
	for _, drop := range []bool{false, false, true} {
		s.exec(t, `drop table if exists address`)
		s.addresses(t, 10)
		s.expand(t, c)
		var held *database.HeldError
		if _, err := s.db.Uninstall(t.Context(), "", drop); !errors.As(err, &held) || !strings.Contains(err.Error(), "change "+exampleID+" of service address-book is expanded since") {
			t.Fatalf("%v", err)
		}
		s.contract(t, c)
		removed, err := s.db.Uninstall(t.Context(), "", drop)
		if err != nil {
			t.Fatalf("%v (%s)", err, rollout.HintOf(err))
		}
		if len(removed.Gone) == 0 || (removed.Kept == "") != drop || one[int](t, s, leftovers) > 0 {
			t.Fatalf("removed %+v", removed)
		}
		if drop {
			continue
		}
		archive := one[string](t, s, `select archive_table from `+removed.Kept+`.archive`)
		if n := one[int](t, s, `select count(*) from `+archive); n != 10+len(oddStreets) {
			t.Errorf("%d rows are in %s", n, archive)
		}
		if n := one[int](t, s, `select count(*) from `+removed.Kept+`.log where change = $1`, exampleID); n == 0 {
			t.Error("the log is gone")
		}
	}
	if n := one[int](t, s, `select count(*) from pg_namespace where nspname like 'gapless%'`); n != 2 {
		t.Errorf("%d schemas are left, want the archives of the two that kept them", n)
	}
	if removed, err := s.db.Uninstall(t.Context(), "", false); err != nil || len(removed.Gone) > 0 {
		t.Errorf("once more: %+v, %v", removed, err)
	}
}

// A service that is no more gives its claims back; while it has one nobody takes
// gapless away.
func TestUninstallOfOneService(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.addresses(t, 10)
	book, billing := s.of(t, "address-book"), s.of(t, "billing")
	if err := billing.ClaimUses(t.Context(), "b1", []change.Use{{Table: "address"}}); err != nil {
		t.Fatal(err)
	}
	_, err := book.Uninstall(t.Context(), "", false)
	if err == nil || !strings.Contains(err.Error(), `service billing uses table "public"."address" since`) || !strings.Contains(rollout.HintOf(err), "uninstall --service") {
		t.Fatalf("%v (%s)", err, rollout.HintOf(err))
	}
	removed, err := book.Uninstall(t.Context(), "billing", false)
	if err != nil || len(removed.Gone) != 1 {
		t.Fatalf("%+v, %v", removed, err)
	}
	if removed, err = book.Uninstall(t.Context(), "", false); err != nil || one[int](t, s, leftovers) > 0 || removed.Kept != "" {
		t.Fatalf("%+v, %v", removed, err)
	}
}

// What was archived of a table that was dropped makes it again after an
// uninstall, too, by hand.
func TestADroppedTableComesBackByHandAfterAnUninstall(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.db = s.of(t, "address-book")
	s.exec(t, `create table person (id serial primary key, name text, city text);
		create index by_name on person (name); create statistics "name's city" on name, city from person;
		insert into person (name, city) values ('a', 'gapless.kept')`)
	before := s.dump(t)
	c := parse(t, "0001-person", "name: x\ntable: person\nquiet_for: 0s\ncontract:\n  - drop_table: true\n")
	s.expand(t, c)
	s.contract(t, c)
	removed, err := s.db.Uninstall(t.Context(), "", false)
	if err != nil {
		t.Fatalf("%v (%s)", err, rollout.HintOf(err))
	}
	s.exec(t, one[string](t, s, `select definition from `+removed.Kept+`.archived_definition where kind = 'table'`))
	if n := one[int](t, s, `select count(*) from person`); n != 1 {
		t.Errorf("%d rows", n)
	}
	s.exec(t, `drop schema `+removed.Kept+` cascade`)
	if after := s.dump(t); after != before {
		t.Errorf("it is another:\n%s\n%s", before, after)
	}
}
