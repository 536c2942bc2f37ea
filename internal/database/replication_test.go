package database_test

import (
	"context"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
	"github.com/gapless-deploy/gapless/internal/pgtest"
)

// What a subscription's worker applies is kept in step, too: its writes fire no
// ordinary trigger.
func TestWhatASubscriptionAppliesIsKeptInStep(t *testing.T) {
	server, err := pgtest.Start(t.Context(), pgtest.Options{Settings: map[string]string{"wal_level": "logical"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	stages := map[string]*stage{}
	for _, name := range []string{"gapless_publishes", "gapless_subscribes"} {
		if err := server.CreateDatabase(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := server.DropDatabase(context.Background(), name); err != nil {
				t.Error(err)
			}
		})
		stages[name] = stageAt(t, server.URL(name), database.Options{})
		stages[name].exec(t, `create table address (id bigint primary key, street text)`)
	}
	from, to := stages["gapless_publishes"], stages["gapless_subscribes"]
	if one[string](t, from, `show wal_level`) != "logical" {
		return // a server of the environment that publishes nothing
	}
	c := parse(t, exampleID, example)
	to.expand(t, c)
	from.exec(t, `create publication p for table address`)
	from.exec(t, `select pg_create_logical_replication_slot('gapless_test', 'pgoutput')`)
	to.exec(t, `create subscription s connection '`+strings.ReplaceAll(from.url, "'", "''")+`' publication p with (create_slot = false, slot_name = 'gapless_test')`)
	t.Cleanup(func() {
		if _, err := to.app.Exec(context.Background(), `drop subscription s`); err != nil {
			t.Error(err)
		}
	})
	from.exec(t, `insert into address values (1, 'Main 12'), (2, 'Elm 4'); update address set street = 'Oak 3' where id = 2`)
	eventually(t, func() bool {
		return one[string](t, to, `select coalesce(string_agg(concat_ws('/', street, street_name, house_number), ' ' order by id), '') from address`) == "Main 12/Main/12 Oak 3/Oak/3"
	})
	if e, err := to.db.Verify(t.Context(), c, change.ScopeRelease); err != nil || !e.Passed() {
		t.Errorf("%v %+v", err, e)
	}
}

// MERGE is INSERT and UPDATE.
func TestMergeIsKeptInStep(t *testing.T) {
	s := newStage(t, database.Options{})
	if one[int](t, s, `select current_setting('server_version_num')::int`) < 150000 {
		return // there is no MERGE before 15
	}
	s.exec(t, `create table address (id bigint primary key, street text); insert into address values (1, 'Before 1')`)
	c := parse(t, exampleID, example)
	s.expand(t, c)
	s.exec(t, `merge into address a using (values (1, 'Main 12'), (2, 'Elm 4')) v(id, street) on a.id = v.id
		when matched then update set street = v.street when not matched then insert (id, street) values (v.id, v.street)`)
	s.exec(t, `merge into address a using (values (2, 'Oak', '3'), (3, 'Ash', '9')) v(id, n, h) on a.id = v.id
		when matched then update set street_name = v.n, house_number = v.h when not matched then insert (id, street_name, house_number) values (v.id, v.n, v.h)`)
	if got := one[string](t, s, `select string_agg(concat_ws('/', street, street_name, house_number), ' ' order by id) from address`); got != "Main 12/Main/12 Oak 3/Oak/3 Ash 9/Ash/9" {
		t.Errorf("both forms are %q", got)
	}
}
