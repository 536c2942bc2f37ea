package database

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// treeNode is a node of an expression as PostgreSQL keeps it (pg_node_tree):
// {NAME :field value ...}, where a value is a scalar, a node or a list. It is
// read to learn by which functions and types an expression computes, which its
// text does not tell.
type treeNode struct {
	name   string
	fields map[string][]any // each a string or a *treeNode, in order
}

// number is a field's only scalar, or 0.
func (n *treeNode) number(field string) uint32 {
	for _, v := range n.fields[field] {
		if text, ok := v.(string); ok {
			number, err := strconv.ParseUint(text, 10, 32)
			if err != nil {
				return 0
			}
			return uint32(number)
		}
	}
	return 0
}

// children are the nodes in a field.
func (n *treeNode) children(field string) []*treeNode {
	var nodes []*treeNode
	for _, v := range n.fields[field] {
		if child, ok := v.(*treeNode); ok {
			nodes = append(nodes, child)
		}
	}
	return nodes
}

// walk calls visit for n and every node under it.
func (n *treeNode) walk(visit func(*treeNode)) {
	visit(n)
	for field := range n.fields {
		for _, child := range n.children(field) {
			child.walk(visit)
		}
	}
}

// parseTree reads the text of a pg_node_tree.
func parseTree(text string) (*treeNode, error) {
	p := treeParser{tokens: treeTokens(text)}
	n, err := p.node(0)
	if err != nil {
		return nil, fmt.Errorf("read an expression's tree: %w", err)
	}
	return n, nil
}

// treeTokens splits at spaces and brackets; a backslash keeps the character
// after it in its token.
func treeTokens(text string) []string {
	var tokens []string
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			tokens = append(tokens, b.String())
			b.Reset()
		}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case ' ', '\n', '\t':
			flush()
		case '{', '}', '(', ')':
			flush()
			tokens = append(tokens, string(c))
		case '\\':
			b.WriteByte(c)
			if i++; i < len(text) {
				b.WriteByte(text[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	flush()
	return tokens
}

type treeParser struct{ tokens []string }

var errTreeEnds = errors.New("it ends too early")

func (p *treeParser) next() (string, error) {
	if len(p.tokens) == 0 {
		return "", errTreeEnds
	}
	token := p.tokens[0]
	p.tokens = p.tokens[1:]
	return token, nil
}

const maxTreeDepth = 2000

func (p *treeParser) node(depth int) (*treeNode, error) {
	open, err := p.next()
	if err != nil || open != "{" || depth > maxTreeDepth {
		return nil, fmt.Errorf("expected a node, observed %q: %w", open, errors.Join(err, errTreeEnds))
	}
	name, err := p.next()
	if err != nil {
		return nil, err
	}
	n := &treeNode{name: name, fields: map[string][]any{}}
	field := ""
	for {
		if len(p.tokens) == 0 {
			return nil, errTreeEnds
		}
		switch token := p.tokens[0]; {
		case token == "}":
			p.tokens = p.tokens[1:]
			return n, nil
		case token == "{":
			child, err := p.node(depth + 1)
			if err != nil {
				return nil, err
			}
			n.fields[field] = append(n.fields[field], child)
		case strings.HasPrefix(token, ":"):
			p.tokens = p.tokens[1:]
			field = token[1:]
		case token == "(" || token == ")": // a list's items stand in its field
			p.tokens = p.tokens[1:]
		default:
			p.tokens = p.tokens[1:]
			n.fields[field] = append(n.fields[field], token)
		}
	}
}
