package database_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

var update = flag.Bool("update", false, "write docs/reference/database.md anew")

// The page about gapless's own schema says what the comments in the database
// say, and every table has one.
func TestReference(t *testing.T) {
	s := newStage(t, database.Options{})
	s.addresses(t, 1)
	if err := s.db.ClaimUses(t.Context(), "r1", []change.Use{{Table: "address"}}); err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	page.WriteString("# The schema `gapless`\n\nWhat gapless keeps in a database. Read it with plain SQL, change it by `gapless` only. This page is written by `go test ./internal/database -run TestReference -update` from the comments that are in the database too (`\\d+ gapless.*` in psql).\n")
	rows, err := s.app.Query(t.Context(), `
		select c.relname, coalesce(obj_description(c.oid, 'pg_class'), ''), a.attname, format_type(a.atttypid, a.atttypmod), coalesce(col_description(c.oid, a.attnum), '')
		from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
		where c.relnamespace = 'gapless'::regnamespace and c.relkind = 'r' order by c.relname, a.attnum`)
	if err != nil {
		t.Fatal(err)
	}
	var table, said, column, kind, about, before string
	_, err = pgx.ForEachRow(rows, []any{&table, &said, &column, &kind, &about}, func() error {
		if table != before {
			if said == "" {
				t.Errorf("table gapless.%s has no comment", table)
			}
			fmt.Fprintf(&page, "\n## %s\n\n%s\n\n| column | type | |\n| --- | --- | --- |\n", table, said)
			before = table
		}
		fmt.Fprintf(&page, "| `%s` | %s | %s |\n", column, kind, strings.ReplaceAll(about, "|", `\|`))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("..", "..", "docs", "reference", "database.md")
	if *update {
		if err := os.WriteFile(file, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), page.String()); diff != "" {
		t.Errorf("%s differs (-want +got); write it with -update:\n%s", file, diff)
	}
}
