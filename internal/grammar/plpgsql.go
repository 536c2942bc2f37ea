package grammar

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	pgquery "github.com/wasilibs/go-pgquery"
	"github.com/wasilibs/go-pgquery/parser"
)

// Query is a piece of SQL inside of a PL/pgSQL body.
type Query struct {
	// SQL is what the server runs: a statement, or SELECT and an expression.
	SQL string
	// Dynamic is set where the expression's value is itself run as SQL (EXECUTE).
	Dynamic bool

	head  int // how much of SQL's start does not stand so in the body
	start int // where the query begins in the body
	at    int // where that of SQL which follows its head stands in the body
}

// At gives where an offset of the query's SQL is in the body.
func (q Query) At(offset int) int {
	if offset < q.head {
		return q.start
	}
	return q.at + offset - q.head
}

// Queries reads a PL/pgSQL body, in the order of its text.
func (b Body) Queries() ([]Query, *SyntaxError) {
	if _, err := scan(b.SQL); err != nil {
		return nil, err
	}
	text, err := pgquery.ParsePlPgSqlToJSON(b.statement)
	if err != nil {
		return nil, b.misread(err)
	}
	var tree any
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return nil, b.misread(fmt.Errorf("read the parse tree: %w", err))
	}
	r := queryReader{body: b, last: map[string]int{}}
	r.walk("", "", 1, tree)
	slices.SortStableFunc(r.queries, func(a, b Query) int { return a.at - b.at })
	return r.queries, nil
}

// misread is an error with the place that the parser tells in words.
func (b Body) misread(err error) *SyntaxError {
	e := &SyntaxError{Message: strings.TrimSpace(err.Error())}
	known := (*parser.Error)(nil)
	if errors.As(err, &known) {
		if words := regexp.MustCompile(`near line (\d+)`).FindStringSubmatch(known.Context); words != nil {
			if line, err := strconv.Atoi(words[1]); err == nil {
				e.Offset = b.line(line)
			}
		}
	}
	return e
}

// line is where the text of a line of the body begins.
func (b Body) line(line int) int {
	at := lineStart(b.SQL, line)
	for at < len(b.SQL) && strings.ContainsRune(" \t\r", rune(b.SQL[at])) {
		at++
	}
	return at
}

// queryReader gathers the queries of a PL/pgSQL tree.
type queryReader struct {
	body    Body
	queries []Query
	last    map[string]int // where a query's text was last found, plus one
}

// How an expression of PL/pgSQL is to be parsed (RawParseMode of PostgreSQL).
const (
	modeStatement = 0
	modeType      = 1
	modeAssign    = 3 // and above
)

func (r *queryReader) walk(kind, field string, line int, tree any) {
	switch t := tree.(type) {
	case []any:
		for _, item := range t {
			r.walk(kind, field, line, item)
		}
	case map[string]any:
		if n, ok := t["lineno"].(float64); ok {
			line = int(n)
		}
		if query, ok := t["query"].(string); ok {
			mode, _ := t["parseMode"].(float64)
			r.query(kind, field, line, query, int(mode))
			return
		}
		for name, value := range t {
			if strings.HasPrefix(name, "PLpgSQL_") {
				if name == "PLpgSQL_expr" {
					r.walk(kind, field, line, value)
				} else {
					r.walk(name, "", line, value)
				}
				continue
			}
			r.walk(kind, name, line, value)
		}
	}
}

func (r *queryReader) query(kind, field string, line int, text string, mode int) {
	if mode == modeType {
		return
	}
	q := Query{SQL: text, Dynamic: dynamic(kind, field)}
	if mode >= modeAssign {
		text = text[assigned(text):]
	}
	if kind == "PLpgSQL_stmt_perform" { // whose PERFORM was made SELECT
		text, q.head = strings.TrimPrefix(text, "SELECT"), len("SELECT")
	} else if mode != modeStatement {
		q.SQL, q.head = "SELECT "+text, len("SELECT ")
	}
	q.start = r.body.line(line)
	key := strconv.Itoa(line) + " " + text
	if q.at = wordAt(r.body.SQL, text, max(q.start, r.last[key])); q.at < 0 {
		q.at = q.start
	} else {
		r.last[key] = q.at + 1
	}
	if kind == "PLpgSQL_stmt_perform" {
		q.start = max(q.at-len("perform"), 0)
	} else {
		q.start = q.at
	}
	r.queries = append(r.queries, q)
}

// assigned is where the expression of an assignment begins; 0 where text is
// none. The target is a name, with fields and subscripts.
func assigned(text string) int {
	found := regexp.MustCompile(`^[^'"=:]+(\[[^']*\])?\s*:?=\s*`).FindStringIndex(text)
	if found != nil && found[1] < len(text) {
		return found[1]
	}
	return 0
}

// dynamic tells whether a field of a PL/pgSQL node is run as SQL.
func dynamic(kind, field string) bool {
	switch kind {
	case "PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors":
		return field == "query"
	case "PLpgSQL_stmt_return_query", "PLpgSQL_stmt_open":
		return field == "dynquery"
	}
	return false
}
