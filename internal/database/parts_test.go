package database

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/pgtest"
)

// Walks, counts and parts of tables of 50 partitions, with the partition key at
// either end of the primary key, and with partitions of partitions.
func TestWalksOfTablesMadeOfTables(t *testing.T) {
	t.Parallel()
	partitions, rows := 50, 20_000
	if testing.Short() {
		partitions, rows = 10, 4_000
	}
	for _, c := range []struct{ name, key, setup string }{
		{"partition key last", "id, at", `create table t (id bigint, at date, street text, name text, primary key (id, at)) partition by range (at)`},
		{"partition key first", "at, id", `create table t (id bigint, at date, street text, name text, primary key (at, id)) partition by range (at)`},
		{"two levels", "id, at", `create table t (id bigint, at date, street text, name text, primary key (id, at)) partition by range (at);
			create table deep partition of t for values from ('2030-01-01') to ('2031-01-01') partition by hash (id);
			create table deep0 partition of deep for values with (modulus 2, remainder 0);
			create table deep1 partition of deep for values with (modulus 2, remainder 1);
			insert into t select i, '2030-06-01', 'Deep ' || i from generate_series(1, 500) i`},
	} {
		t.Run(c.name, func(t *testing.T) {
			db, err := Open(t.Context(), pgtest.New(t), Options{})
			if err != nil {
				t.Fatal(err)
			}
			err = db.with(t.Context(), "walk", func(s *session) error {
				exec(t, s, `set search_path = public`)
				exec(t, s, c.setup)
				exec(t, s, fmt.Sprintf(`do $$ begin for i in 0..%d loop
					execute format('create table t_%%s partition of t for values from (%%L) to (%%L)', i, date '2020-01-01' + i * 30, date '2020-01-01' + (i + 1) * 30); end loop; end $$`, partitions-1))
				exec(t, s, fmt.Sprintf(`insert into t select i, date '2020-01-01' + i %% %d, 'Street ' || i from generate_series(1, %d) i`, partitions*30, rows))
				exec(t, s, `analyze t`)
				exec(t, s, `set search_path = pg_catalog, pg_temp`)
				walkAll(t, s, db, strings.Split(c.key, ", "))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func exec(t *testing.T, s *session, sql string) {
	t.Helper()
	if _, err := s.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func walkAll(t *testing.T, s *session, db *DB, key []string) {
	t.Helper()
	ctx := t.Context()
	tab, err := resolveTable(ctx, s, change.Change{ID: "x", Table: "public.t"})
	if err != nil {
		t.Fatal(err)
	}
	if got := idents(tab.key, ""); !slices.Equal(got, []string{ident(key[0]), ident(key[1])}) {
		t.Fatalf("the key is %s", got)
	}
	var all int64
	if err := s.QueryRow(ctx, `select count(*) from public.t`).Scan(&all); err != nil {
		t.Fatal(err)
	}
	if n, err := s.countRows(ctx, tab); err != nil || n != all {
		t.Errorf("%d rows counted, there are %d: %v", n, all, err)
	}
	if n, err := s.estimateRows(ctx, tab); err != nil || n < all*9/10 || n > all*11/10 {
		t.Errorf("%d rows estimated, there are %d: %v", n, all, err)
	}
	const wanted = 16
	bounds, err := s.divide(ctx, tab, wanted)
	if err != nil || len(bounds) != wanted-1 {
		t.Fatalf("%d bounds: %v", len(bounds), err)
	}
	street, _ := tab.column("street")
	name, _ := tab.column("name")
	f := &filler{db: db, r: relation{change: change.Change{ID: "x"}, table: tab, old: []column{street}, new: []column{name},
		mapping: mapping{Forward: map[string]string{"name": "upper(street)"}}}}
	var walked, filled int64
	for i := range wanted {
		within := span{}
		if i > 0 {
			within.lower = bounds[i-1]
		}
		if i < wanted-1 {
			within.upper = bounds[i]
		}
		n, set := walkPart(ctx, t, s, f, within)
		if n < all/wanted/2 || n > all/wanted*2 {
			t.Errorf("part %d has %d of %d rows", i, n, all)
		}
		walked, filled = walked+n, filled+set
	}
	if walked != all || filled != all {
		t.Errorf("%d rows walked, %d filled, there are %d", walked, filled, all)
	}
	if keys, err := s.sampleKeys(ctx, tab, probeKeys); err != nil || len(keys) != probeKeys {
		t.Errorf("%d keys: %v", len(keys), err)
	}
	plans(t, s, tab, span{bounds[3], bounds[4]})
}

// walkPart walks a part in small steps, and fills each.
func walkPart(ctx context.Context, t *testing.T, s *session, f *filler, rest span) (walked, filled int64) {
	t.Helper()
	for last := false; !last; {
		var batch span
		var err error
		if batch, last, err = s.step(ctx, s, f.r.table, rest, 700); err != nil {
			t.Fatal(err)
		}
		n, err := s.count(ctx, s, f.r.table, batch)
		if err != nil {
			t.Fatal(err)
		}
		if !last && n != 700 {
			t.Errorf("a step of %d rows", n)
		}
		walked += n
		err = pgx.BeginFunc(ctx, s.Conn, func(tx pgx.Tx) error {
			n, err := f.fill(ctx, tx, batch, false, f.db.options.StatementTimeout)
			filled += n
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		rest.lower = batch.upper
	}
	return walked, filled
}

// plans checks that a walk goes along the partitions' indexes, each from where
// it is, and sorts nothing.
func plans(t *testing.T, s *session, tab table, within span) {
	t.Helper()
	condition, args := within.condition(tab.key)
	order := comma(idents(tab.key, ""))
	exec(t, s, `set enable_seqscan = off`)
	for _, sql := range []string{
		fmt.Sprintf(`select %s from %s where %s order by %[1]s limit 1 offset 699`, order, tab.ident(), condition),
		fmt.Sprintf(`update %s set name = street where %s`, tab.ident(), condition),
	} {
		rows, err := s.Query(t.Context(), `explain (costs off) `+sql, args...)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		plan := strings.Join(lines, "\n")
		if strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "Sort\n") || !strings.Contains(plan, "Index") {
			t.Errorf("%s\n%s", sql, plan)
		}
	}
}
