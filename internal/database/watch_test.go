package database_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

const abandoning = `name: nobody needs these
table: slip
contract: [{drop_column: memo}, {drop_column: count}]
quiet_for: 1m
`

// A column without a new form is watched, archived by key, dropped, and brought
// back with what it held.
func TestAColumnWithoutANewForm(t *testing.T) {
	t.Parallel()
	for _, partitioned := range []string{"", " partition by range (id)"} {
		t.Run("table"+partitioned, func(t *testing.T) {
			s := newStage(t, database.Options{})
			s.exec(t, `create table slip (id int primary key, memo text, count int not null default 7, body text)`+partitioned)
			if partitioned != "" {
				s.exec(t, `create table slip_1 partition of slip for values from (0) to (1000); create table slip_2 partition of slip default`)
			}
			s.exec(t, `insert into slip (id, memo, count, body) select i, nullif('m' || i, 'm3'), i, 'b' from generate_series(1, 300) i`)
			c := parse(t, "0009-drop", abandoning)
			s.expand(t, c)
			into := "slip"
			if partitioned != "" {
				into = "slip_1"
			}
			for write, noted := range map[string]int{
				`insert into ` + into + ` (id, body) values (401, 'x')`:                                            0,
				`update ` + into + ` set body = 'y' where id = 5`:                                                  0,
				`insert into ` + into + ` (id, count) values (402, 7)`:                                             0, // its default
				`insert into ` + into + ` (id, memo) values (403, 'n')`:                                            1,
				`update ` + into + ` set memo = memo where id = 5`:                                                 1,
				`insert into slip (id, count) values (5, 8) on conflict (id) do update set count = excluded.count`: 1,
			} {
				s.exec(t, `truncate gapless.old_form_write`)
				s.app = s.connect(t)
				s.exec(t, write)
				if n := one[int](t, s, `select count(*) from gapless.old_form_write`); n != noted {
					t.Errorf("%s: noted %d times, wanted %d", write, n, noted)
				}
			}
			want := one[string](t, s, `select string_agg(concat_ws('/', id, memo, count), ' ' order by id) from slip`)
			e := s.contract(t, c)
			if got := one[string](t, s, `select string_agg(concat_ws('/', id, memo, count), ' ' order by id) from `+e.ArchiveTable); got != want {
				t.Error("the archive is not what the table held")
			}
			if n := one[int](t, s, `select count(*) from pg_trigger where tgname like '~gapless%'`); n != 0 {
				t.Errorf("%d triggers are left", n)
			}
			s.exec(t, `delete from slip where id = 401; insert into slip (id, body) values (900, 'new')`)
			s.run(t, c, change.RestoreSteps(c))
			if got := one[string](t, s, `select string_agg(concat_ws('/', id, memo, count), ' ' order by id) from slip`); got != strings.Replace(want, " 401/7", "", 1)+" 900/7" {
				t.Errorf("brought back is\n%s\nwanted\n%s", got, want)
			}
			if !one[bool](t, s, `select attnotnull from pg_attribute where attrelid = 'slip'::regclass and attname = 'count'`) {
				t.Error("it takes NULL")
			}
			if got := s.state(t, c); got != rollout.Expanded {
				t.Errorf("it is %s", got)
			}
		})
	}
}

func TestAColumnThatTheNewRevisionCannotLeaveOut(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	cases := map[string]struct{ column, want string }{
		"not null":  {"memo text not null", "could not leave it out; add drop_not_null or set_default"},
		"generated": {"memo text generated always as (upper(body)) stored", "is generated"},
		"identity":  {"memo int generated always as identity", "is an identity column"},
		"the key":   {"memo int primary key", "is part of the key"},
		"absent":    {"other int", "has no column \"memo\""},
	}
	for name, k := range cases {
		t.Run(name, func(t *testing.T) {
			s.reset(t)
			s.exec(t, `create table slip (id int unique not null, body text, count int, `+k.column+`)`)
			refused := func(text string) bool {
				facts, err := s.db.Inspect(t.Context(), parse(t, "0009-drop", text))
				if err != nil {
					t.Fatal(err)
				}
				return slices.ContainsFunc(facts.Refusals, func(r string) bool { return strings.Contains(r, k.want) })
			}
			if !refused(abandoning) {
				t.Errorf("not refused: %s", k.want)
			}
			if name == "not null" && refused(abandoning+"expand: [{drop_not_null: {column: memo, because: nobody reads it}}]\n") {
				t.Error("refused though expand lets it be left out")
			}
		})
	}
}

// What contract drops besides columns is in use while a statement names it, or
// the table's counters grow.
func TestUsageOfWhatIsDroppedByName(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.exec(t, `create table slip (id int primary key); insert into slip values (1)`)
	tightens := parse(t, "0001-tighten", "name: x\ntable: slip\ncontract: [{add_check: {name: positive, expression: id > 0}}]\n")
	s.expand(t, tightens)
	if u, err := s.db.Usage(t.Context(), tightens, time.Time{}); err != nil || !u.Quiet || len(u.Unknown) > 0 {
		t.Errorf("a contract that takes nothing away: %v %+v", err, u)
	}
	c := parse(t, "0002-drop", "name: x\ntable: slip\ncontract: [{drop_table: true}]\nquiet_for: 1m\n")
	s.expand(t, c)
	look := func() bool {
		t.Helper()
		u, err := s.db.Usage(t.Context(), c, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return u.Quiet
	}
	if look() {
		t.Error("just expanded")
	}
	eventually(t, func() bool { // the server counts with delay what was done before
		s.exec(t, `update gapless.change set expanded_at = now() - interval '2 minutes'; update gapless.table_seen set used_at = now() - interval '2 minutes';
			update gapless.statement_seen set used_at = now() - interval '2 minutes'`)
		return look()
	})
	eventually(t, func() bool { // before PostgreSQL 15 a session tells what it counted with its next statement only
		s.exec(t, `/* gapless: not told by its text */ select count(*) from slip`)
		return !look()
	})
}

// A trigger of the application and a publication hold until someone says why
// they need not.
func TestWhatIsAccepted(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.addresses(t, 50)
	s.exec(t, `create publication p for table address; alter table address add column updated_at timestamptz;
		create function touch() returns trigger language plpgsql as $$ begin new.updated_at := now(); return new; end $$;
		create trigger touch before update on address for each row execute function touch()`)
	var refused *database.RefusedError
	steps := change.ExpandSteps(parse(t, exampleID, example))
	if _, err := s.db.Apply(t.Context(), parse(t, exampleID, example), steps[0], nil); !errors.As(err, &refused) || len(refused.Reasons) != 2 {
		t.Fatalf("%v", err)
	}
	c := parse(t, exampleID, example+"accept: {triggers: nobody reads updated_at, published: the subscriber has the columns}\n")
	facts, err := s.db.Inspect(t.Context(), c)
	if err != nil || len(facts.Refusals) > 0 {
		t.Fatalf("%v %q", err, facts.Refusals)
	}
	for _, want := range []string{"nobody reads updated_at", "the subscriber has the columns"} {
		if !slices.ContainsFunc(facts.Warnings, func(w string) bool { return strings.Contains(w, want) }) {
			t.Errorf("%q does not say %q", facts.Warnings, want)
		}
	}
	s.expand(t, c)
}

func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about")
		}
	}
}
