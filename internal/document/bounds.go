package document

import (
	"fmt"

	"github.com/goccy/go-yaml/token"
)

const (
	// MaxSize is the largest file that is read, in bytes.
	MaxSize = 256 << 10
	// maxDepth bounds how deep values nest: the parser recurses on nesting.
	maxDepth = 64
	// maxKeys bounds the keys of a file: the parser's time grows with their
	// number squared.
	maxKeys = 5000
)

// outOfBounds gives the first token at which a file passes what the parser can
// take, and has to be asked before it. Block levels are bounded by indentation
// and by the markers that share a line, flow levels by the brackets still open:
// upper bounds, far above any file that a person writes.
func outOfBounds(tokens token.Tokens) (at position, message string) {
	const maxIndent = 2 * maxDepth
	var flow, markers, keys, line int
	for _, t := range tokens {
		at := position{t.Position.Line, t.Position.Column}
		indented := false
		if at.line != line {
			line, markers = at.line, 0
			indented = flow == 0 && at.column > maxIndent && t.Type != token.CommentType
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow = max(flow-1, 0)
		case token.CollectEntryType:
			markers = 0
		default:
			if opensLevel(t.Type) {
				markers++
			}
		}
		if t.Type == token.MappingValueType {
			keys++
		}
		if indented || flow > maxDepth || markers > maxDepth {
			return at, fmt.Sprintf("nested deeper than %d levels", maxDepth)
		}
		if keys > maxKeys {
			return at, fmt.Sprintf("file has more than %d keys", maxKeys)
		}
	}
	return position{}, ""
}

func opensLevel(kind token.Type) bool {
	switch kind {
	case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType, token.AnchorType, token.TagType:
		return true
	default:
		return false
	}
}
