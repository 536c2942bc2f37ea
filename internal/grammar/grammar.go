package grammar

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	pg "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"github.com/wasilibs/go-pgquery/parser"
)

const (
	// MaxSize is the longest text that is read, in bytes.
	MaxSize = 8 << 20
	// maxDepth bounds what takes the parser's stack; see depth.
	maxDepth = 3000
	// maxFaults is after how many statements that are not understood the rest
	// of a text is not read.
	maxFaults = 50
)

// Statement is one statement of a text.
type Statement struct {
	// Node is its parse tree; nil where Err says why there is none. Locations in
	// it are understood by At.
	Node *pg.Node
	Err  *SyntaxError
	// Start and End are where its first token begins and its last one ends, in
	// bytes of the text. The semicolon is not part of it.
	Start, End int

	base int // where the text that was parsed as one begins
}

// At gives where a location of the statement's tree is, in bytes of the text.
// Of a node without a location it is the statement's start.
func (s Statement) At(location int32) int {
	if at := s.base + int(location); location >= 0 && at >= s.Start && at < s.End {
		return at
	}
	return s.Start
}

// SyntaxError is text that the grammar does not know.
type SyntaxError struct {
	Message string
	Offset  int // in bytes of the text
}

func (e *SyntaxError) Error() string { return e.Message }

// Text is SQL that was read.
type Text struct {
	SQL        string
	Statements []Statement
	Comments   []Token

	tokens []Token // without comments
}

// Read reads SQL, statement by statement: one that is not understood has an Err
// and does not keep the others from being read.
func Read(sql string) Text {
	t := Text{SQL: sql}
	tokens, err := scan(sql)
	if err != nil {
		t.Statements = []Statement{{Err: err, End: len(sql)}}
		return t
	}
	for _, token := range tokens {
		if token.comment() {
			t.Comments = append(t.Comments, token)
		} else {
			t.tokens = append(t.tokens, token)
		}
	}
	t.read()
	return t
}

// Parse reads SQL of which every statement must be understood.
func Parse(sql string) (Text, error) {
	t := Read(sql)
	for _, s := range t.Statements {
		if s.Err != nil {
			return Text{}, fmt.Errorf("not SQL: %w", s.Err)
		}
	}
	return t, nil
}

// Split parts SQL into its statements by their words alone, so that newer
// syntax than the grammar's is no fault.
func Split(sql string) ([]string, error) {
	tokens, err := scan(sql)
	if err != nil {
		return nil, fmt.Errorf("not SQL: %w", err)
	}
	t := Text{SQL: sql}
	for _, token := range tokens {
		if !token.comment() {
			t.tokens = append(t.tokens, token)
		}
	}
	var all []string
	for _, p := range t.pieces() {
		all = append(all, sql[p.start:p.end])
	}
	return all, nil
}

// read parses as much as it can in one go; of a statement that is not
// understood it makes one with an error, and goes on behind it.
func (t *Text) read() {
	pieces := t.pieces()
	for faults := 0; len(pieces) > 0; faults++ {
		err := t.parse(pieces)
		if err == nil {
			return
		}
		bad := sort.Search(len(pieces), func(i int) bool { return pieces[i].end > err.Offset })
		bad = min(bad, len(pieces)-1)
		if bad > 0 {
			if before := t.parse(pieces[:bad]); before != nil {
				bad = 0 // pieces were cut wrongly: nothing of them is known
			}
		}
		end := pieces[bad].end
		if faults == maxFaults {
			bad, end = len(pieces)-1, pieces[len(pieces)-1].end
		}
		t.Statements = append(t.Statements, Statement{Err: err, Start: pieces[min(bad, len(pieces)-1)].start, End: end})
		pieces = pieces[bad+1:]
	}
}

// piece is the text of what looks like one statement.
type piece struct{ start, end int }

// pieces parts the text at its semicolons, but not at those within parentheses
// (rules) or within the body of a function (BEGIN ATOMIC ... END).
func (t *Text) pieces() (all []piece) {
	first, nested, body := -1, 0, 0
	for i, token := range t.tokens {
		if first < 0 && token.Kind != pg.Token_ASCII_59 {
			first, nested, body = i, 0, 0
		}
		switch token.Kind {
		case pg.Token_ASCII_40:
			nested++
		case pg.Token_ASCII_41:
			nested--
		case pg.Token_ATOMIC:
			if i > 0 && t.tokens[i-1].Kind == pg.Token_BEGIN_P {
				body++
			}
		case pg.Token_CASE:
			if body > 0 {
				body++
			}
		case pg.Token_END_P:
			body = max(body-1, 0)
		case pg.Token_ASCII_59:
			if first >= 0 && nested <= 0 && body == 0 {
				all = append(all, piece{t.tokens[first].Start, t.tokens[i-1].End})
				first = -1
			}
		default:
		}
	}
	if first >= 0 {
		all = append(all, piece{t.tokens[first].Start, t.tokens[len(t.tokens)-1].End})
	}
	return all
}

// parse appends the statements of pieces that lie one behind the other, or none
// if one of them is not understood.
func (t *Text) parse(pieces []piece) *SyntaxError {
	base, end := pieces[0].start, pieces[len(pieces)-1].end
	tree, err := pgquery.Parse(t.SQL[base:end])
	if err != nil {
		return syntaxError(err, t.SQL[base:end], base)
	}
	for _, raw := range tree.GetStmts() {
		s := Statement{Node: raw.GetStmt(), base: base}
		from, to := base+int(raw.GetStmtLocation()), end
		if raw.GetStmtLen() > 0 {
			to = from + int(raw.GetStmtLen())
		}
		inside := t.between(from, to)
		if len(inside) == 0 {
			continue
		}
		s.Start, s.End = inside[0].Start, inside[len(inside)-1].End
		t.Statements = append(t.Statements, s)
	}
	return nil
}

func syntaxError(err error, sql string, base int) *SyntaxError {
	known := (*parser.Error)(nil)
	if !errors.As(err, &known) {
		return &SyntaxError{Message: err.Error(), Offset: base}
	}
	return &SyntaxError{Message: strings.TrimSpace(known.Message), Offset: base + byteOf(sql, known.Cursorpos-1)}
}

// byteOf is where the character of this number, from 0, begins.
func byteOf(text string, character int) int {
	for at := range text {
		if character <= 0 {
			return at
		}
		character--
	}
	return len(text)
}

// readable tells what keeps a text from being given to the parser at all.
func readable(sql string) *SyntaxError {
	if len(sql) > MaxSize {
		return &SyntaxError{Message: fmt.Sprintf("%d bytes of SQL, at most %d are read", len(sql), MaxSize)}
	}
	if at := strings.IndexByte(sql, 0); at >= 0 {
		return &SyntaxError{Message: "a NUL byte", Offset: at}
	}
	for at := 0; at < len(sql); {
		r, size := utf8.DecodeRuneInString(sql[at:])
		if r == utf8.RuneError && size == 1 {
			return &SyntaxError{Message: "not UTF-8 text", Offset: at}
		}
		at += size
	}
	return nil
}
