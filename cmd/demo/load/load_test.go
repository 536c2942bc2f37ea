package load_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/cmd/demo/load"
	"github.com/gapless-deploy/gapless/internal/ledger"
	"github.com/gapless-deploy/gapless/internal/pgtest"
	"github.com/gapless-deploy/gapless/testdata/apps/addressbook"
)

const rows = 800

// book is a running address book under load.
type book struct {
	conn   *pgx.Conn
	model  *load.Model
	ledger *ledger.Ledger
	load   *load.Load
}

func start(t *testing.T, faults addressbook.Faults) *book {
	t.Helper()
	database := pgtest.New(t)
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	if err := load.Seed(t.Context(), conn, rows); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- addressbook.Serve(ctx, listener, database, addressbook.Street(), faults, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, conn.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
	b := &book{conn: conn, model: load.NewModel(rows), ledger: ledger.New(ledger.Options{})}
	b.load = load.Start(t.Context(), load.Options{
		URL: "http://" + listener.Addr().String(), Rate: 2000, Readers: 3, Writers: 4, Rows: rows,
	}, b.model, b.ledger)
	return b
}

// after waits until so many requests were answered.
func (b *book) after(requests int64) ledger.Summary {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for b.ledger.Summary().Requests < requests {
		<-tick.C
	}
	return b.ledger.Summary()
}

func (b *book) compare(t *testing.T) []load.Damage {
	t.Helper()
	found, err := load.OldForm(t.Context(), b.conn, "address")
	if err != nil {
		t.Fatal(err)
	}
	b.model.Compare("table", time.Time{}, found)
	return b.model.Damaged()
}

func (b *book) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := b.conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func TestAGoodBookLosesNothing(t *testing.T) {
	b := start(t, addressbook.Faults{})
	b.after(600)
	b.load.Stop()
	if found := b.compare(t); len(found) != 0 {
		t.Errorf("%d rows are damaged, the first: %v", len(found), found[0])
	}
	if got := b.ledger.Summary(); got.Dropped != 0 {
		t.Errorf("%d requests were dropped: %+v", got.Dropped, got.Causes)
	}
	if b.model.Rows() <= rows {
		t.Error("no writer added a row")
	}
	var changed int
	if err := b.conn.QueryRow(t.Context(), "select count(*) from address where name like 'writer %' and id <= $1", rows).Scan(&changed); err != nil {
		t.Fatal(err)
	}
	if changed == 0 {
		t.Error("no writer changed a row")
	}
}

func TestHarmIsFoundByTheReaders(t *testing.T) {
	b := start(t, addressbook.Faults{})
	b.after(50)
	b.exec(t, "update address set street = 'Nowhere 0' where id % 2 = 0")
	b.exec(t, "delete from address where id % 2 = 1 and name like 'person %'")
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	harms := map[load.Harm]bool{}
	for !harms[load.Lost] || !harms[load.Clobbered] {
		<-tick.C
		for _, d := range b.model.Damaged() {
			harms[d.Harm] = true
		}
	}
	b.load.Stop()
}

func TestHarmIsCountedRowByRow(t *testing.T) {
	b := start(t, addressbook.Faults{})
	b.after(300)
	b.load.Stop()
	b.exec(t, "update address set street = 'Nowhere 0' where id in (1, 2, 3)")
	b.exec(t, "delete from address where id in (4, 5)")
	b.exec(t, "insert into address (name, street) values ('nobody', 'Nowhere 0')")
	var lost, clobbered int
	for _, d := range b.compare(t) {
		if d.Harm == load.Lost {
			lost++
		} else {
			clobbered++
		}
	}
	if lost != 2 || clobbered != 4 {
		t.Errorf("%d lost and %d clobbered, want 2 and 4: %v", lost, clobbered, b.model.Damaged())
	}
}

// Requests that a bad service fails are counted, and leave no damage behind:
// their writers were not told that it was done.
func TestErrorsAreNotHarm(t *testing.T) {
	b := start(t, addressbook.Faults{Errors: 0.3})
	b.after(500)
	b.load.Stop()
	got := b.ledger.Summary()
	if share := float64(got.Dropped) / float64(got.Requests); share < 0.15 || share > 0.45 {
		t.Errorf("%d of %d requests failed, about 30%% should: %+v", got.Dropped, got.Requests, got.Causes)
	}
	if found := b.compare(t); len(found) != 0 {
		t.Errorf("%d rows are damaged, the first: %v", len(found), found[0])
	}
}

func TestBothFormsAreReadAlike(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), pgtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if err := load.Seed(t.Context(), conn, rows); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `alter table address add column street_name text, add column house_number text`); err != nil {
		t.Fatal(err)
	}
	// The mapping of testdata/demo/db/changes/0007-split-street.yaml.
	if _, err := conn.Exec(t.Context(), `update address set
		street_name = regexp_replace(street, ' (\d+\s*[[:alpha:]]?)$', ''),
		house_number = substring(street from ' (\d+\s*[[:alpha:]]?)$')`); err != nil {
		t.Fatal(err)
	}
	found, err := load.NewForm(t.Context(), conn, "address")
	if err != nil {
		t.Fatal(err)
	}
	model := load.NewModel(rows)
	model.Compare("new form", time.Time{}, found)
	if damaged := model.Damaged(); len(found) != rows || len(damaged) != 0 {
		t.Errorf("%d rows, %d differ: %v", len(found), len(damaged), damaged)
	}
}
