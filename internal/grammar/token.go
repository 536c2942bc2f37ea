package grammar

import (
	"fmt"
	"sort"

	pg "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
)

// Token is a word of a text, or a comment.
type Token struct {
	Kind       pg.Token
	Start, End int // bytes of the text
}

func (t Token) comment() bool {
	return t.Kind == pg.Token_SQL_COMMENT || t.Kind == pg.Token_C_COMMENT
}

func scan(sql string) ([]Token, *SyntaxError) {
	if err := readable(sql); err != nil {
		return nil, err
	}
	result, err := pgquery.Scan(sql)
	if err != nil {
		return nil, syntaxError(err, sql, 0)
	}
	tokens := make([]Token, len(result.GetTokens()))
	var depth depth
	for i, t := range result.GetTokens() {
		tokens[i] = Token{Kind: t.GetToken(), Start: int(t.GetStart()), End: int(t.GetEnd())}
		if depth.add(t.GetToken()) > maxDepth {
			return nil, &SyntaxError{Message: fmt.Sprintf("an expression of more than %d words", maxDepth), Offset: tokens[i].Start}
		}
	}
	return tokens, nil
}

// depth bounds how deep the tree of a text may be, by the words since the last
// comma or semicolon at each level of its parentheses: what lies deeper than the
// parser's stack would end it.
type depth struct {
	levels []int
	inner  int
	sum    int
}

func (d *depth) add(kind pg.Token) int {
	switch kind {
	case pg.Token_SQL_COMMENT, pg.Token_C_COMMENT:
	case pg.Token_ASCII_40, pg.Token_ASCII_91:
		d.levels = append(d.levels, d.inner+1)
		d.sum, d.inner = d.sum+1, 0
	case pg.Token_ASCII_41, pg.Token_ASCII_93:
		d.sum -= d.inner
		d.inner = 0
		if last := len(d.levels) - 1; last >= 0 {
			d.inner = d.levels[last]
			d.levels = d.levels[:last]
		}
	case pg.Token_ASCII_44, pg.Token_ASCII_59:
		d.sum -= d.inner
		d.inner = 0
	default:
		d.sum++
		d.inner++
	}
	return d.sum
}

// Tokens are those of a statement, without comments.
func (t *Text) Tokens(s Statement) []Token { return t.between(s.Start, s.End) }

// between are the tokens that begin within a part of the text.
func (t *Text) between(from, to int) []Token {
	first := sort.Search(len(t.tokens), func(i int) bool { return t.tokens[i].Start >= from })
	last := sort.Search(len(t.tokens), func(i int) bool { return t.tokens[i].Start >= to })
	return t.tokens[first:max(first, last)]
}

// Parts gives where the parts of a statement's list begin: the token behind the
// one at from, and each that follows a comma outside of parentheses.
func (t *Text) Parts(s Statement, from int) (starts []int) {
	nested, begins := 0, true
	for _, token := range t.between(from, s.End) {
		if begins {
			starts, begins = append(starts, token.Start), false
		}
		switch token.Kind {
		case pg.Token_ASCII_40, pg.Token_ASCII_91:
			nested++
		case pg.Token_ASCII_41, pg.Token_ASCII_93:
			nested--
		case pg.Token_ASCII_44:
			begins = nested == 0
		default:
		}
	}
	return starts
}
