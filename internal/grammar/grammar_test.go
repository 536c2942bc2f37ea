package grammar_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/gapless-deploy/gapless/internal/grammar"
)

func TestReadPartsStatements(t *testing.T) {
	const sql = `select 1;; -- é; no
 /* x; */ alter table é drop é; selec 1;
create rule r as on insert to t do also (select 1; select 2);
create function f() returns int begin atomic select 1; select case when true then 2 end; end;
select 'é;' ,,; select $$;$$`
	var got []string
	for _, s := range grammar.Read(sql).Statements {
		text := sql[s.Start:s.End]
		if s.Err != nil {
			line, column := grammar.Position(sql, s.Err.Offset)
			text += fmt.Sprintf(" (%d:%d: %v)", line, column, s.Err)
		}
		got = append(got, text)
	}
	want := []string{
		"select 1",
		"alter table é drop é",
		`selec 1 (2:33: syntax error at or near "selec")`,
		"create rule r as on insert to t do also (select 1; select 2)",
		"create function f() returns int begin atomic select 1; select case when true then 2 end; end",
		`select 'é;' ,, (5:14: syntax error at or near ",")`,
		"select $$;$$",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSplitTakesNewerSyntax(t *testing.T) {
	const sql = "-- a dump\ncreate function f() returns void language plpgsql as $$ begin null; end $$;\nalter table t add constraint n not null c not valid; ;\n"
	got, err := grammar.Split(sql)
	want := []string{
		"create function f() returns void language plpgsql as $$ begin null; end $$",
		"alter table t add constraint n not null c not valid",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if _, err := grammar.Split("select 'a"); err == nil {
		t.Error("an open quote was split")
	}
}

func TestReadRefusesWhatTheParserMustNotSee(t *testing.T) {
	for name, sql := range map[string]string{
		"NUL":        "select 1;\x00drop table t",
		"not UTF-8":  "select '\xff'",
		"open quote": "select 'a",
		"deep":       "select " + strings.Repeat("(", 4000) + "1" + strings.Repeat(")", 4000),
		"chain":      "select 1" + strings.Repeat("+1", 4000),
		"long":       strings.Repeat(" ", grammar.MaxSize+1),
	} {
		text := grammar.Read(sql)
		if len(text.Statements) != 1 || text.Statements[0].Err == nil {
			t.Errorf("%s: read: %v", name, text.Statements)
		}
	}
	rows := "insert into t values (1)" + strings.Repeat(", (1)", 10000) // long, and not deep
	if _, err := grammar.Parse(rows); err != nil {
		t.Error(err)
	}
}

func TestManyMistakesAreNotReadOneByOne(t *testing.T) {
	text := grammar.Read(strings.Repeat("selec 1; select 1; ", 500))
	if n := len(text.Statements); n > 110 {
		t.Errorf("%d statements were read", n)
	}
	if last := text.Statements[len(text.Statements)-1]; last.Err == nil || last.End < 9000 {
		t.Errorf("the rest is not told: %+v", last)
	}
}

func TestPosition(t *testing.T) {
	const text = "aé\n\nüb"
	for offset, want := range map[int][2]int{-1: {1, 1}, 0: {1, 1}, 1: {1, 2}, 3: {1, 3}, 4: {2, 1}, 5: {3, 1}, 7: {3, 2}, 8: {3, 3}, 99: {3, 3}} {
		if line, column := grammar.Position(text, offset); line != want[0] || column != want[1] {
			t.Errorf("%d: %d:%d, want %v", offset, line, column, want)
		}
	}
}

func TestLocationsAreOfTheWholeText(t *testing.T) {
	const sql = "é; select 1; create index i on tü (b)"
	text := grammar.Read(sql)
	last := text.Statements[len(text.Statements)-1]
	relation := last.Node.GetIndexStmt().GetRelation()
	if at := sql[last.At(relation.GetLocation()):]; !strings.HasPrefix(at, "tü") {
		t.Errorf("the table is at %q", at)
	}
	if at := last.At(-1); at != last.Start {
		t.Errorf("no location is at %d, want %d", at, last.Start)
	}
}

func TestParts(t *testing.T) {
	const sql = "alter table t add c numeric(3, 2) default array[1, 2], drop d"
	text := grammar.Read(sql)
	var got []string
	for _, at := range text.Parts(text.Statements[0], strings.Index(sql, "add")) {
		got = append(got, sql[at:at+4])
	}
	if diff := cmp.Diff([]string{"add ", "drop"}, got); diff != "" {
		t.Error(diff)
	}
}

// Each query of a body is found where it stands in the file.
func TestBodyQueries(t *testing.T) {
	const sql = `select 1;
create function f(é text) returns void language plpgsql as $body$
declare
  n int := 3;
begin
  perform é();  perform é();
  if n = 3 then
    update t set a = 1; end if;
  n := n + 1;
  execute 'drop table ' || é;
  for n in execute 'select 1' loop
    null;
  end loop;
exception when others then
  insert into t
    values (1);
end $body$`
	text := grammar.Read(sql)
	body, ok := text.Body(text.Statements[1])
	if !ok || body.Language != "plpgsql" {
		t.Fatalf("body %+v", body)
	}
	queries, err := body.Queries()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, q := range queries {
		line, column := grammar.Position(sql, body.At(q.At(len("SELECT "))))
		got = append(got, fmt.Sprintf("%d:%d %t %s", line, column, q.Dynamic, q.SQL))
	}
	want := []string{
		"4:12 false SELECT 3",
		"6:11 false SELECT é()",
		"6:25 false SELECT é()",
		"7:6 false SELECT n = 3",
		"8:12 false update t set a = 1",
		"9:8 false SELECT n + 1",
		"10:11 true SELECT 'drop table ' || é",
		"11:20 true SELECT 'select 1'",
		"15:10 false insert into t\n    values (1)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBodyOfAQuotedString(t *testing.T) {
	const sql = `create function f() returns text language sql as 'select ''é'', ''ü''; select 2'`
	text := grammar.Read(sql)
	body, ok := text.Body(text.Statements[0])
	if !ok || body.SQL != "select 'é', 'ü'; select 2" {
		t.Fatalf("%t %+v", ok, body)
	}
	at := body.At(strings.Index(body.SQL, "select 2"))
	if !strings.HasPrefix(sql[at:], "select 2'") {
		t.Errorf("at %q", sql[at:])
	}
}

func TestBodyThatIsNotUnderstood(t *testing.T) {
	const sql = "do $$\nbegin\n  if then\nend $$"
	text := grammar.Read(sql)
	body, _ := text.Body(text.Statements[0])
	// The parser does not always know the line; it is a place in the body then.
	if _, err := body.Queries(); err == nil || body.At(err.Offset) < strings.Index(sql, "\n") {
		t.Errorf("%+v", err)
	}
}

func TestComments(t *testing.T) {
	const sql = "select '-- no', 1 /* a */; -- b"
	text := grammar.Read(sql)
	var got []string
	for _, c := range text.Comments {
		got = append(got, sql[c.Start:c.End])
	}
	if diff := cmp.Diff([]string{"/* a */", "-- b"}, got); diff != "" {
		t.Error(diff)
	}
	for _, token := range text.Tokens(text.Statements[0]) {
		if token.Kind == pg.Token_C_COMMENT {
			t.Error("a comment is among the words")
		}
	}
}
