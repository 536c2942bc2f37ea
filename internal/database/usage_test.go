package database_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/database"
)

func TestQuietBeginsWithTheLastWriteOfTheOldForm(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.addresses(t, 10)
	c := parse(t, exampleID, strings.Replace(example, "quiet_for: 24h", "quiet_for: 1m", 1))
	u, err := s.db.Usage(t.Context(), c, time.Time{})
	if err != nil || u.Quiet || len(u.Unknown) == 0 {
		t.Errorf("before expand: %v %+v", err, u)
	}
	s.expand(t, c)
	look := func(since time.Time) (quiet bool, writers int) {
		t.Helper()
		u, err := s.db.Usage(t.Context(), c, since)
		if err != nil {
			t.Fatal(err)
		}
		return u.Quiet, len(u.LastWriters)
	}
	// The new form's writers are not noted, whatever they do to the old one.
	s.exec(t, `update address set street_name = 'Big Road' where id = 1; insert into address (street_name) values ('x'); update address set phone = 'p'`)
	if quiet, writers := look(time.Time{}); quiet || writers != 0 {
		t.Errorf("just expanded: %v %d", quiet, writers)
	}
	s.exec(t, `update gapless.change set expanded_at = now() - interval '2 minutes'`)
	if quiet, _ := look(time.Time{}); !quiet {
		t.Error("nobody wrote the old form for two minutes")
	}
	if quiet, _ := look(time.Now()); quiet {
		t.Error("quiet is counted from when the old revision was retired")
	}
	for _, write := range []string{
		`update address set street = street where id = 1`, `update address set street = 'x' where false`,
		`insert into address (street) values ('Main 1')`,
		`insert into address (id, street) values (1, 'Main 1') on conflict (id) do update set street = excluded.street`,
		`copy address (street) from program 'echo Main 1'`,
	} {
		s.exec(t, `truncate gapless.old_form_write; select set_config(name, '0', false) from pg_settings where name like 'gapless.noted%'`)
		s.app = s.connect(t) // another session
		s.exec(t, write)
		if quiet, writers := look(time.Time{}); quiet || writers != 1 {
			t.Errorf("%s: %v, %d writers", write, quiet, writers)
		}
	}
	s.exec(t, `update gapless.old_form_write set at = at - interval '2 minutes'`)
	if quiet, _ := look(time.Time{}); !quiet {
		t.Error("the last write was two minutes ago")
	}
	s.contract(t, c)
	if u, err := s.db.Usage(t.Context(), c, time.Time{}); err != nil || !u.Quiet {
		t.Errorf("after contract: %v %+v", err, u)
	}
}

// Statements that name the old form are told by how often they ran, where the
// server counts them; where it does not, that is said.
func TestStatementsThatNameTheOldForm(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.addresses(t, 10)
	c := parse(t, exampleID, strings.Replace(example, "quiet_for: 24h", "quiet_for: 1m", 1))
	s.expand(t, c)
	if _, err := s.app.Exec(t.Context(), `create extension pg_stat_statements; select count(*) from pg_stat_statements`); err != nil {
		u, err := s.db.Usage(t.Context(), c, time.Time{})
		if err != nil || !slices.ContainsFunc(u.Unknown, func(s string) bool { return strings.Contains(s, "pg_stat_statements") }) {
			t.Errorf("%v %+v", err, u)
		}
		return
	}
	s.exec(t, `select street from address where id = 5 and phone = 'secret'`)
	u, err := s.db.Usage(t.Context(), c, time.Time{})
	if err != nil || len(u.Statements) == 0 || strings.Contains(strings.Join(u.Statements, ""), "secret") {
		t.Fatalf("%v %+v", err, u)
	}
	s.exec(t, `update gapless.statement_seen set used_at = used_at - interval '2 minutes'; update gapless.change set expanded_at = now() - interval '2 minutes'`)
	if u, err = s.db.Usage(t.Context(), c, time.Time{}); err != nil || !u.Quiet || len(u.Statements) != 0 {
		t.Errorf("%v %+v", err, u)
	}
	s.exec(t, `select street from address where id = 5 and phone = 'secret'`)
	if u, err = s.db.Usage(t.Context(), c, time.Time{}); err != nil || u.Quiet || len(u.Statements) != 1 {
		t.Errorf("%v %+v", err, u)
	}
	s.exec(t, `select pg_stat_statements_reset()`)
	if u, err = s.db.Usage(t.Context(), c, time.Time{}); err != nil || u.Quiet || len(u.Unknown) == 0 {
		t.Errorf("after a reset: %v %+v", err, u)
	}
}
