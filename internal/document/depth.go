package document

import "github.com/goccy/go-yaml/token"

// maxDepth bounds how deep values nest. The parser recurses on nesting, so the
// bound has to hold before it runs.
const maxDepth = 64

// tooDeep gives the first token at which nesting passes maxDepth. Block levels
// are bounded by indentation and by the markers that share a line, flow levels
// by the brackets still open; both counts are upper bounds, far above any file
// that a person writes.
func tooDeep(tokens token.Tokens) (position, bool) {
	const maxIndent = 4 * maxDepth
	var flow, markers, line int
	for _, t := range tokens {
		if t.Position.Line != line {
			line, markers = t.Position.Line, 0
			if flow == 0 && t.Position.Column > maxIndent && opensLevel(t.Type) {
				return position{t.Position.Line, t.Position.Column}, true
			}
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
		if flow > maxDepth || markers > maxDepth {
			return position{t.Position.Line, t.Position.Column}, true
		}
	}
	return position{}, false
}

func opensLevel(kind token.Type) bool {
	switch kind {
	case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType, token.AnchorType, token.TagType:
		return true
	default:
		return false
	}
}
