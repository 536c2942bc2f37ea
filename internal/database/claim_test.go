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

// of opens the stage's database for another service.
func (s *stage) of(t testing.TB, service string) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), s.url, database.Options{Service: service, Run: "17", Actor: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func inventory(t testing.TB, db *database.DB) change.Inventory {
	t.Helper()
	has, err := db.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return has
}

// claims are those in force, as people read them.
func claims(t testing.TB, db *database.DB) (all []string) {
	t.Helper()
	for _, c := range inventory(t, db).Claims {
		all = append(all, c.Service+" "+c.Rollout+": "+change.Columned(c.Columns, c.Table))
	}
	return all
}

func TestAServiceClaimsWhatItsRevisionsUse(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.addresses(t, 10)
	book, billing := s.of(t, "address-book"), s.of(t, "billing")
	claim := func(db *database.DB, of string, uses ...change.Use) {
		t.Helper()
		if err := db.ClaimUses(t.Context(), of, uses); err != nil {
			t.Fatalf("%v (%s)", err, rollout.HintOf(err))
		}
	}
	want := func(want ...string) {
		t.Helper()
		if got := claims(t, book); !slices.Equal(got, want) {
			t.Errorf("claimed are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	const table = `of table "public"."address"`
	claim(book, "r1", change.Use{Table: "address", Columns: []string{"street", "phone"}})
	claim(billing, "b1", change.Use{Table: "public.address"})
	since := inventory(t, book).Claims[0].Since
	claim(book, "r2", change.Use{Table: "address", Columns: []string{"phone"}})
	want("address-book r1: columns street, phone "+table, "address-book r2: columns phone "+table, `billing b1: table "public"."address"`)
	if err := book.DropUses(t.Context(), "r2"); err != nil { // it went back
		t.Fatal(err)
	}
	want("address-book r1: columns street, phone "+table, `billing b1: table "public"."address"`)
	claim(book, "r3", change.Use{Table: "address", Columns: []string{"street", "phone"}})
	if err := book.SettleUses(t.Context(), "r3"); err != nil {
		t.Fatal(err)
	}
	want("address-book r3: columns street, phone "+table, `billing b1: table "public"."address"`)
	if got := inventory(t, book).Claims[0].Since; !got.Equal(since) {
		t.Errorf("the same claim is said to be since %s, it was since %s", got, since)
	}
	for _, use := range []change.Use{{Table: "addresses"}, {Table: "address", Columns: []string{"street", "zip"}}} {
		if err := book.ClaimUses(t.Context(), "r4", []change.Use{use}); !errors.Is(err, rollout.ErrInput) || rollout.HintOf(err) == "" {
			t.Errorf("%v: %v", use, err)
		}
	}
	if by := one[string](t, s, `select run || ' ' || actor from gapless.claim where service = 'billing'`); by != "17 ana" {
		t.Errorf("claimed by %q", by)
	}
}

// Who shares a table with a change of another service is told who holds what:
// before anything is done, and while the change is there.
func TestChangesOfTwoServicesOnOneTable(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.addresses(t, 10)
	book, billing := s.of(t, "address-book"), s.of(t, "billing")
	theirs := *s
	s.db, theirs.db = book, billing
	c := parse(t, exampleID, example)
	s.run(t, c, change.ExpandSteps(c)[:1])

	overlapping := parse(t, "0009-upper", strings.NewReplacer("street_name", "street_upper", "house_number", "number_upper").Replace(example))
	facts, err := billing.Inspect(t.Context(), overlapping)
	if err != nil {
		t.Fatal(err)
	}
	if len(facts.Others) != 1 || facts.Others[0].Service != "address-book" || !slices.Equal(facts.Others[0].Columns, []string{"street"}) || facts.Others[0].State != rollout.Expanding {
		t.Fatalf("others are %+v", facts.Others)
	}
	refused := (*database.RefusedError)(nil)
	_, err = billing.Apply(t.Context(), overlapping, change.ExpandSteps(overlapping)[0], nil)
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), `service address-book holds columns street of table "public"."address" by change `+exampleID+", expanding since") {
		t.Fatalf("%v", err)
	}
	_, err = billing.Inspect(t.Context(), c)
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "of service address-book") {
		t.Fatalf("a name that is taken: %v", err)
	}
	// Another column is nobody's business, and neither is a change that has ended.
	apart := parse(t, "0010-mail", "name: mail\ntable: address\nexpand:\n  - add_column: {name: mail, type: text}\n")
	theirs.expand(t, apart)
	s.expand(t, c)
	again := parse(t, "0011-mail", "name: index\ntable: address\nexpand:\n  - create_index: {columns: [mail]}\n")
	if facts, err = book.Inspect(t.Context(), again); err != nil || len(facts.Others) > 0 {
		t.Errorf("%v, others are %+v", err, facts.Others)
	}

	// Contract tells who claims what it drops.
	if err := billing.ClaimUses(t.Context(), "b1", []change.Use{{Table: "address", Columns: []string{"id", "street"}}}); err != nil {
		t.Fatal(err)
	}
	if facts, err = book.Inspect(t.Context(), c); err != nil || len(facts.Claims) != 1 || !slices.Equal(facts.Claims[0].Columns, []string{"street"}) {
		t.Errorf("%v, claims are %+v", err, facts.Claims)
	}
}

// Everything that changed the schema stands there with who did it.
func TestWhoDidWhat(t *testing.T) {
	t.Parallel()
	s := newStage(t, database.Options{})
	s.addresses(t, 10)
	s.db = s.of(t, "address-book")
	c := parse(t, exampleID, example)
	s.expand(t, c)
	s.contract(t, c)
	s.exec(t, `create temp table history as select was || ' to ' || state || ' by ' || actor || ' (run ' || run || ') of ' || service as line from gapless.history order by n`)
	got := one[string](t, s, `select string_agg(line, E'\n') from history`)
	want := strings.Join([]string{
		"absent to expanding by ana (run 17) of address-book", "expanding to expanded by ana (run 17) of address-book",
		"expanded to contracting by ana (run 17) of address-book", "contracting to contracted by ana (run 17) of address-book",
	}, "\n")
	if got != want {
		t.Errorf("the history is\n%s\nwant\n%s", got, want)
	}
	if n := one[int](t, s, `select count(*) from gapless.log where actor <> 'ana' or run <> '17' or service <> 'address-book' or role <> current_user`); n > 0 {
		t.Errorf("%d statements of nobody", n)
	}
	if since := inventory(t, s.db).Changes[0].Since; time.Since(since) > time.Minute {
		t.Errorf("contracted since %s", since)
	}
}
