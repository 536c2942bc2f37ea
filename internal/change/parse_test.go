package change_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/document"
)

const splitStreet = `name: split street into name and number
table: address
expand:
  - add_column: {name: street_name, type: text}
  - add_column: {name: house_number, type: text}
  - create_index: {columns: [street_name]}
sync:
  forward:
    street_name: "regexp_replace(street, ' (\\d+\\s*[[:alpha:]]?)$', '')"
    house_number: "substring(street from ' (\\d+\\s*[[:alpha:]]?)$')"
  backward:
    street: "case when street_name is null and house_number is null then null else concat_ws(' ', street_name, house_number) end"
verify:
  lossy_max: 0
  checks:
    - {name: every street kept its name, sql: "select count(*) from address where street <> '' and street_name is null", expect: 0}
contract:
  - drop_column: street
quiet_for: 24h
hide_for: 0
`

func TestParseReadsTheExample(t *testing.T) {
	c, err := change.Parse("db/changes/0007-split-street.yaml", []byte(splitStreet))
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != "0007-split-street" || len(c.Digest) != 64 {
		t.Errorf("id %q, digest %q", c.ID, c.Digest)
	}
	if diff := cmp.Diff([]string{"street"}, c.OldColumns()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"house_number", "street_name"}, c.NewColumns()); diff != "" {
		t.Error(diff)
	}
	if c.QuietFor != 24*time.Hour || len(c.Verify.Checks) != 1 {
		t.Errorf("quiet_for %v, checks %v", c.QuietFor, c.Verify.Checks)
	}
	var kinds []change.StepKind
	for _, s := range append(change.ExpandSteps(c), change.ContractSteps(c)...) {
		kinds = append(kinds, s.Kind)
	}
	want := []change.StepKind{"prepare", "add_columns", "sync", "backfill", "operation", "verify", "begin", "drop_indexes", "archive", "drop"}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Error(diff)
	}
}

func TestAcceptedReadsWhatParseReads(t *testing.T) {
	parsed, err := change.Parse("x.yaml", []byte(splitStreet))
	if err != nil {
		t.Fatal(err)
	}
	again, err := change.Accepted("x.yaml", []byte(splitStreet))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(parsed, again); diff != "" {
		t.Error(diff)
	}
}

// Each fault of a file is told in one go, at the place a person must edit.
func TestParseTellsEveryFault(t *testing.T) {
	const file = `name: split street
tabel: address
table: "a.b.c"
expand:
  - add_column: {name: street_name, type: "text; drop table address"}
  - drop_column: street
  - add_column: {name: street_name, type: bigserial}
sync:
  forward:
    street_name: "regexp_replace(stret, 'x'"
    house_number: "(select 1)"
  backward:
    street: "now()"
contract:
  - drop_column: stret
quiet_for: -1h
`
	_, err := change.Parse("c.yaml", []byte(file))
	want := []string{
		"c.yaml:2:1: unknown key",
		"c.yaml:3:8: table: name",
		`c.yaml:5:43: type "text; drop table address"`,
		`c.yaml:6:18: drop_column "street" breaks the running revision`,
		`c.yaml:7:24: column "street_name" is added twice`,
		"c.yaml:7:43: type \"bigserial\"",
		`column "house_number" is not added by this change`,
		`column "stret" is not on the old side of sync; did you mean "street"?`,
		"quiet_for",
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("missing %q in\n%s", w, text)
		}
	}
}

func TestParseRefusesExpressions(t *testing.T) {
	cases := map[string]string{
		"regexp_replace(stret, 'x', '')":  `reads column "stret"; did you mean "street"?`,
		"regexp_replace(street, 'x'":      "not SQL",
		"(select max(street) from other)": "a subquery reads other rows",
		"street || house_number":          `reads column "house_number"; it may read the old side only: street`,
		"street, street":                  "expected one expression, observed 2",
		"street from address":             "more than an expression",
		"street; drop table address":      "expected one expression, observed 2 statements",
		"street as x":                     "an expression has no AS here",
		"current_date::text":              "depends on when",
		"count(*)":                        "an aggregate reads other rows",
		"other.street":                    `"other.street" is not a column of table "address"`,
		"$1":                              "a parameter has no value here",
		"address.*":                       "one by one",
		"street union select street":      "more than an expression",
	}
	for expression, want := range cases {
		t.Run(expression, func(t *testing.T) {
			data := strings.Replace(splitStreet, `"substring(street from ' (\\d+\\s*[[:alpha:]]?)$')"`, "'"+strings.ReplaceAll(expression, "'", "''")+"'", 1)
			_, err := change.Parse("c.yaml", []byte(data))
			faults := document.FaultsOf(err)
			if len(faults) == 0 {
				t.Fatalf("accepted %q", expression)
			}
			for _, f := range faults {
				if f.Line == 10 && strings.Contains(f.Error(), want) {
					return
				}
			}
			t.Errorf("want %q at line 10, got\n%v", want, err)
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(splitStreet))
	f.Add([]byte("name: x\ntable: t\nexpand: [{add_column: {name: a, type: text}}]\n"))
	for list, operations := range fragments {
		for _, o := range operations {
			f.Add(fmt.Appendf(nil, "name: x\ntable: t\n%s:\n- %s\n", list, strings.ReplaceAll(o, "%d", "1")))
		}
	}
	f.Add([]byte("expand: [{}]\ncontract: [{drop_column: a}, {create_index: {columns: []}}]\nsync: {forward: {}, backward: {a: '*'}}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := change.Parse("c.yaml", data)
		if err != nil {
			faults := document.FaultsOf(err)
			if len(faults) == 0 {
				t.Fatalf("an error without a place: %v", err)
			}
			for _, fault := range faults {
				if fault.Line < 1 || fault.Column < 1 || fault.Message == "" {
					t.Fatalf("a fault without a place: %#v", fault)
				}
			}
			return
		}
		again, err := change.Parse("c.yaml", data)
		if err != nil || !cmp.Equal(c, again) {
			t.Fatalf("read differently again: %v\n%s", err, cmp.Diff(c, again))
		}
		whole(t, c, data)
	})
}
