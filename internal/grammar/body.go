package grammar

import (
	"strings"
	"unicode/utf8"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Body is the text of a function, a procedure or a DO block.
type Body struct {
	Language string // in lower case
	SQL      string

	statement string // the whole statement's text
	start     int    // where the body's string begins in the text
	places    []int  // of each byte of SQL in the text; nil where it is not known
}

// At gives where an offset in the body's text is, in bytes of the text around.
func (b Body) At(offset int) int {
	if offset < 0 || offset >= len(b.places) {
		return b.start
	}
	return b.places[offset]
}

// Body gives the body of a statement that has one as text. A body that is part
// of the statement's own tree (BEGIN ATOMIC) is none.
func (t *Text) Body(s Statement) (Body, bool) {
	var options []*pg.Node
	body := Body{Language: "sql", statement: t.SQL[s.Start:s.End]}
	switch n := s.Node.GetNode().(type) {
	case *pg.Node_DoStmt:
		options, body.Language = n.DoStmt.GetArgs(), "plpgsql"
	case *pg.Node_CreateFunctionStmt:
		options = n.CreateFunctionStmt.GetOptions()
	default:
		return Body{}, false
	}
	found := false
	for _, o := range options {
		option := o.GetDefElem()
		switch option.GetDefname() {
		case "language":
			body.Language = strings.ToLower(option.GetArg().GetString_().GetSval())
		case "as":
			text := option.GetArg()
			if list := text.GetList().GetItems(); len(list) > 0 {
				text = list[0]
			}
			found = true
			body.SQL = text.GetString_().GetSval()
			body.start, body.places = t.literal(s, s.At(option.GetLocation()), body.SQL)
		}
	}
	return body, found
}

// literal finds the string constant behind from and where each byte of its
// value stands in the text.
func (t *Text) literal(s Statement, from int, value string) (start int, places []int) {
	for _, token := range t.between(from, s.End) {
		if token.Kind != pg.Token_SCONST && token.Kind != pg.Token_USCONST {
			continue
		}
		start = token.Start
		if decoded, at := decode(t.SQL[token.Start:token.End]); decoded == value {
			for i := range at {
				at[i] += token.Start
			}
			places = at
		}
		return start, places
	}
	return from, nil
}

// decode gives the value of a string constant and where each of its bytes
// stands in it. It knows dollar quotes and plain quotes: others give something
// that is not the value.
func decode(constant string) (value string, places []int) {
	open := 1
	if strings.HasPrefix(constant, "$") {
		open = strings.IndexByte(constant[1:], '$') + 2
	}
	if len(constant) < 2*open {
		return "", nil
	}
	plain := constant[0] == '\''
	var b strings.Builder
	for i := open; i < len(constant)-open; i++ {
		b.WriteByte(constant[i])
		places = append(places, i)
		if plain && constant[i] == '\'' {
			i++
		}
	}
	return b.String(), places
}

// lineStart is where a line, counted from 1, begins.
func lineStart(text string, line int) int {
	at := 0
	for ; line > 1; line-- {
		next := strings.IndexByte(text[at:], '\n')
		if next < 0 {
			break
		}
		at += next + 1
	}
	return at
}

// wordAt finds text behind from, where it is no part of a longer word.
func wordAt(in, text string, from int) int {
	for at := from; at <= len(in); {
		found := strings.Index(in[at:], text)
		if found < 0 {
			return -1
		}
		at += found
		before, _ := utf8.DecodeLastRuneInString(in[:at])
		after, _ := utf8.DecodeRuneInString(in[min(at+len(text), len(in)):])
		if !(wordRune(before) && startsWord(text)) && !(wordRune(after) && endsWord(text)) {
			return at
		}
		at++
	}
	return -1
}

func startsWord(text string) bool {
	r, _ := utf8.DecodeRuneInString(text)
	return wordRune(r)
}

func endsWord(text string) bool {
	r, _ := utf8.DecodeLastRuneInString(text)
	return wordRune(r)
}

func wordRune(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= utf8.RuneSelf && r != utf8.RuneError
}
