package pgtest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/pgtest"
)

func TestNewDatabasesAreApart(t *testing.T) {
	first, second := connect(t, pgtest.New(t)), connect(t, pgtest.New(t))
	if _, err := first.Exec(t.Context(), "create table address (id int)"); err != nil {
		t.Fatal(err)
	}
	var exists bool
	err := second.QueryRow(t.Context(), "select to_regclass('address') is not null").Scan(&exists)
	if err != nil {
		t.Fatal(err)
	}
	if exists {
		t.Error("a table made in one test's database is in the other's")
	}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return conn
}
