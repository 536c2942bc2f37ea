package addressbook_test

import (
	"context"
	"os"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/pgtest"
	"github.com/gapless-deploy/gapless/testdata/apps/addressbook"
)

func TestSplitLine(t *testing.T) {
	for _, tc := range []struct{ line, name, number string }{
		{"Main Street 12", "Main Street", "12"},
		{"Main Street 12a", "Main Street", "12a"},
		{"Main Street 12 a", "Main Street", "12 a"},
		{"Main Street  12", "Main Street ", "12"},
		{"Main Street 12  ", "Main Street", "12  "},
		{"Main Street\t12", "Main Street\t12", "-"},
		{"Main Street", "Main Street", "-"},
		{"Main Street 12ab", "Main Street 12ab", "-"},
		{"Elm Street 5-7", "Elm Street 5-7", "-"},
		{"Elm Street A12", "Elm Street A12", "-"},
		{"Rue de l'Église 8é", "Rue de l'Église", "8é"},
		{"Route66", "Route66", "-"},
		{"Route 66", "Route", "66"},
		{"Row 12 34", "Row 12", "34"},
		{"12", "12", "-"},
		{" 12", "", "12"},
		{"", "", "-"},
	} {
		name, number := addressbook.SplitLine(&tc.line)
		if show(name) != tc.name || show(number) != tc.number {
			t.Errorf("%q: split into %q and %q, want %q and %q", tc.line, show(name), show(number), tc.name, tc.number)
		}
	}
	if name, number := addressbook.SplitLine(nil); name != nil || number != nil {
		t.Error("no line was split into something")
	}
}

func TestJoinUndoesSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.OneOf(rapid.String(), rapid.StringMatching(`[A-Za-zé \t]{0,6}[0-9 ]{0,4}[a-zé ]{0,3}`)).Draw(t, "line")
		back := addressbook.JoinLine(addressbook.SplitLine(&line))
		if back == nil || *back != line {
			t.Fatalf("%q came back as %q", line, show(back))
		}
	})
	if addressbook.JoinLine(addressbook.SplitLine(nil)) != nil {
		t.Error("no line came back as one")
	}
}

// The service splits what it writes, the change splits what the old revision
// wrote: both must mean the same.
func TestTheChangeHasTheSameRule(t *testing.T) {
	var file struct {
		Sync struct {
			Forward  map[string]string `yaml:"forward"`
			Backward map[string]string `yaml:"backward"`
		} `yaml:"sync"`
	}
	raw, err := os.ReadFile("../../demo/db/changes/0007-split-street.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, pgtest.New(t))
	forward, backward := file.Sync.Forward, file.Sync.Backward
	query := "select street_name, house_number, " + backward["street"] + " from (select " +
		forward["street_name"] + " as street_name, " + forward["house_number"] + " as house_number" +
		" from (select $1::text as street) o) n"
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.Ptr(rapid.OneOf(
			rapid.SampledFrom([]string{"Main Street 12", "Elm 5-7", "Elm A12", "Route66", "12", " 12", "", "Row 12 34",
				"Main  Street  7 b", "Main 12  ", "Main\t12", "Straße 3ß", "Rue 8é", "東京 5", "Main 12\n", "Main\n12"}),
			rapid.StringMatching(`[A-Za-z\t]{0,3}[ -]{0,2}[0-9]{0,2}[ \t]{0,2}[A-Za-z]{0,2} ?`),
		), true).Draw(t, "line")
		name, number := addressbook.SplitLine(line)
		var sqlName, sqlNumber, sqlLine *string
		if err := conn.QueryRow(context.Background(), query, line).Scan(&sqlName, &sqlNumber, &sqlLine); err != nil {
			t.Fatal(err)
		}
		if show(name) != show(sqlName) || show(number) != show(sqlNumber) {
			t.Fatalf("%q: the service splits %q %q, the change %q %q",
				show(line), show(name), show(number), show(sqlName), show(sqlNumber))
		}
		if show(sqlLine) != show(line) {
			t.Fatalf("%q came back from the change as %q", show(line), show(sqlLine))
		}
	})
}

func show(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
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
