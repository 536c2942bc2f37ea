package document

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

type kind int

const (
	refused kind = iota // already told as a fault
	nothing             // a key without a value, or null
	text
	whole
	number
	boolean
	list
	mapping
)

// node is a value of the file. Scalars keep the text as it was written, so that
// 0.10 and 1e3 reach the type that reads them unchanged.
type node struct {
	kind    kind
	path    string
	text    string
	items   []*node
	entries []entry
}

type entry struct {
	key   string
	value *node
}

// String names the value for a message: what was observed.
func (n *node) String() string {
	switch n.kind {
	case nothing:
		return "nothing"
	case text:
		return fmt.Sprintf("the text %s", quoted(n.text))
	case whole, number:
		return "the number " + shortened(n.text)
	case boolean:
		return n.text
	case list:
		return "a list"
	default:
		return "a mapping"
	}
}

func quoted(s string) string { return strconv.Quote(shortened(s)) }

// shortened keeps a message on one readable line.
func shortened(s string) string {
	const most = 60
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-3]) + "..."
	}
	return s
}

// builder turns the parser's tree into nodes, notes where each of them is, and
// gathers what the strict reading refuses.
type builder struct {
	doc    *Document
	faults Faults
}

func (b *builder) refuse(at position, path, message, suggestion string) {
	b.faults = append(b.faults, b.doc.at(at, path, message, suggestion))
}

func (b *builder) document(file *ast.File) *node {
	var docs []*ast.DocumentNode
	for _, doc := range file.Docs {
		switch body := doc.Body.(type) {
		case nil:
		case *ast.DirectiveNode:
			b.refuse(positionOf(body), "", "YAML directives are not supported", "delete the line")
		default:
			docs = append(docs, doc)
		}
	}
	if len(docs) == 0 {
		b.refuse(position{1, 1}, "", "file is empty, expected a mapping", "")
		return &node{}
	}
	if len(docs) > 1 {
		at := startOf(docs[1].Body)
		if header := docs[1].Start; header != nil {
			at = position{header.Position.Line, header.Position.Column}
		}
		b.refuse(at, "", fmt.Sprintf("file has %d documents, expected one", len(docs)), "")
	}
	root := b.node(docs[0].Body, "")
	if root.kind != mapping && len(b.faults) == 0 {
		b.refuse(startOf(docs[0].Body), "", fmt.Sprintf("expected a mapping, observed %s", root), "")
	}
	return root
}

func (b *builder) node(from ast.Node, path string) *node {
	n := &node{path: path}
	switch v := from.(type) {
	case nil, *ast.NullNode:
		n.kind = nothing
	case *ast.MappingNode:
		b.mapping(n, v.Values)
	case *ast.MappingValueNode:
		b.mapping(n, []*ast.MappingValueNode{v})
	case *ast.SequenceNode:
		b.list(n, v)
	case *ast.StringNode:
		n.kind, n.text = text, v.Value
	case *ast.LiteralNode:
		n.kind, n.text = text, v.Value.Value
	case *ast.BoolNode:
		n.kind, n.text = boolean, v.Token.Value
	case *ast.IntegerNode:
		n.kind, n.text = whole, v.Token.Value
	case *ast.FloatNode:
		n.kind, n.text = number, v.Token.Value
	case *ast.InfinityNode:
		n.kind, n.text = number, v.Token.Value
	case *ast.NanNode:
		n.kind, n.text = number, v.Token.Value
	case *ast.AnchorNode, *ast.AliasNode:
		b.refuse(positionOf(from), path, "anchors and aliases are not supported", "write the value out")
	case *ast.TagNode:
		b.refuse(positionOf(from), path, "tags are not supported", fmt.Sprintf("delete %s", quoted(positionText(v))))
	default:
		b.refuse(positionOf(from), path, fmt.Sprintf("%s is not supported here", strings.ToLower(from.Type().String())), "")
	}
	return n
}

func positionText(n ast.Node) string { return n.GetToken().Value }

func (b *builder) list(n *node, from *ast.SequenceNode) {
	n.kind = list
	for i, item := range from.Values {
		path := fmt.Sprintf("%s[%d]", n.path, i)
		b.doc.place[path] = startOf(item)
		n.items = append(n.items, b.node(item, path))
	}
}

func (b *builder) mapping(n *node, from []*ast.MappingValueNode) {
	n.kind = mapping
	seen := map[string]position{}
	for _, pair := range from {
		at := positionOf(pair.Key)
		key, ok := keyText(pair.Key)
		if !ok {
			b.refuse(at, n.path, "a key must be plain text", "")
			continue
		}
		path := join(n.path, key)
		if first, twice := seen[key]; twice {
			b.refuse(at, path, fmt.Sprintf("key %s is given twice%s, first on line %d", quoted(key), within(n.path), first.line), "delete one of them")
			continue
		}
		seen[key] = at
		b.doc.place[path] = told(pair, at)
		n.entries = append(n.entries, entry{key: key, value: b.node(pair.Value, path)})
		b.doc.place[keyPath(path)] = at
	}
}

// keyPath is where the position of a key itself is kept, apart from its value's.
func keyPath(path string) string { return path + "\x00" }

func keyText(key ast.MapKeyNode) (string, bool) {
	switch k := key.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		return k.GetToken().Value, true
	default:
		return "", false
	}
}

// told is the position that stands for a pair: its value where that fits on a
// line, its key where the value is spread over the lines below.
func told(pair *ast.MappingValueNode, key position) position {
	switch v := pair.Value.(type) {
	case nil, *ast.NullNode:
		return key
	case *ast.MappingNode:
		if !v.IsFlowStyle {
			return key
		}
	case *ast.SequenceNode:
		if !v.IsFlowStyle {
			return key
		}
	case *ast.MappingValueNode:
		return key
	}
	return positionOf(pair.Value)
}

// startOf is where a list's item begins. A block mapping's own token is the
// colon of its first pair.
func startOf(n ast.Node) position {
	switch v := n.(type) {
	case *ast.MappingValueNode:
		return positionOf(v.Key)
	case *ast.MappingNode:
		if !v.IsFlowStyle && len(v.Values) > 0 {
			return positionOf(v.Values[0].Key)
		}
	}
	if n == nil {
		return position{1, 1}
	}
	return positionOf(n)
}

// join appends a key to a path. A key that is not a simple word is quoted, as
// in env["A.B"].
func join(path, key string) string {
	if !simple(key) {
		return path + "[" + strconv.Quote(key) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func simple(key string) bool {
	for _, r := range key {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
		default:
			return false
		}
	}
	return key != ""
}

func within(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}
