package database_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/pgtest"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// rewriting rewrites a table by plain SQL.
const rewriting = `name: wider numbers
expand:
  - sql: {run: 'alter table address alter phone type bigint using 1', undo: 'alter table address alter phone type text'}
`

// rehearsable is a database whose schema a copy must take over: quoted names,
// functions with semicolons, triggers, other schemas, and rows, which it must not.
func rehearsable(t *testing.T) *stage {
	t.Helper()
	s := newStage(t, database.Options{})
	s.addresses(t, 3)
	s.exec(t, `create schema sales; create table sales."Order" (id int primary key, address bigint references address);
		create function sales.touch() returns trigger language plpgsql as $$ begin new.id := new.id; return new; end $$;
		create trigger touch before update on sales."Order" for each row execute function sales.touch();
		create view sales.v as select street from address where street <> ';'`)
	return s
}

// rehearse rehearses on a copy, or skips the test where the server's pg_dump is
// not there, which is told plainly then.
func rehearse(t *testing.T, s *stage, changes ...change.Change) []change.Rehearsal {
	t.Helper()
	all, err := s.db.Rehearse(t.Context(), changes, "")
	if refused, ok := errors.AsType[*database.UnrehearsedError](err); ok && strings.Contains(err.Error(), "pg_dump") {
		if !strings.Contains(refused.Hint(), "--rehearse-on") {
			t.Errorf("no way out: %q", refused.Hint())
		}
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("%v\nhint: %s", err, rollout.HintOf(err))
	}
	return all
}

// told shows what a rehearsal saw.
func told(r change.Rehearsal) string {
	var b strings.Builder
	for _, s := range r.Statements {
		b.WriteString(string(s.Part) + " " + s.Step + ": " + s.Statement + ":")
		for _, l := range s.Locks {
			b.WriteString(" " + l.String() + ",")
		}
		if len(s.Rewrites) > 0 {
			b.WriteString(" rewrites " + strings.Join(s.Rewrites, ", "))
		}
		b.WriteString("\n")
	}
	return b.String() + r.Skipped + r.Failed
}

func copies(t *testing.T, s *stage) int {
	t.Helper()
	return one[int](t, s, `select count(*)::int from pg_database where datname like 'gapless_rehearsal%'`)
}

func TestRehearsalTellsLocksAndRewrites(t *testing.T) {
	s := rehearsable(t)
	s.exec(t, `drop view sales.v`)
	all := rehearse(t, s, parse(t, exampleID, example), parse(t, "0008-wider", rewriting))
	got := told(all[0])
	for _, want := range []string{
		"expand add_columns: alter table public.address add column",
		"access exclusive on public.address",
		"expand sync: create or replace trigger",
		"share row exclusive on public.address",
		"create_index/street_name: create index concurrently",
		"revert undo/add_columns: alter table public.address drop column",
		"contract drop: alter table public.address drop column street",
	} {
		if !strings.Contains(strings.ReplaceAll(strings.ToLower(got), `"`, ""), want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for _, refusal := range all[0].Refusals {
		if !strings.Contains(refusal, "held its lock") { // on a busy machine
			t.Errorf("refused: %v", refusal)
		}
	}
	got = told(all[1])
	if !strings.Contains(got, "alter table address alter phone type bigint using 1: access exclusive on public.address, share on public.address, rewrites public.address") {
		t.Errorf("no rewrite in\n%s", got)
	}
	refusals := all[1].Refusals
	if len(refusals) == 0 || !strings.Contains(refusals[0], "rewrites table public.address") {
		t.Errorf("refusals %q", refusals)
	}
	// Nothing has happened to the database, and nothing is left beside it.
	if one[bool](t, s, `select to_regnamespace('gapless') is not null or exists (select from information_schema.columns where column_name = 'street_name')`) {
		t.Error("the rehearsal changed the database itself")
	}
	if n := copies(t, s); n != 0 {
		t.Errorf("%d copies are left", n)
	}
}

func TestRehearsalTellsWhatFails(t *testing.T) {
	s := rehearsable(t)
	const failing = "name: fails\nexpand:\n  - sql: {run: 'create table n (a int); alter table n add check (no_such > 0)', undo: 'drop table n'}\n"
	all := rehearse(t, s, parse(t, "0009-fails", failing))
	if !strings.Contains(all[0].Failed, "no_such") || len(all[0].Refusals) == 0 {
		t.Errorf("%+v", all[0])
	}
	if n := copies(t, s); n != 0 {
		t.Errorf("%d copies are left", n)
	}
}

func TestRehearsalSkipsWhatIsUnderWay(t *testing.T) {
	s := rehearsable(t)
	s.exec(t, `drop view sales.v`)
	c := parse(t, exampleID, example)
	s.expand(t, c)
	refused := parse(t, "0010-refused", strings.ReplaceAll(example, "street_name", "phone"))
	all, err := s.db.Rehearse(t.Context(), []change.Change{c, refused}, "")
	if err != nil || !strings.Contains(all[0].Skipped, "expanded") || !strings.Contains(all[1].Skipped, "refuses") {
		t.Errorf("%v, %+v", err, all)
	}
}

// A copy that a killed run left goes after a day, and not before.
func TestRehearsalSweeps(t *testing.T) {
	s := rehearsable(t)
	old := "gapless_rehearsal_" + time.Now().Add(-25*time.Hour).UTC().Format("20060102t150405") + "_dead"
	recent := "gapless_rehearsal_" + time.Now().Add(-time.Hour).UTC().Format("20060102t150405") + "_beef"
	for _, name := range []string{old, recent} {
		s.exec(t, "create database "+name+" template template0")
		t.Cleanup(func() {
			if _, err := s.app.Exec(context.Background(), "drop database if exists "+name); err != nil {
				t.Error(err)
			}
		})
	}
	rehearse(t, s, parse(t, "0008-wider", rewriting))
	if n := one[int](t, s, `select count(*)::int from pg_database where datname in ($1, $2)`, old, recent); n != 1 {
		t.Errorf("%d of the two are left, want the recent one", n)
	}
}

func TestRehearsalStopsWhenCancelled(t *testing.T) {
	s := rehearsable(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	go func() {
		for ctx.Err() == nil {
			conn, err := pgx.Connect(t.Context(), s.url)
			if err != nil {
				continue
			}
			var there bool
			err = conn.QueryRow(t.Context(), `select exists (select from pg_database where datname like 'gapless_rehearsal%')`).Scan(&there)
			if err := conn.Close(t.Context()); err != nil || there {
				cancel(stop)
			}
			_ = err
		}
	}()
	_, err := s.db.Rehearse(ctx, []change.Change{parse(t, "0008-wider", rewriting)}, "")
	if err == nil {
		t.Error("it did not end")
	}
	cancel(nil)
	if n := copies(t, s); n != 0 {
		t.Errorf("%d copies are left", n)
	}
}

func TestRehearsalOnAScratchDatabase(t *testing.T) {
	s := newStage(t, database.Options{})
	s.addresses(t, 3)
	changes := []change.Change{parse(t, exampleID, example)}
	refused := func(scratch, want string) {
		t.Helper()
		_, err := s.db.Rehearse(t.Context(), changes, scratch)
		if _, ok := errors.AsType[*database.UnrehearsedError](err); !ok || !strings.Contains(err.Error(), want) || rollout.HintOf(err) == "" {
			t.Errorf("%v, want %q and a hint", err, want)
		}
	}
	refused(s.url, "the one that the release changes")
	refused("postgres://nobody@127.0.0.1:1/x?connect_timeout=1", "the scratch database")

	scratch := &stage{url: pgtest.New(t)}
	scratch.app = scratch.connect(t)
	scratch.exec(t, `create table address (id bigint generated by default as identity primary key, street text, phone text);
		create table schema_migrations (version text); insert into schema_migrations values ('1'); insert into address (street) values ('x')`)
	refused(scratch.url, "table public.address of the scratch database holds rows")
	scratch.exec(t, `delete from address`)
	all, err := s.db.Rehearse(t.Context(), changes, scratch.url)
	if err != nil {
		t.Fatal(err)
	}
	refused(scratch.url, "rehearsed or done there before")
	if got := told(all[0]); !strings.Contains(got, "contract drop") || all[0].Failed != "" {
		t.Errorf("saw\n%s", got)
	}
	if one[bool](t, s, `select to_regnamespace('gapless') is not null`) {
		t.Error("the rehearsal changed the database itself")
	}
}

// A password never stands where others on the machine can see it.
func TestRehearsalHidesThePassword(t *testing.T) {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("app", "s3cret"), Host: "db", Path: "/shop", RawQuery: "sslmode=require&password=s3cret"}
	for _, text := range []string{u.String(), `host=db password='s3cret it is' user=app`, `password = s3cret host=db`, `host=db password='it\'s s3cret'`} {
		shown := database.WithoutPassword(text)
		if strings.Contains(shown, "s3cret") || !strings.Contains(shown, "db") {
			t.Errorf("%s: %s", text, shown)
		}
	}
}
