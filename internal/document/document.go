// Package document reads the YAML files people write for gapless: strictly, and
// with every fault told at once and in its place.
//
// Strict means that what is not understood is refused: unknown keys, keys given
// twice, values of another type, a second document, anchors, aliases, merge
// keys and tags. A file therefore says only what a reader of it can see.
package document

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
)

// Document is one file, parsed, with the position of each of its values.
type Document struct {
	file  string
	text  []string // its lines
	lines []int    // characters in each line
	root  *node
	place map[string]position // path -> where it is told
	odd   Faults              // what the strict reading refuses, told by Decode with the rest
}

type position struct{ line, column int }

// Parse reads data as a single YAML document whose root is a mapping. The error
// is Faults, in which file names data; what can be told together with faults in
// the values (keys given twice, anchors, tags) is left to Decode.
func Parse(file string, data []byte) (*Document, error) {
	d := &Document{file: file, text: strings.Split(string(data), "\n"), lines: lineLengths(data), place: map[string]position{"": {1, 1}}}
	if fault, ok := d.unreadable(data); ok {
		return nil, Faults{fault}
	}
	tokens := lexer.Tokenize(string(data))
	if at, message := outOfBounds(tokens); message != "" {
		return nil, Faults{d.at(at, "", message, "")}
	}
	tree, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, Faults{d.syntaxFault(err)}
	}
	b := builder{doc: d}
	d.root = b.document(tree)
	d.odd = b.faults
	if d.root.kind != mapping {
		return nil, d.odd.Err()
	}
	return d, nil
}

// Fault is a fault at path, written like strategy.canary.steps[2]. A path that
// is not in the file has the position of its nearest parent that is.
func (d *Document) Fault(path, message, suggestion string) Fault {
	return d.at(d.find(path), path, message, suggestion)
}

// Has tells whether the file itself gives a value at path.
func (d *Document) Has(path string) bool {
	_, ok := d.place[path]
	return ok
}

func (d *Document) find(path string) position {
	for path != "" {
		if at, ok := d.place[path]; ok {
			return at
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return d.place[""]
}

// at keeps the position inside the file, whatever the parser counted.
func (d *Document) at(at position, path, message, suggestion string) Fault {
	line := min(max(at.line, 1), len(d.lines))
	column := min(max(at.column, 1), d.lines[line-1]+1)
	return Fault{File: d.file, Line: line, Column: column, Path: path, Message: message, Suggestion: suggestion}
}

func (d *Document) unreadable(data []byte) (Fault, bool) {
	switch {
	case len(data) > MaxSize:
		return d.at(position{1, 1}, "", fmt.Sprintf("file has %d bytes, at most %d are read", len(data), MaxSize), ""), true
	case !utf8.Valid(data):
		before := validPrefix(data)
		return d.at(endOf(before), "", "file is not UTF-8 text", "save it as UTF-8"), true
	case bytes.IndexByte(data, 0) >= 0:
		before := data[:bytes.IndexByte(data, 0)]
		return d.at(endOf(before), "", "file has a NUL byte", "save it as plain text"), true
	}
	return Fault{}, false
}

func (d *Document) syntaxFault(err error) Fault {
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) && syntax.Token != nil && syntax.Token.Position != nil {
		p := syntax.Token.Position
		return d.at(position{p.Line, p.Column}, "", "not YAML: "+syntax.Message, "")
	}
	return d.at(position{1, 1}, "", "not YAML: "+firstLine(err.Error()), "")
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func lineLengths(data []byte) []int {
	lines := bytes.Split(data, []byte("\n"))
	lengths := make([]int, len(lines))
	for i, line := range lines {
		lengths[i] = utf8.RuneCount(line)
	}
	return lengths
}

func validPrefix(data []byte) []byte {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size <= 1 {
			return data[:i]
		}
		i += size
	}
	return data
}

// endOf is the position just after text.
func endOf(text []byte) position {
	line := bytes.Count(text, []byte("\n")) + 1
	last := text[bytes.LastIndexByte(text, '\n')+1:]
	return position{line, utf8.RuneCount(last) + 1}
}

// positionOf is where a node's own text begins.
func positionOf(n ast.Node) position {
	token := n.GetToken()
	if token == nil || token.Position == nil {
		return position{1, 1}
	}
	return position{token.Position.Line, token.Position.Column}
}
